"""Rows beside a table: COPY to a temporary table, then one statement that joins it.

It knows no limit of parameters, and the planner sees rows instead of a text of megabytes.  The role
needs TEMPORARY on the database, which PUBLIC has unless it was revoked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnDefault,
    ColumnElement,
    Connection,
    MetaData,
    Select,
    Table,
    column,
    func,
    inspect,
    literal_column,
    select,
    text,
)
from sqlalchemy import Column as SchemaColumn
from sqlalchemy import table as lightweight_table

from ..models import Base
from .copying import copy_into, refuse, table_of

POSITION = "staged_position"
"""Where a row stood in the input, from 0; a name that no column of ours has."""
NESTED_LOOPS = "enable_nestloop"


@cache  # by table and columns: a new Table each time would be a new statement to compile
def staging_table(table: Table, columns: tuple[str, ...]) -> Table:
    """What the temporary table beside *table* looks like."""
    return Table(
        f"staged_{table.name}",
        MetaData(),
        SchemaColumn(POSITION, BigInteger, primary_key=True),
        *(SchemaColumn(name, table.c[name].type) for name in columns),
    )


@contextmanager
def staged(
    connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[Table, int] | None]:
    """*rows* in a temporary table, and how many; None where there are none.

    All have the columns of the first.  Raises ``ValueError`` for one that has others, and
    ``KeyError`` for a column that *table* does not have; the transaction must be rolled back then.
    Also what ``refuse`` raises.
    """
    iterator = iter(rows)
    first = next(iterator, None)
    if first is None:
        yield None
        return
    columns = tuple(first)
    refuse(connection, table, columns)
    made = staging_table(table, columns)
    # The types of the table's columns, and none of its constraints.
    shape = select(
        literal_column("0::bigint").label(POSITION), *(table.c[name] for name in columns)
    )
    shape_sql = shape.compile(dialect=connection.dialect)
    name = connection.dialect.identifier_preparer.format_table(made)
    connection.execute(
        text(f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {shape_sql} WITH NO DATA")
    )
    count = copy_into(
        connection, made, (POSITION, *columns), numbered(chain([first], iterator), columns)
    )
    own_name = connection.dialect.identifier_preparer.format_table(table)
    nested_loops = connection.scalar(without_nested_loops(own_name, count))
    yield made, count
    # After an error there is nothing to drop or set: the rollback takes both along.
    connection.execute(text(f"DROP TABLE {name}"))
    if nested_loops is not None:
        connection.execute(select(func.set_config(NESTED_LOOPS, nested_loops, True)))


def without_nested_loops(name: str, count: int) -> Select[str, str]:
    """Turn nested loops off where PostgreSQL takes table *name* for smaller than *count* rows.

    Returns what the setting was, or no row.  Only ANALYZE counts rows: a table that a transaction
    is filling may pass for empty.  For the one row expected in it PostgreSQL would read all that is
    staged, and then does so for each that is there: the square of a large batch.
    """
    facts = lightweight_table("pg_class", column("oid"), column("reltuples"))
    return (
        select(
            func.current_setting(NESTED_LOOPS).label("was"),
            func.set_config(NESTED_LOOPS, "off", True).label("now"),
        )
        .select_from(facts)
        .where(facts.c.oid == func.to_regclass(name), facts.c.reltuples < count)
    )


def numbered(
    rows: Iterable[Mapping[str, Any]], columns: tuple[str, ...]
) -> Iterator[tuple[Any, ...]]:
    """Position and values of each.  Raises ``ValueError`` where one has other columns."""
    names, values_of = set(columns), itemgetter(*columns)
    for position, row in enumerate(rows):
        if row.keys() != names:
            raise ValueError(
                f"row {position + 1}: received {', '.join(row)}; expected {', '.join(columns)}"
            )
        # Of one name, itemgetter gets the value and no tuple.
        yield (position, *(values_of(row) if len(columns) > 1 else (values_of(row),)))


def moved_by_itself(model: type[Base]) -> dict[str, ColumnElement[Any]]:
    """What a single UPDATE by the ORM changes unasked: ``onupdate``, and the version.

    An upsert, an UPDATE of a table and plain SQL leave both where they are.
    """
    table, mapper = table_of(model), inspect(model)
    moved: dict[str, ColumnElement[Any]] = {}
    for each in table.columns:
        if each.onupdate is None:
            continue
        if not (isinstance(each.onupdate, ColumnDefault) and each.onupdate.is_clause_element):
            raise TypeError(f"{each} has an onupdate of Python; expected one of SQL: func.now()")
        moved[each.name] = each.onupdate.arg
    if mapper.version_id_col is not None:
        name = mapper.version_id_col.name
        moved[name] = table.c[name] + 1
    return moved


def positions_of(numbers: Any) -> Any:
    """``unnest`` of an array parameter, as a table of positions."""
    return func.unnest(numbers).table_valued(column(POSITION, BigInteger)).render_derived("missing")
