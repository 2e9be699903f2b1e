"""What the models say, through the filters that ``env.py`` set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Connection, MetaData, Table, inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import CompileError, UnsupportedCompilationError
from sqlalchemy.types import ARRAY, TypeDecorator, TypeEngine

from .catalogue import Catalogue, FoundTable, Key, read
from .spelling import Spelling

NO_SQL = (CompileError, UnsupportedCompilationError, NotImplementedError)


def dialect() -> Dialect:
    """PostgreSQL's, with a style of parameters that leaves ``%`` alone."""
    return postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]


def item_of(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """*kind* as PostgreSQL gets it, without decorators and variants; of an array, its items."""
    kind = kind.dialect_impl(dialect())
    while isinstance(kind, TypeDecorator):
        kind = kind.impl_instance.dialect_impl(dialect())
    return item_of(kind.item_type) if isinstance(kind, ARRAY) else kind


def native_enum(kind: TypeEngine[Any] | None) -> postgresql.ENUM | None:
    """The native enumeration in *kind*, also where it holds arrays of one."""
    found = item_of(kind) if kind is not None else None
    return found if isinstance(found, postgresql.ENUM) and found.name else None


def type_sql(kind: TypeEngine[Any] | None) -> str | None:
    """The type as CREATE TABLE spells it, without COLLATE; None where it has no SQL."""
    if kind is None:
        return None
    try:
        return str(kind.compile(dialect=dialect())).partition(" COLLATE ")[0]
    except NO_SQL:
        return None


def default_sql(column: Column[Any]) -> str | None:
    """The server default as SQL; None where there is none, or it has no SQL."""
    compiler = dialect().ddl_compiler(dialect(), None)  # type: ignore[arg-type]
    try:
        return compiler.get_column_default_string(column)
    except NO_SQL:
        return None


def expression_sql(expression: Any) -> str | None:
    """A CHECK's or a generated column's expression as SQL; None where it has none."""
    compiler: Any = dialect().ddl_compiler(dialect(), None)  # type: ignore[arg-type]
    try:
        return str(
            compiler.sql_compiler.process(expression, include_table=False, literal_binds=True)
        )
    except NO_SQL:
        return None


def specification(column: Column[Any]) -> str:
    """The column as CREATE TABLE spells it; empty where it has no SQL."""
    compiler = dialect().ddl_compiler(dialect(), None)  # type: ignore[arg-type]
    try:
        return str(compiler.get_column_specification(column))
    except NO_SQL:
        return ""


def is_serial(column: Column[Any]) -> bool:
    """Whether CREATE TABLE makes a sequence for the column."""
    return not {"SERIAL", "BIGSERIAL", "SMALLSERIAL"}.isdisjoint(specification(column).split())


class Models:
    """The target metadata beside what the database has of it."""

    def __init__(self, context: MigrationContext) -> None:
        """Reads the catalogue on the connection of *context*.

        Raises ``ValueError`` where there is no connection: offline, nothing can be compared.
        """
        if context.connection is None:
            raise ValueError("received a context without a connection")
        self.context = context
        self.connection: Connection = context.connection
        self.catalogue: Catalogue = read(self.connection)
        self.spelling = Spelling(self.connection)
        self._autogen = AutogenContext(context, autogenerate=False)
        given = context.opts.get("target_metadata")
        self.metadata: list[MetaData] = (
            list(given) if isinstance(given, (list, tuple)) else [given] if given else []
        )
        self._reflected: dict[Key, Table] = {}

    @cached_property
    def tables(self) -> dict[Key, Table]:
        """Every table of the metadata, by its name in the database."""
        return {
            self.catalogue.key(table.schema, table.name): table
            for metadata in self.metadata
            for table in metadata.tables.values()
        }

    @cached_property
    def pairs(self) -> list[tuple[Table, FoundTable]]:
        """The tables on both sides that Alembic was asked to compare."""
        return [
            (table, self.catalogue.tables[key])
            for key, table in sorted(self.tables.items(), key=lambda item: item[0])
            if key in self.catalogue.tables and self._compares(key, table)
        ]

    def columns(self, table: Table, found: FoundTable) -> Iterator[tuple[Column[Any], str]]:
        """The columns on both sides that Alembic was asked to compare, with the found name."""
        schema = self._schema(found.key)
        for column in table.columns:
            names = {"table_name": table.name, "schema_name": schema}
            if (
                column.name in found.columns
                and not column.system
                and self._autogen.run_name_filters(column.name, "column", names)  # type: ignore[arg-type]
                and self._object(column, column.name, "column", found.key)
            ):
                yield column, column.name

    def altered(
        self, flat: Iterable[ops.MigrateOperation], changes: Callable[[ops.AlterColumnOp], bool]
    ) -> dict[tuple[Key, str], ops.AlterColumnOp]:
        """By table and column: what Alembic alters in *flat*, where it *changes* what is asked."""
        return {
            (self.catalogue.key(op.schema, op.table_name), op.column_name): op
            for op in flat
            if isinstance(op, ops.AlterColumnOp) and changes(op)
        }

    def reflected(self, key: Key) -> Table:
        """The table as SQLAlchemy reads it back."""
        if key not in self._reflected:
            made = Table(key[1], MetaData(), schema=self._schema(key))
            inspect(self.connection).reflect_table(made, None, resolve_fks=False)
            self._reflected[key] = made
        return self._reflected[key]

    def takes_check(self, name: str | None, key: Key, item: Any, reflected: bool) -> bool:
        """Whether the filters let a CHECK through."""
        kind: Any = "check_constraint"
        parents: Any = {"table_name": key[1], "schema_name": self._schema(key)}
        return (
            name is None or self._autogen.run_name_filters(name, kind, parents)
        ) and self._autogen.run_object_filters(item, name, kind, reflected, None)

    def takes_index(self, index: Any, name: str, reflected: Any) -> bool:
        """Whether the filters let an index through that stands in the database as *reflected*."""
        parents: Any = {"table_name": reflected.table.name, "schema_name": reflected.table.schema}
        return self._autogen.run_name_filters(
            name, "index", parents
        ) and self._autogen.run_object_filters(index, name, "index", False, reflected)

    def _schema(self, key: Key) -> str | None:
        """The schema as Alembic names it: None for the default one."""
        return None if key[0] == self.catalogue.default_schema else key[0]

    def _compares(self, key: Key, table: Table) -> bool:
        schema, autogen = self._schema(key), self._autogen
        if schema is not None and not self.context.opts.get("include_schemas"):
            return False
        return (
            autogen.run_name_filters(schema, "schema", {})
            and autogen.run_name_filters(table.name, "table", {"schema_name": schema})
            and self._object(table, table.name, "table", key)
        )

    def _object(self, item: Any, name: str, kind: Any, key: Key) -> bool:
        """``include_object``, which gets the reflected counterpart as well."""
        if self.context.opts.get("include_object") is None:
            return True
        other: Any = self.reflected(key)
        if kind == "column":
            other = other.columns[name]
        return self._autogen.run_object_filters(item, name, kind, False, other)
