"""What the database holds of the facts that autogenerate does not look at."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, text

Key = tuple[str, str]  # schema and name

OURS = "n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'"
COLUMNS = text(
    rf"""
    SELECT n.nspname, c.relname, c.relkind = 'p', a.attname,
           format_type(a.atttypid, a.atttypmod), a.attnotnull,
           pg_get_expr(d.adbin, d.adrelid), CAST(a.attgenerated AS text),
           CAST(a.attidentity AS text)
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attribute AS a
        ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relkind IN ('r', 'p') AND {OURS}
    ORDER BY n.nspname, c.relname, a.attnum
    """
)
CHECKS = text(
    rf"""
    SELECT n.nspname, c.relname, o.conname, pg_get_expr(o.conbin, o.conrelid),
           ARRAY(SELECT CAST(a.attname AS text) FROM pg_catalog.pg_attribute AS a
                 WHERE a.attrelid = c.oid AND a.attnum = ANY (o.conkey) ORDER BY a.attnum)
    FROM pg_catalog.pg_constraint AS o
    JOIN pg_catalog.pg_class AS c ON c.oid = o.conrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE o.contype = 'c' AND {OURS}
    ORDER BY n.nspname, c.relname, o.conname
    """
)
ENUMS = text(
    rf"""
    SELECT n.nspname, t.typname,
           ARRAY(SELECT CAST(e.enumlabel AS text) FROM pg_catalog.pg_enum AS e
                 WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)
    FROM pg_catalog.pg_type AS t
    JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
    WHERE t.typtype = 'e' AND {OURS}
    ORDER BY n.nspname, t.typname
    """
)
# What a partition or a child inherits is changed with its parent.
ENUM_USERS = text(
    rf"""
    SELECT tn.nspname, t.typname, n.nspname, c.relname, a.attname, a.atttypid = t.typarray,
           pg_get_expr(d.adbin, d.adrelid)
    FROM pg_catalog.pg_type AS t
    JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.typnamespace
    JOIN pg_catalog.pg_attribute AS a ON a.atttypid IN (t.oid, t.typarray)
    JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE t.typtype = 'e' AND NOT a.attisdropped AND a.attinhcount = 0 AND {OURS}
    ORDER BY n.nspname, c.relname, a.attnum
    """
)
# Partial indexes and CHECKs that compare with a value of the type.
LEANING = text(
    rf"""
    SELECT tn.nspname, t.typname, format('DROP INDEX %I.%I', n.nspname, c.relname),
           pg_get_indexdef(c.oid)
    FROM pg_catalog.pg_type AS t
    JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.typnamespace
    JOIN pg_catalog.pg_depend AS d
        ON d.refclassid = 'pg_catalog.pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray)
        AND d.classid = 'pg_catalog.pg_class'::regclass
    JOIN pg_catalog.pg_class AS c ON c.oid = d.objid AND c.relkind IN ('i', 'I')
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE t.typtype = 'e' AND NOT c.relispartition AND {OURS}
    UNION
    SELECT tn.nspname, t.typname,
           format('ALTER TABLE %I.%I DROP CONSTRAINT %I', n.nspname, c.relname, o.conname),
           format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s', n.nspname, c.relname, o.conname,
                  pg_get_constraintdef(o.oid))
    FROM pg_catalog.pg_type AS t
    JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.typnamespace
    JOIN pg_catalog.pg_depend AS d
        ON d.refclassid = 'pg_catalog.pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray)
        AND d.classid = 'pg_catalog.pg_constraint'::regclass
    JOIN pg_catalog.pg_constraint AS o ON o.oid = d.objid AND o.contype = 'c'
        AND o.coninhcount = 0
    JOIN pg_catalog.pg_class AS c ON c.oid = o.conrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE t.typtype = 'e' AND {OURS}
    ORDER BY 1, 2, 3
    """
)
# Names are unique by schema among relations, and by table among constraints.
NAMES = text(
    rf"""
    SELECT n.nspname, CAST(c.relname AS text) FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE {OURS}
    UNION
    SELECT n.nspname, CAST(o.conname AS text) FROM pg_catalog.pg_constraint AS o
    JOIN pg_catalog.pg_namespace AS n ON n.oid = o.connamespace WHERE {OURS}
    """
)


@dataclass(frozen=True)
class FoundColumn:
    """A column: its type and default as PostgreSQL prints them."""

    name: str
    type: str
    not_null: bool
    default: str | None
    generated: str  # "s" stored, "v" virtual, "" neither
    identity: str  # "a" always, "d" by default, "" neither


@dataclass(frozen=True)
class FoundCheck:
    """A CHECK: its condition as PostgreSQL prints it, and the columns in it."""

    name: str
    condition: str
    columns: tuple[str, ...]


@dataclass
class FoundTable:
    """A table of the database."""

    key: Key
    partitioned: bool
    columns: dict[str, FoundColumn] = field(default_factory=dict)
    checks: dict[str, FoundCheck] = field(default_factory=dict)


@dataclass(frozen=True)
class EnumUser:
    """A column of an enumeration; *array*: of arrays of it."""

    table: Key
    column: str
    array: bool
    default: str | None


@dataclass
class FoundEnum:
    """A native enumeration with its labels in order.

    *leaning* are the statements that drop and make what compares with a label.
    """

    key: Key
    labels: tuple[str, ...]
    users: list[EnumUser] = field(default_factory=list)
    leaning: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Catalogue:
    """All of it, by schema and name."""

    default_schema: str
    version: int
    schemas: set[str] = field(default_factory=set)
    tables: dict[Key, FoundTable] = field(default_factory=dict)
    enums: dict[Key, FoundEnum] = field(default_factory=dict)
    names: set[Key] = field(default_factory=set)

    def key(self, schema: str | None, name: str) -> Key:
        """The key of what the models call *schema* and *name*."""
        return (str(schema or self.default_schema), str(name))


def read(connection: Connection) -> Catalogue:
    """Read the catalogue of the database that *connection* is on."""
    default = connection.dialect.default_schema_name or "public"
    version = int((connection.dialect.server_version_info or (0,))[0])
    found = Catalogue(default, version)
    names = connection.scalars(text("SELECT CAST(nspname AS text) FROM pg_catalog.pg_namespace"))
    found.schemas.update(names)
    for schema, name, partitioned, *column in connection.execute(COLUMNS):
        key = (schema, name)
        table = found.tables.setdefault(key, FoundTable(key, partitioned))
        if column[0] is not None:
            table.columns[column[0]] = FoundColumn(*column)
    for schema, name, check, condition, columns in connection.execute(CHECKS):
        if (schema, name) in found.tables:
            item = FoundCheck(check, condition, tuple(columns))
            found.tables[schema, name].checks[check] = item
    for schema, name, labels in connection.execute(ENUMS):
        found.enums[schema, name] = FoundEnum((schema, name), tuple(labels))
    for type_schema, type_name, schema, name, column, array, text_ in connection.execute(
        ENUM_USERS
    ):
        user = EnumUser((schema, name), column, array, text_)
        found.enums[type_schema, type_name].users.append(user)
    for type_schema, type_name, drop, create in connection.execute(LEANING):
        found.enums[type_schema, type_name].leaning.append((drop, create))
    found.names.update((schema, name) for schema, name in connection.execute(NAMES))
    return found
