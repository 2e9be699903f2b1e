"""How values of the database's own types are made: enumerations, domains, composites, unknown ones.

A domain's CHECK is asked of PostgreSQL itself, over candidates that its words suggest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from . import values
from .checks import Question, Row, search, suggestions
from .literals import identifier, sql
from .values import PROBES, Kind

TYPES = """
SELECT t.oid::bigint AS oid, t.typname::text AS name, t.typtype::text AS kind,
    n.nspname = 'pg_catalog' AS is_builtin, format_type(t.oid, NULL) AS sql_type,
    t.typbasetype::bigint AS base, t.typnotnull AS not_null, t.typtypmod AS typmod,
    t.typdelim::text AS delimiter,
    CASE WHEN t.typcategory = 'A' AND t.typlen = -1 THEN t.typelem::bigint ELSE 0 END AS element,
    t.typrelid::bigint AS relation,
    coalesce((SELECT r.rngsubtype::bigint FROM pg_range AS r WHERE r.rngtypid = t.oid), 0) AS bound,
    coalesce((SELECT r.rngtypid::bigint FROM pg_range AS r WHERE r.rngmultitypid = t.oid), 0)
        AS part,
    ARRAY(
        SELECT e.enumlabel::text FROM pg_enum AS e WHERE e.enumtypid = t.oid
        ORDER BY e.enumsortorder
    ) AS labels,
    ARRAY(
        SELECT pg_get_expr(k.conbin, 0) FROM pg_constraint AS k
        WHERE k.contypid = t.oid AND k.contype = 'c' ORDER BY k.conname COLLATE "C"
    ) AS checks
FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
"""
ATTRIBUTES = """
SELECT a.atttypid::bigint AS type, a.atttypmod AS typmod FROM pg_attribute AS a
WHERE a.attrelid = :relation AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
EXTENSIONS = {"citext", "hstore", "ltree"}
ONLY_VALUE = Kind("unknown", (lambda n: f"text {n}",))


@dataclass
class Kinds:
    """The kinds of one database; each is made out once."""

    connection: Connection
    rows: int
    types: dict[int, dict[str, Any]] = field(default_factory=dict)
    known: dict[tuple[int, int], Kind] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the types."""
        found = self.connection.execute(text(TYPES)).mappings()
        self.types = {row["oid"]: dict(row) for row in found}

    def of(self, oid: int, typmod: int = -1) -> Kind:
        """The kind of that type with its modifier."""
        if (oid, typmod) not in self.known:
            # A type that holds itself, by way of an array, ends here.
            self.known[oid, typmod] = ONLY_VALUE
            self.known[oid, typmod] = self.made(self.types[oid], typmod)
        return self.known[oid, typmod]

    def made(self, row: dict[str, Any], typmod: int) -> Kind:
        """The kind of the type that *row* of pg_type describes."""
        if row["kind"] == "d":
            return self.of_domain(row)
        if row["kind"] == "e":
            return values.one_of(row["labels"], "enum") if row["labels"] else ONLY_VALUE
        known = row["is_builtin"] or row["name"] in EXTENSIONS
        plain = values.plain(row["name"], typmod) if known else None
        return plain or self.built(row, typmod) or self.probed(row, typmod)

    def built(self, row: dict[str, Any], typmod: int) -> Kind | None:
        """The kind of a type that is made of others; None for one that is not."""
        if row["element"]:
            delimiter = self.types[row["element"]]["delimiter"]
            return values.array_of(self.of(row["element"], typmod), delimiter)
        if row["bound"]:
            return values.range_of(self.of(row["bound"]))
        if row["part"]:
            return values.multirange_of(self.of(row["part"]))
        if row["kind"] != "c":
            return None
        attributes = self.connection.execute(text(ATTRIBUTES), {"relation": row["relation"]})
        return values.composite_of([self.of(*each) for each in attributes.all()])

    def of_domain(self, row: dict[str, Any]) -> Kind:
        """The base type's kind, and out of that what the domain accepts."""
        base = self.of(row["base"], row["typmod"])
        if not row["checks"]:
            return base
        sql_type = self.types[row["base"]]["sql_type"]
        question = Question(
            self.connection, "domain", ("value",), (sql_type,), tuple(row["checks"])
        )
        styles, singles = suggestions(base, row["checks"])
        pool = search(question, base, styles, singles, self.rows)
        # With nothing found, PostgreSQL is to say why when it gets the plain values.
        return values.one_of(pool, base.family) if pool else base

    def probed(self, row: dict[str, Any], typmod: int) -> Kind:
        """What an unknown type accepts of what others do."""
        modified = text("SELECT format_type(CAST(:oid AS oid), :typmod)")
        sql_type = self.connection.scalar(modified, {"oid": row["oid"], "typmod": typmod})
        question = Question(self.connection, "probe", ("value",), (sql_type,), ())
        found = [
            value
            for (value,) in question.accepted([(value,) for value in PROBES])
            if value is not None
        ]
        return values.one_of(found) if found else ONLY_VALUE

    def refuses_null(self, oid: int) -> bool:
        """Whether it is a domain that is NOT NULL, or one over such a domain."""
        row = self.types[oid]
        return bool(row["not_null"]) or (row["kind"] == "d" and self.refuses_null(row["base"]))

    def rows_of(self, oid: int, columns: Sequence[str], most: int) -> list[Row]:
        """What *columns* of that table hold, as text; the first rows by their text."""
        texts = ", ".join(f"{identifier(column)}::text" for column in columns)
        present = " AND ".join(f"{identifier(column)} IS NOT NULL" for column in columns)
        places = ", ".join(str(place) for place in range(1, len(columns) + 1))
        query = f"SELECT {texts} FROM {self.name_of(oid)} WHERE {present} ORDER BY {places}"
        return [tuple(row) for row in self.connection.execute(sql(f"{query} LIMIT {most}"))]

    def name_of(self, oid: int) -> str:
        """The table's name in a statement."""
        name = text(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c "
            "JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = CAST(:oid AS oid)"
        )
        return str(self.connection.scalar(name, {"oid": oid}))
