"""The tables to fill, as PostgreSQL's catalogue has them; nothing is asked of any models."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, text

from .literals import identifier

# The tables of the project as ``c``: no partitions, nothing of an extension, not Alembic's own.
USER_TABLES = """
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND c.relname <> CAST(:version_table AS text)
    AND NOT EXISTS (
        SELECT FROM pg_depend AS e
        WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
    )
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""
TABLES = f"""
SELECT c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name,
    c.relkind = 'p' AS is_partitioned,
    -- PostgreSQL refuses ON CONFLICT beside rules and beside keys that are checked later.
    NOT c.relhasrules AND NOT EXISTS (
        SELECT FROM pg_constraint AS k
        WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x') AND k.condeferrable
    ) AS takes_on_conflict
{USER_TABLES}
"""
COLUMNS = """
SELECT a.attrelid::bigint AS relation, a.attname::text AS name, a.atttypid::bigint AS type,
    a.atttypmod AS typmod, format_type(a.atttypid, a.atttypmod) AS sql_type,
    a.attnotnull AS not_null, a.attidentity::text AS identity,
    a.attgenerated <> '' AS generated, pg_get_expr(d.adbin, d.adrelid) AS default
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY a.attrelid, a.attnum
"""
CONSTRAINTS = """
SELECT k.conrelid::bigint AS relation, k.conname::text AS name, k.contype::text AS kind,
    pg_get_expr(k.conbin, k.conrelid) AS expression, k.confmatchtype::text AS match,
    k.condeferrable AS deferrable,
    coalesce(pg_partition_root(k.confrelid)::oid::bigint, k.confrelid::bigint) AS target,
    ARRAY(
        SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u (number, place)
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.number
        ORDER BY u.place
    ) AS columns,
    ARRAY(
        SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u (number, place)
        JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.number
        ORDER BY u.place
    ) AS targets
FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid AND NOT c.relispartition
WHERE k.contype IN ('c', 'f') AND k.conparentid = 0
ORDER BY k.conrelid, k.conname COLLATE "C"
"""
# What an index makes unique; an expression is no column.
UNIQUE = """
SELECT i.indrelid::bigint AS relation,
    ARRAY(
        SELECT a.attname::text FROM unnest(i.indkey::int2[]) AS u (number)
        LEFT JOIN pg_attribute AS a
            ON a.attrelid = i.indrelid AND a.attnum = u.number AND u.number > 0
    ) AS columns
FROM pg_index AS i WHERE i.indisunique OR i.indisexclusion
"""
# Where a row may go.
PARTITIONS = """
SELECT pg_partition_root(c.oid)::oid::bigint AS relation,
    pg_get_partition_constraintdef(c.oid) AS expression,
    pg_get_expr(c.relpartbound, c.oid) AS bound, c.relkind = 'p' AS is_partitioned
FROM pg_class AS c WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f')
ORDER BY c.relname COLLATE "C"
"""


@dataclass(frozen=True)
class Column:
    """A column; *type* is an oid."""

    relation: int
    name: str
    type: int
    typmod: int
    sql_type: str
    not_null: bool
    identity: str
    generated: bool
    default: str | None

    @property
    def is_left_out(self) -> bool:
        """Whether PostgreSQL makes the value: generated, identity, serial."""
        return self.generated or bool(self.identity) or "nextval(" in (self.default or "")


@dataclass(frozen=True)
class Check:
    """A condition over the columns of a row, as PostgreSQL prints it."""

    expression: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key; *target* is the oid of the table, for a partition that of its root."""

    name: str
    columns: tuple[str, ...]
    target: int
    targets: tuple[str, ...]
    is_deferrable: bool
    is_full: bool  # MATCH FULL: all NULL or none


@dataclass
class Table:
    """A table that holds rows, or whose partitions do."""

    oid: int
    schema: str
    name: str
    is_partitioned: bool
    takes_on_conflict: bool
    columns: dict[str, Column] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    keys: list[set[str | None]] = field(default_factory=list)  # unique together
    hints: list[Check] = field(default_factory=list)  # what a row may fit, and need not

    @cached_property
    def sql(self) -> str:
        """Its name in a statement."""
        return f"{identifier(self.schema)}.{identifier(self.name)}"

    @cached_property
    def own(self) -> str:
        """The same without the tables that inherit from it."""
        return self.sql if self.is_partitioned else f"ONLY {self.sql}"

    def is_soft(self, key: ForeignKey) -> bool:
        """Whether a row can do without the one that *key* refers to."""
        nullable = [not self.columns[name].not_null for name in key.columns]
        return all(nullable) if key.is_full else any(nullable)


def tables(connection: Connection, *, version_table: str) -> list[Table]:
    """All tables of the user's schemas, by name; Alembic's *version_table* is none of them."""

    def rows(query: str, **values: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in connection.execute(text(query), values).mappings()]

    found = {row["oid"]: Table(**row) for row in rows(TABLES, version_table=version_table)}
    for row in rows(COLUMNS):
        if row["relation"] in found:
            found[row["relation"]].columns[row["name"]] = Column(**row)
    for row in rows(CONSTRAINTS):
        if row["relation"] in found:
            add_constraint(found[row["relation"]], row)
    for row in rows(UNIQUE):
        if row["relation"] in found:
            found[row["relation"]].keys.append(set(row["columns"]))
    parts = rows(PARTITIONS)
    for table in found.values():
        add_partitions(table, [row for row in parts if row["relation"] == table.oid])
    return list(found.values())


def add_constraint(table: Table, row: dict[str, Any]) -> None:
    """Add the CHECK or the foreign key of *row* to its table."""
    columns, targets = tuple(row["columns"]), tuple(row["targets"])
    if row["kind"] == "c":
        table.checks.append(Check(row["expression"], columns))
        return
    is_full = row["match"] == "f"
    key = ForeignKey(row["name"], columns, row["target"], targets, row["deferrable"], is_full)
    table.foreign_keys.append(key)


def add_partitions(table: Table, parts: list[dict[str, Any]]) -> None:
    """Say as a CHECK of the whole that a row must fit a partition."""
    leaves = [row["expression"] for row in parts if not row["is_partitioned"]]
    if not leaves or not all(leaves):
        return
    either = " OR ".join(f"({expression})" for expression in leaves)
    # By name: the key may be an expression.
    words = set(re.findall(r'"(?:[^"]|"")+"|\w+', either))
    columns = [name for name in table.columns if words & {name, identifier(name)}]
    # A default partition takes the rest; the others are to get rows all the same.
    catches_all = any(row["bound"] == "DEFAULT" for row in parts)
    (table.hints if catches_all else table.checks).append(Check(either, tuple(columns)))
