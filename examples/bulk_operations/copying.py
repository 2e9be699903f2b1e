"""COPY from any iterable, with every driver, within the caller's transaction.

Some rows at a time go from the iterable to the server: memory does not grow with their number.
Values are bound by the columns' types, as by an INSERT (enums by value, JSON as JSON).  What an
INSERT does and COPY does not: ``default=`` of Python, events, ``echo``.  Server defaults apply to
every column that is left out.  What COPY cannot do is refused: see ``refuse``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import JSON, Connection, Table, bindparam, inspect
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from ..models import Base

Row: TypeAlias = Sequence[object]
Binder: TypeAlias = Callable[[Sequence[Any]], Iterable[Any]]
"""From the values of a column to what the driver wants."""
AT_ONCE = 200
"""Rows that are bound together."""
NUL = "\0"
# What a single write would raise; SQLSTATE, first two characters.
ERRORS: dict[str, type[DBAPIError]] = {
    "22": DataError,
    "23": IntegrityError,
    "42": ProgrammingError,
}


def copy_rows(
    session: Session, model: type[Base], columns: Sequence[str], rows: Iterable[Row]
) -> int:
    """COPY *rows*, values in the order of *columns*, into the table of *model*: how many.

    What is pending in the session is flushed first.  Raises ``IntegrityError`` and its like as an
    INSERT would, and what the iterable raises; either ends the transaction, or its savepoint.
    """
    session.flush()
    return copy_into(session.connection(), table_of(model), columns, rows)


async def async_copy_rows(
    session: AsyncSession,
    model: type[Base],
    columns: Sequence[str],
    rows: Iterable[Row] | AsyncIterable[Row],
) -> int:
    """The same for asyncio; *rows* may be asynchronous."""
    await session.flush()
    connection = await session.connection()
    return await connection.run_sync(copy_into, table_of(model), columns, rows)


def copy_into(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Iterable[Row] | AsyncIterable[Row],
) -> int:
    """The same on a connection, for any table.  Under asyncio through ``run_sync``."""
    refuse(connection, table, columns)
    dialect = connection.dialect
    source = Source(rows, table, columns, connection)
    preparer = dialect.identifier_preparer
    names = ", ".join(preparer.quote(name) for name in columns)
    statement = f"COPY {preparer.format_table(table)} ({names}) FROM STDIN"
    if dialect.driver == "asyncpg":
        # SQLAlchemy begins asyncpg's transaction at its own first statement, and COPY is none of
        # SQLAlchemy's: first in a transaction, it would be committed at once.
        connection.exec_driver_sql("SELECT 1")
    proxied = connection.connection
    try:
        if dialect.driver == "asyncpg":

            async def copy_records(raw: Any) -> None:
                await raw.copy_records_to_table(
                    table.name,
                    schema_name=table.schema,
                    columns=list(columns),
                    records=aiter(source) if source.is_async else iter(source),
                )

            proxied.dbapi_connection.run_async(copy_records)  # type: ignore[union-attr]
        elif dialect.is_async:

            async def write_rows(raw: Any) -> None:
                async with raw.cursor() as cursor, cursor.copy(statement) as copy:
                    if source.is_async:
                        async for row in source:
                            await copy.write_row(row)
                    else:
                        for row in source:
                            await copy.write_row(row)

            proxied.dbapi_connection.run_async(write_rows)  # type: ignore[union-attr]
        elif dialect.driver == "psycopg2":
            with proxied.cursor() as cursor:  # type: ignore[attr-defined]
                cursor.copy_expert(statement, TextReader(source))
        else:
            with proxied.cursor() as cursor, cursor.copy(statement) as copy:  # type: ignore[attr-defined]
                for row in source:
                    copy.write_row(row)
    except Exception as error:
        if source.error is not None:
            raise source.error from None
        raise as_raised_by_insert(error, statement) from error
    return source.count


def refuse(connection: Connection, table: Table, columns: Iterable[str]) -> None:
    """Raise for what an INSERT does in its SQL, and a COPY would leave out without a word.

    ``ValueError`` where ``schema_translate_map`` has another schema for *table*: the rows would be
    another tenant's.  ``TypeError`` for a type with a ``bind_expression``, which may encrypt.
    """
    if table.schema in (connection.get_execution_options().get("schema_translate_map") or ()):
        raise ValueError(
            f"received a schema_translate_map for {table.name}, which COPY does not know; "
            "try SET LOCAL search_path"
        )
    for name in columns:
        kind = table.c[name].type.dialect_impl(connection.dialect)
        if kind.bind_expression(bindparam(name, type_=table.c[name].type)) is not None:
            raise TypeError(
                f"received {table.c[name]}, whose type has a bind_expression; try an INSERT"
            )


def table_of(model: type[Base]) -> Table:
    """The table of a mapped class."""
    table = inspect(model).local_table
    assert isinstance(table, Table)
    return table


class Source:
    """Rows on their way: bound, counted; what their iterable raises is kept for the caller."""

    def __init__(
        self,
        rows: Iterable[Row] | AsyncIterable[Row],
        table: Table,
        columns: Sequence[str],
        connection: Connection,
    ) -> None:
        self.rows, self.columns = rows, columns
        self.is_async = isinstance(rows, AsyncIterable)
        self.binders = list(binders(table, columns, connection))
        self.count = 0
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[Row]:
        assert not isinstance(self.rows, AsyncIterable), "asynchronous rows need an async driver"
        try:
            rows = iter(self.rows)
            while batch := list(islice(rows, AT_ONCE)):
                yield from self.bound(batch)
        except Exception as error:
            self.error = error  # some drivers tell no more than that there was one
            raise

    async def __aiter__(self) -> AsyncIterator[Row]:
        assert isinstance(self.rows, AsyncIterable)
        batch: list[Row] = []
        try:
            async for row in self.rows:
                batch.append(row)
                if len(batch) == AT_ONCE:
                    for bound in self.bound(batch):
                        yield bound
                    batch = []
            for bound in self.bound(batch):
                yield bound
        except Exception as error:
            self.error = error
            raise

    def bound(self, batch: list[Row]) -> Iterable[Row]:
        """*batch* as the driver wants it.  Raises ``ValueError`` for too few or too many values.

        Column by column: what Python does for each row is most of what this costs.
        """
        width = len(self.columns)
        if set(map(len, batch)) - {width}:
            at, row = next((at, row) for at, row in enumerate(batch, 1) if len(row) != width)
            raise ValueError(
                f"row {self.count + at}: received {len(row)} values; "
                f"expected {width}: {', '.join(self.columns)}"
            )
        self.count += len(batch)
        if not self.binders or not batch:
            return batch
        values: list[Any] = list(zip(*batch, strict=True))
        for place, bind in self.binders:
            values[place] = bind(values[place])
        return zip(*values, strict=True)


def binders(
    table: Table, columns: Sequence[str], connection: Connection
) -> Iterator[tuple[int, Binder]]:
    """``(place, function)`` for each column whose values are not the driver's already."""
    plainly = dumps_plainly(connection)
    for place, name in enumerate(columns):
        kind = table.c[name].type.dialect_impl(connection.dialect)
        bind = kind.bind_processor(connection.dialect)
        if bind is None:
            continue
        is_json = isinstance(kind, JSON) and type(kind).__module__.startswith("sqlalchemy.")
        yield place, partial(bound_json if is_json and plainly else map, bind)


def dumps_plainly(connection: Connection) -> bool:
    """Whether an INSERT would send what ``json.dumps`` writes: nobody has set another serializer.

    Neither ``create_engine(json_serializer=)`` nor psycopg's ``set_json_dumps()`` has a public name
    to ask for; where psycopg's is not found, each value is bound by itself.
    """
    if getattr(connection.dialect, "_json_serializer", None) is not None:
        return False
    adapters = getattr(connection.connection.driver_connection, "adapters", None)
    if adapters is None:
        return True
    from psycopg.adapt import PyFormat  # noqa: PLC0415 - this driver alone needs it
    from psycopg.types.json import Jsonb  # noqa: PLC0415

    return getattr(adapters.get_dumper(Jsonb, PyFormat.TEXT), "_dumps", None) is json.dumps


def bound_json(bind: Callable[[Any], Any], values: Sequence[Any]) -> Iterable[Any]:
    """*values* as JSON by one ``json.dumps``: a call costs more than a small object does.

    A string of NUL alone stands between the objects.  Where one of them holds such a string, or is
    neither dict nor list, *bind* takes each by itself.
    """
    if {dict, list}.issuperset(map(type, values)):
        together: list[Any] = [NUL] * (2 * len(values) - 1)
        together[::2] = values
        texts = json.dumps(together)[1:-1].split(f", {json.dumps(NUL)}, ")
        if len(texts) == len(values):
            return texts
    return map(bind, values)


def as_raised_by_insert(error: Exception, statement: str) -> Exception:
    """A driver's *error* as SQLAlchemy raises it, with its SQLSTATE, for all drivers alike."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state is None:
        return error
    return ERRORS.get(state[:2], DBAPIError)(statement, None, error)


# --- psycopg2 takes text --------------------------------------------------------------------------

SPECIAL = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
TEXT: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: r"\N",
    str: lambda value: value.translate(SPECIAL),
    bool: lambda value: "t" if value else "f",
    int: int.__repr__,
    float: float.__repr__,
    Decimal: str,
    UUID: str,
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: lambda value: f"{value // timedelta(microseconds=1)} microseconds",
    bytes: lambda value: rf"\\x{value.hex()}",
}


def text_of(value: object) -> str:
    """*value* in COPY's text format.  Raises ``TypeError`` for lists, ranges and other types."""
    for cls in type(value).__mro__:
        if (convert := TEXT.get(cls)) is not None:
            return convert(value)
    if isinstance(wrapped := getattr(value, "adapted", None), bytes):  # psycopg2.Binary
        return text_of(wrapped)
    raise TypeError(
        f"received a {type(value).__name__}, which psycopg2 cannot COPY; try the driver psycopg"
    )


class TextReader:
    """The file that psycopg2 reads: some lines at a time, made when asked for."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.lines = ("\t".join(map(text_of, row)) + "\n" for row in source)

    def read(self, _size: int = -1) -> str:
        """The next lines; empty at the end.  psycopg2 takes more than it asks for."""
        try:
            return "".join(islice(self.lines, AT_ONCE))
        except Exception as error:
            self.source.error = error
            raise
