"""Compares the tables of the models with those of a database: columns, types, defaults."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, DefaultClause, Enum, Sequence, Table
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from . import live_catalog as catalog
from .core import NO_SQL, Hit, Project
from .live_normal import Normal

Difference = tuple[str, Hit]
SPECIAL_TIMES = ("now", "today", "tomorrow", "yesterday", "current")
ADD_VALUE = "ALTER TYPE … ADD VALUE; of checked text, replace the CHECK."
SERIALS = {"SERIAL": "integer", "BIGSERIAL": "bigint", "SMALLSERIAL": "smallint"}


@functools.cache
def dialect() -> Dialect:
    """PostgreSQL's, with a style of parameters that leaves ``%`` alone."""
    from sqlalchemy.dialects import postgresql

    return postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]


@dataclass
class Pair:
    """A table of the models and what the database has of it."""

    table: Table
    relation: catalog.Relation
    project: Project
    normal: Normal
    catalog: catalog.Catalog
    judged: set[tuple[str, str]] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    lacking: set[str] = field(default_factory=set)
    _spelt: dict[str, str | None] = field(default_factory=dict)

    @functools.cached_property
    def columns(self) -> dict[str, Column[Any]]:
        """The columns that CREATE TABLE would make, by their names in the database."""
        found = (column for column in self.table.columns if not column.system)
        return {stored(column.name): column for column in found}

    @functools.cached_property
    def types(self) -> dict[str, str]:
        """The database's types by column: what expressions are read with."""
        return {name: column.type for name, column in self.relation.columns.items()}

    def spelt(self, *given: str) -> list[str | None]:
        """Expressions over this table in PostgreSQL's spelling; each is asked for once."""
        new = [item for item in dict.fromkeys(given) if item not in self._spelt]
        found = self.normal.expressions(new, self.types, self.relation.name)
        self._spelt |= dict(zip(new, found, strict=True))
        return [self._spelt[item] for item in given]

    def at(self, column: Column[Any] | None, message: str, /, **more: Any) -> Hit:
        """A hit at *column*, or at the table."""
        if column is not None:
            return self.project.at(column, message, **more)
        owner = self.project.owners.get(self.table)
        return Hit(message, mapper=owner, table=self.table, **more)

    def unproved(self, what: str) -> None:
        """Remember what could not be compared: silence must not look like proof."""
        self.notes.append(f"could not compare {what} of {self.table.key}")


def stored(name: str) -> str:
    """The name as PostgreSQL keeps it: SQLAlchemy quotes all but what is lower case anyway."""
    return name.lower() if getattr(name, "quote", None) is False else str(name)


def type_ddl(column: Column[Any]) -> str | None:
    """The type as CREATE TABLE spells it; None where it has no SQL."""
    try:
        return str(column.type.compile(dialect=dialect()))
    except NO_SQL:
        return None


def real_type(column: Column[Any]) -> TypeEngine[Any]:
    """The type that PostgreSQL gets: variants and TypeDecorators unwrapped, arrays opened."""
    kind: TypeEngine[Any] = column.type.dialect_impl(dialect())
    while isinstance(kind, TypeDecorator):
        kind = kind.impl_instance
    inner = getattr(kind, "item_type", None)
    return inner if inner is not None else kind


def specification(column: Column[Any]) -> str:
    """The column as CREATE TABLE spells it; empty where it has no SQL."""
    compiler = dialect().ddl_compiler(dialect(), None)  # type: ignore[arg-type]
    try:
        return str(compiler.get_column_specification(column))
    except NO_SQL:
        return ""


def compare_columns(pair: Pair) -> Iterator[Difference]:
    """Columns that one side lacks; the types, and for tables NOT NULL and defaults of the rest."""
    for name, column in pair.columns.items():
        if name not in pair.relation.columns:
            yield "drift-column", pair.at(column, f"the database has no column {name}")
    for name, found in pair.relation.columns.items():
        if name not in pair.columns and pair.relation.is_table:
            yield "drift-column", unknown_column(pair, found)
    shared = [
        (column, pair.relation.columns[name])
        for name, column in pair.columns.items()
        if name in pair.relation.columns
    ]
    yield from compare_types(pair, shared)
    if pair.relation.is_table:
        for column, found in shared:
            yield from compare_null(pair, column, found)
        yield from compare_defaults(pair, shared)


def unknown_column(pair: Pair, found: catalog.Column) -> Hit:
    """A column that the models lack: harmless, or every INSERT of theirs fails."""
    filled = found.default is not None or found.identity or found.generated
    if found.not_null and not filled:
        return pair.at(
            None,
            f"the database has a column {found.name}, NOT NULL and without a default: "
            "every INSERT of the models fails",
            column=found.name,
            why="What the models do not name gets NULL, which the column refuses.",
            fix=f"Map {found.name}, or give it a default or NULL until it is dropped.",
        )
    return pair.at(
        None,
        f"the models lack the column {found.name}",
        column=found.name,
        severity="info",
        why="No statement of the models names it; a generated migration drops it with its data.",
        fix=f"Map {found.name}, or drop it in a migration once nothing reads it.",
    )


Shared = list[tuple[Column[Any], catalog.Column]]


def compare_types(pair: Pair, shared: Shared) -> Iterator[Difference]:
    """Types that PostgreSQL spells differently, and collations."""
    ddl = {column: type_ddl(column) for column, _ in shared}
    plain = {column: without_collation(text) for column, text in ddl.items() if text}
    asked = [*plain.values(), *(found.type for _, found in shared)]
    spelt = pair.normal.types(asked)
    for column, found in shared:
        mine = spelt[plain[column]] if column in plain else None
        if mine is None:
            # A type that the database does not know cannot be this column's.
            if column in plain and not known_type(pair, plain[column]):
                pair.judged.add(("drift-type", column.name))
                if not missing_type(pair, plain[column]):
                    yield "drift-type", differs(pair, column, plain[column], found)
            else:
                pair.notes.append(f"could not compare the type of {column.table.key}.{column.name}")
            continue
        pair.judged.add(("drift-type", column.name))
        wanted = getattr(real_type(column), "collation", None)
        if mine != spelt[found.type] and serial_type(column) != found.type:
            yield "drift-type", differs(pair, column, plain[column], found)
        elif wanted != found.collation:
            yield (
                "drift-type",
                pair.at(
                    column,
                    f"the collation is {wanted or 'the default'} in the models, "
                    f"{found.collation or 'the default'} in the database",
                ),
            )


def differs(pair: Pair, column: Column[Any], mine: str, found: catalog.Column) -> Hit:
    """The hit of two types."""
    return pair.at(column, f"{mine.lower()} in the models, {found.type} in the database")


def without_collation(ddl: str) -> str:
    """A type without its COLLATE, which CAST does not take."""
    return ddl.partition(" COLLATE ")[0]


def base_name(ddl: str) -> str:
    """``app.mood`` of ``app.mood(3)[]``, in lower case where it is not quoted."""
    return ddl.partition("(")[0].removesuffix("[]").strip()


def known_type(pair: Pair, ddl: str) -> bool:
    """Whether the database knows a type of that name; sure only of plain names."""
    name = base_name(ddl).rpartition(".")[2]
    bare = name.strip('"') if name.startswith('"') else name.lower()
    return " " in bare or pair.catalog.knows(bare)


def missing_type(pair: Pair, ddl: str) -> bool:
    """Whether the missing extension explains the type."""
    return base_name(ddl).lower() in pair.lacking


def compare_null(pair: Pair, column: Column[Any], found: catalog.Column) -> Iterator[Difference]:
    """NOT NULL on one side alone."""
    pair.judged.add(("drift-nullability", column.name))
    wanted = not column.nullable or column.primary_key or column.identity is not None
    if wanted and not found.not_null:
        yield (
            "drift-nullability",
            pair.at(column, "NOT NULL in the models, the database takes NULL"),
        )
    elif found.not_null and not wanted:
        yield (
            "drift-nullability",
            pair.at(
                column, "NULL in the models, NOT NULL in the database: an INSERT of None fails"
            ),
        )


# --- Defaults -------------------------------------------------------------------------------------


def compare_defaults(pair: Pair, shared: Shared) -> Iterator[Difference]:
    """Server defaults, identities and generated columns that are not the same."""
    asked: list[tuple[Column[Any], catalog.Column, str, str]] = []
    for column, found in shared:
        message = kind_of_default(column, found)
        if message is not None:
            severity = "info" if message.startswith("the models have no default") else None
            yield "drift-default", pair.at(column, message, severity=severity)
            continue
        mine = computed_sql(column) if column.computed is not None else default_sql(column)
        if mine is not None and found.default is not None:
            asked.append((column, found, mine, found.default))
    given = [
        f"CAST(({text}) AS {found.type})"
        for _, found, *both in asked
        for text in both
    ]  # fmt: skip
    spelt = pair.spelt(*given)
    for (column, found, mine, theirs), ours, other in zip(
        asked, spelt[::2], spelt[1::2], strict=True
    ):
        if ours is None or other is None:
            if spells_type(column, found):
                pair.unproved(f"the default of {column.name}")
        elif ours != other and not is_special_time(column):
            word = "expression" if column.computed is not None else "default"
            yield (
                "drift-default",
                pair.at(column, f"the {word} is {mine} in the models, {theirs} in the database"),
            )


def kind_of_default(column: Column[Any], found: catalog.Column) -> str | None:
    """What is wrong with the kind of value that the server fills in; None where that is equal."""
    if column.computed is not None or found.generated:
        return computed_kind(column, found)
    if column.identity is not None or found.identity:
        return identity_kind(column, found)
    if column.server_default is not None:
        if found.default is None and isinstance(column.server_default, DefaultClause):
            return f"the database lacks the default {default_sql(column)}"
        return None  # a FetchedValue says that something else fills it in
    return unexpected_default(column, found)


def unexpected_default(column: Column[Any], found: catalog.Column) -> str | None:
    """A default that the models lack; or no sequence, where CREATE TABLE makes one."""
    by_sequence = found.default is not None and "nextval(" in found.default
    if is_serial(column):
        return None if by_sequence else "the database has no sequence or identity for this key"
    if found.default is None or (by_sequence and isinstance(column.default, Sequence)):
        return None
    return f"the models have no default, the database has {found.default}"


def computed_kind(column: Column[Any], found: catalog.Column) -> str | None:
    """A generated column on one side alone, or stored on one and virtual on the other."""
    if column.computed is None:
        known = column.server_default is not None or is_read_only(column)
        return None if known else f"generated as {found.default} in the database, not in the models"
    if not found.generated:
        return "generated in the models, a plain column in the database"
    wanted = {True: "s", False: "v"}.get(column.computed.persisted)  # type: ignore[arg-type]
    if wanted and wanted != found.generated:
        words = {"s": "stored", "v": "virtual"}
        return f"{words[wanted]} in the models, {words[found.generated]} in the database"
    return None


def is_read_only(column: Column[Any]) -> bool:
    """Whether the models say that the server fills the column in."""
    return column.server_onupdate is not None


def identity_kind(column: Column[Any], found: catalog.Column) -> str | None:
    """An identity on one side alone, or ALWAYS on one.  A serial key serves the ORM as well."""
    if column.identity is None:
        plain = column.server_default is not None or is_serial(column)
        return None if plain else "an identity in the database, none in the models"
    if not found.identity:
        return "an identity in the models, none in the database"
    wanted = "a" if column.identity.always else "d"
    words = {"a": "ALWAYS", "d": "BY DEFAULT"}
    if wanted != found.identity:
        return (
            f"GENERATED {words[wanted]} in the models, "
            f"GENERATED {words[found.identity]} in the database"
        )
    return None


def is_serial(column: Column[Any]) -> bool:
    """Whether CREATE TABLE makes a sequence for the column."""
    return serial_type(column) is not None


def serial_type(column: Column[Any]) -> str | None:
    """What CREATE TABLE makes of a serial key, even of a NUMERIC one; None for any other."""
    words = specification(column).split()
    return next((SERIALS[word] for word in words if word in SERIALS), None)


def spells_type(column: Column[Any], found: catalog.Column) -> bool:
    """Whether both sides have the type's family in common: else the type is the finding."""
    mine = type_ddl(column)
    return mine is not None and base_name(mine).lower().strip('"') == found.base.strip('"')


def default_sql(column: Column[Any]) -> str | None:
    """The server default as SQL; None where there is none, or it has no SQL."""
    compiler = dialect().ddl_compiler(dialect(), None)  # type: ignore[arg-type]
    try:
        return compiler.get_column_default_string(column)
    except NO_SQL:
        return None


def computed_sql(column: Column[Any]) -> str | None:
    """The expression of a generated column."""
    assert column.computed is not None
    return compiled(column.computed.sqltext)


def compiled(expression: Any) -> str | None:
    """An expression as DDL has it: without the table's name, values in place."""
    compiler = dialect().ddl_compiler(dialect(), None)  # type: ignore[arg-type]
    try:
        return str(
            compiler.sql_compiler.process(expression, include_table=False, literal_binds=True)
        )
    except NO_SQL:
        return None


def is_special_time(column: Column[Any]) -> bool:
    """Whether a quoted time means the moment of CREATE TABLE: another rule's finding."""
    argument = getattr(column.server_default, "arg", None)
    return isinstance(argument, str) and argument.strip().lower().startswith(SPECIAL_TIMES)


# --- Enumerations ---------------------------------------------------------------------------------


def native_enum(column: Column[Any]) -> Any:
    """The native enumeration of *column*, its arrays' too; None for any other type."""
    kind = real_type(column)
    return kind if isinstance(kind, Enum) and kind.native_enum and kind.name else None


def compare_enums(pair: Pair, seen: set[tuple[str | None, str]]) -> Iterator[Difference]:
    """Native enumerations whose values differ; each once, at its first column."""
    for name, column in pair.columns.items():
        kind = native_enum(column)
        if kind is None or name not in pair.relation.columns:
            continue
        key = (kind.schema, stored(kind.name))
        # One that inherits its schema has that of the table.
        found = pair.catalog.enum(*key) or pair.catalog.enum(pair.table.schema, key[1])
        if found is None or key in seen:
            continue
        seen.add(key)
        yield from compare_values(pair, column, list(kind.enums), found.labels, f"type {kind.name}")


def compare_values(
    pair: Pair, column: Column[Any], mine: list[str], theirs: list[str], what: str
) -> Iterator[Difference]:
    """The hit of two lists of values, whatever their order."""
    lacking = [value for value in mine if value not in theirs]
    unknown = [value for value in theirs if value not in mine]
    parts = [f"the database lacks {told(lacking)}"] if lacking else []
    parts += [f"the models lack {told(unknown)}"] if unknown else []
    if not parts:
        return
    more: dict[str, Any] = {}
    if not lacking:
        more = {
            "severity": "warning",
            "why": "A row with such a value raises LookupError when it is loaded.",
            "fix": f"Add {told(unknown)} to the Enum of the models; or change the rows that have "
            "it, then make the type or the CHECK anew.",
        }
    elif unknown:
        more = {
            "fix": f"{ADD_VALUE} Add {told(unknown)} to the Enum of the models, or change the rows."
        }
    yield "drift-enum", pair.at(column, f"{what}: {'; '.join(parts)}", **more)


def told(values: list[str]) -> str:
    """The values, quoted, bounded."""
    shown = ", ".join(repr(value) for value in values[:8])
    return f"{shown} …" if len(values) > 8 else shown
