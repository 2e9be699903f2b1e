"""What PostgreSQL's catalogue says of the tables that the models speak of."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, text

RELATIONS = """
SELECT c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name,
    c.relkind::text AS kind, pg_table_is_visible(c.oid) AS visible,
    n.nspname = ANY (current_schemas(false)) AS is_default,
    has_schema_privilege(n.oid, 'USAGE') AS usable,
    c.relispartition OR EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = c.oid) AS is_part,
    EXISTS (
        SELECT FROM pg_depend AS d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    ) AS of_extension,
    c.relrowsecurity AND NOT EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid)
        AS shut
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND NOT pg_is_other_temp_schema(n.oid)
"""
COLUMNS = """
SELECT a.attrelid::bigint AS relation, a.attname::text AS name,
    format_type(a.atttypid, a.atttypmod) AS type, format_type(a.atttypid, NULL) AS base,
    a.attnotnull AS not_null, a.attidentity::text AS identity, a.attgenerated::text AS generated,
    pg_get_expr(d.adbin, d.adrelid) AS default,
    CASE WHEN a.attcollation <> t.typcollation THEN o.collname::text END AS collation
FROM pg_attribute AS a
JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_collation AS o ON o.oid = a.attcollation
WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid IN :oids
ORDER BY a.attrelid, a.attnum
"""
CONSTRAINTS = """
SELECT k.conrelid::bigint AS relation, k.conname::text AS name, k.contype::text AS kind,
    k.convalidated AS validated, k.condeferrable AS deferrable, k.condeferred AS deferred,
    k.confdeltype::text AS on_delete, k.confupdtype::text AS on_update,
    k.confrelid::bigint AS referred, pg_get_expr(k.conbin, k.conrelid) AS expression,
    CASE k.contype WHEN 'x' THEN pg_get_constraintdef(k.oid) END AS definition,
    ARRAY(
        SELECT o.oprname::text FROM unnest(k.conexclop) WITH ORDINALITY AS u (number, place)
        JOIN pg_operator AS o ON o.oid = u.number ORDER BY u.place
    ) AS operators,
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
FROM pg_constraint AS k
WHERE k.conparentid = 0 AND k.conrelid IN :oids
ORDER BY k.conrelid, k.conname
"""
INDEXES = """
SELECT i.indrelid::bigint AS relation, c.relname::text AS name, m.amname::text AS method,
    i.indisunique AS is_unique, i.indisvalid AND i.indisready AS valid,
    i.indnullsnotdistinct AS nulls_not_distinct,
    pg_get_expr(i.indpred, i.indrelid) AS predicate,
    ARRAY(
        SELECT pg_get_indexdef(i.indexrelid, n, false) FROM generate_series(1, i.indnkeyatts) AS n
        ORDER BY n
    ) AS keys,
    ARRAY(
        SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS u (number, place)
        LEFT JOIN pg_attribute AS a
            ON a.attrelid = i.indrelid AND a.attnum = u.number AND u.number > 0
        ORDER BY u.place
    ) AS columns,
    ARRAY(
        SELECT CASE WHEN o.opcdefault THEN '' ELSE o.opcname::text END
        FROM unnest(i.indclass::oid[]) WITH ORDINALITY AS u (number, place)
        JOIN pg_opclass AS o ON o.oid = u.number ORDER BY u.place
    ) AS classes,
    ARRAY(
        SELECT o.opcname::text FROM unnest(i.indclass::oid[]) WITH ORDINALITY AS u (number, place)
        JOIN pg_opclass AS o ON o.oid = u.number ORDER BY u.place
    ) AS class_names,
    ARRAY(
        SELECT CASE WHEN u.number <> a.attcollation THEN o.collname::text END
        FROM unnest(i.indcollation::oid[]) WITH ORDINALITY AS u (number, place)
        LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid
            AND a.attnum = (i.indkey::int2[])[u.place - 1] AND a.attnum > 0
        LEFT JOIN pg_collation AS o ON o.oid = u.number ORDER BY u.place
    ) AS collations,
    ARRAY(SELECT n::int FROM unnest(i.indoption::int2[]) AS n) AS options,
    (
        SELECT k.contype::text FROM pg_constraint AS k
        WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
    ) AS constraint_kind,
    pg_stat_get_numscans(i.indexrelid)::bigint AS scans
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_am AS m ON m.oid = c.relam
WHERE i.indrelid IN :oids
ORDER BY i.indrelid, c.relname
"""
SEQUENCES = """
WITH used AS (
    SELECT d.refobjid AS relation, d.refobjsubid AS number, d.objid AS sequence
    FROM pg_depend AS d
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
        AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
    UNION
    SELECT f.adrelid, f.adnum, d.refobjid
    FROM pg_attrdef AS f JOIN pg_depend AS d
        ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
        AND d.refclassid = 'pg_class'::regclass
)
SELECT u.relation::bigint AS relation, a.attname::text AS column,
    s.seqrelid::regclass::text AS name, format_type(a.atttypid, NULL) AS type,
    s.seqmax AS maximum, s.seqincrement > 0 AND NOT s.seqcycle AS ends,
    has_sequence_privilege(s.seqrelid, 'USAGE, SELECT') AS readable,
    CASE WHEN has_sequence_privilege(s.seqrelid, 'USAGE, SELECT')
        THEN pg_sequence_last_value(s.seqrelid) END AS last
FROM used AS u
JOIN pg_sequence AS s ON s.seqrelid = u.sequence
JOIN pg_attribute AS a ON a.attrelid = u.relation AND a.attnum = u.number
WHERE u.relation IN :oids
ORDER BY 1, 2, 3
"""
ENUMS = """
SELECT n.nspname::text AS schema, t.typname::text AS name, pg_type_is_visible(t.oid) AS visible,
    ARRAY(
        SELECT e.enumlabel::text FROM pg_enum AS e WHERE e.enumtypid = t.oid
        ORDER BY e.enumsortorder
    ) AS labels
FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
WHERE t.typtype = 'e'
"""
KNOWN = """
SELECT EXISTS (SELECT FROM pg_type WHERE typname = CAST(:name AS text))
    OR EXISTS (SELECT FROM pg_opclass WHERE opcname = CAST(:name AS text))
    OR EXISTS (SELECT FROM pg_proc WHERE proname = CAST(:name AS text))
"""


@dataclass(frozen=True)
class Column:
    """A column as the database has it; *identity* and *generated* as in ``pg_attribute``."""

    relation: int
    name: str
    type: str
    base: str
    not_null: bool
    identity: str
    generated: str
    default: str | None
    collation: str | None


@dataclass(frozen=True)
class Constraint:
    """A constraint; *kind*, *on_delete* and *on_update* as in ``pg_constraint``.

    *definition* and *operators* are those of an exclusion.
    """

    relation: int
    name: str
    kind: str
    validated: bool
    deferrable: bool
    deferred: bool
    on_delete: str
    on_update: str
    referred: int
    expression: str | None
    definition: str | None
    operators: list[str]
    columns: list[str]
    targets: list[str]


@dataclass(frozen=True)
class Index:
    """An index; *columns* has None for an expression, and ends with what INCLUDE adds.

    *classes* has nothing for a type's default operator class; *class_names* names that, too.
    """

    relation: int
    name: str
    method: str
    is_unique: bool
    valid: bool
    nulls_not_distinct: bool
    predicate: str | None
    keys: list[str]
    columns: list[str | None]
    classes: list[str]
    class_names: list[str]
    collations: list[str | None]
    options: list[int]
    constraint_kind: str | None
    scans: int

    @property
    def included(self) -> list[str | None]:
        """The columns that INCLUDE adds."""
        return self.columns[len(self.keys) :]

    @property
    def plain(self) -> list[str] | None:
        """The columns of an index over plain columns and all rows; None for any other."""
        found = [name for name in self.columns[: len(self.keys)] if name is not None]
        return found if self.predicate is None and len(found) == len(self.keys) else None


@dataclass(frozen=True)
class Sequence:
    """A sequence that fills a column; *last* is None before its first number, or unreadable."""

    relation: int
    column: str
    name: str
    type: str
    maximum: int
    ends: bool
    readable: bool
    last: int | None


@dataclass(frozen=True)
class Enumeration:
    """A native enumeration."""

    schema: str
    name: str
    visible: bool
    labels: list[str]


@dataclass
class Relation:
    """A table, view or partition, with all that belongs to it where the models speak of it."""

    oid: int
    schema: str
    name: str
    kind: str
    visible: bool
    is_default: bool
    usable: bool
    is_part: bool
    of_extension: bool
    shut: bool
    columns: dict[str, Column] = field(default_factory=dict)
    constraints: list[Constraint] = field(default_factory=list)
    indexes: list[Index] = field(default_factory=list)
    sequences: list[Sequence] = field(default_factory=list)

    @property
    def is_table(self) -> bool:
        """Whether it holds rows of its own: no view, no foreign table."""
        return self.kind in {"r", "p"}


class Catalog:
    """One reading of the catalogue; all of it within the caller's transaction."""

    def __init__(self, connection: Connection) -> None:
        """Read the relations; what belongs to them is read by ``fill``."""
        self._connection = connection
        self.relations = [Relation(**row) for row in self._rows(RELATIONS)]
        self.by_oid = {relation.oid: relation for relation in self.relations}
        self._known: dict[str, bool] = {}

    def _rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        statement = text(query)
        if values:
            statement = statement.bindparams(bindparam("oids", expanding=True))
        return [dict(row) for row in self._connection.execute(statement, values).mappings()]

    def find(self, schema: str | None, name: str) -> Relation | None:
        """The relation that *name* means: in *schema*, else along the search path."""
        for relation in self.relations:
            in_place = relation.visible if schema is None else relation.schema == schema
            if relation.name == name and in_place:
                return relation
        return None

    def hidden(self, schema: str | None, name: str) -> Relation | None:
        """A relation of that name in a schema that this role may not use."""
        found = (
            each
            for each in self.relations
            if each.name == name and not each.usable and schema in (None, each.schema)
        )
        return next(found, None)

    def fill(self, relations: Iterable[Relation]) -> None:
        """Read what belongs to *relations*."""
        oids = sorted({relation.oid for relation in relations})
        if not oids:
            return
        for row in self._rows(COLUMNS, oids=oids):
            self.by_oid[row["relation"]].columns[row["name"]] = Column(**row)
        for row in self._rows(CONSTRAINTS, oids=oids):
            self.by_oid[row["relation"]].constraints.append(Constraint(**row))
        for row in self._rows(INDEXES, oids=oids):
            self.by_oid[row["relation"]].indexes.append(Index(**row))
        for row in self._rows(SEQUENCES, oids=oids):
            self.by_oid[row["relation"]].sequences.append(Sequence(**row))

    @functools.cached_property
    def enums(self) -> list[Enumeration]:
        """The native enumerations."""
        return [Enumeration(**row) for row in self._rows(ENUMS)]

    def enum(self, schema: str | None, name: str) -> Enumeration | None:
        """The enumeration that *name* means."""
        for each in self.enums:
            if each.name == name and (each.visible if schema is None else each.schema == schema):
                return each
        return None

    @functools.cached_property
    def extensions(self) -> set[str]:
        """The installed extensions."""
        return {row["name"] for row in self._rows("SELECT extname::text AS name FROM pg_extension")}

    def knows(self, name: str) -> bool:
        """Whether a type, an operator class or a function has that name, whoever brought it."""
        if name not in self._known:
            self._known[name] = bool(self._connection.scalar(text(KNOWN), {"name": name}))
        return self._known[name]
