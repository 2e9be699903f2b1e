"""Many new rows: without ids, with ids in the order of the input, as objects with their children.

The choice is by what you need back.  Rows that no list holds go through ``copy_rows``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

from sqlalchemy import Select, Table, cast, func, insert, select
from sqlalchemy.dialects.postgresql import REGCLASS
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from ..models import Base, Ticket
from .copying import copy_into, refuse, table_of

Values: TypeAlias = Mapping[str, Any]


def insert_rows(session: Session, model: type[Base], rows: Iterable[Values]) -> int:
    """Insert rows, each with the columns that it has: how many.  No ids, no objects.

    Without the guard an empty list is ``INSERT … DEFAULT VALUES``: a row that nobody asked for.
    """
    listed = [dict(row) for row in rows]
    if listed:
        session.execute(insert(model), listed)
    return len(listed)


async def async_insert_rows(
    session: AsyncSession, model: type[Base], rows: Iterable[Values]
) -> int:
    """The same for asyncio."""
    return await session.run_sync(insert_rows, model, rows)


def bulk_create_tickets(session: Session, tickets_data: Iterable[Values]) -> list[Ticket]:
    """Tickets as objects, flushed, in the order of the input; children may be given with them.

    Each row is what ``Ticket()`` takes.  A few statements for each table, whatever their number:
    SQLAlchemy inserts 1,000 at a time and reads their ids back in order.
    """
    tickets = [Ticket(**row) for row in tickets_data]
    session.add_all(tickets)
    session.flush()
    return tickets


async def async_bulk_create_tickets(
    session: AsyncSession, tickets_data: Iterable[Values]
) -> list[Ticket]:
    """The same for asyncio.  A child is given by its object, or its key: nothing loads later."""
    return await session.run_sync(bulk_create_tickets, tickets_data)


def add_in_batches(session: Session, objects: Iterable[Base], size: int = 1_000) -> int:
    """Add and flush *objects*, and let the session forget them and their children: how many.

    For more than memory should hold.  What they share (their organization) stays in the session.
    """
    iterator, count = iter(objects), 0
    while batch := list(islice(iterator, size)):
        session.add_all(batch)
        session.flush()
        for each in batch:
            session.expunge(each)
        count += len(batch)
    return count


async def async_add_in_batches(
    session: AsyncSession, objects: Iterable[Base], size: int = 1_000
) -> int:
    """The same for asyncio."""
    return await session.run_sync(add_in_batches, objects, size)


def reserved_ids(table: Table, count: int) -> Select[int]:
    """*count* new values of the identity ``id``, for this transaction alone.

    The role needs USAGE on the sequence, which an INSERT into an identity column does not ask for.
    A rollback leaves a gap, as it does after an INSERT.
    """
    name = table.name if table.schema is None else f"{table.schema}.{table.name}"
    sequence = cast(func.pg_get_serial_sequence(name, "id"), REGCLASS)
    numbers = func.generate_series(1, count).table_valued("number")
    return select(func.nextval(sequence)).select_from(numbers)


def bulk_insert_with_return(session: Session, tickets_data: Iterable[Values]) -> list[int]:
    """The ids of new tickets, in the order of the input: reserved in one statement, then COPY.

    Rows may have different columns: each set of them is one COPY.  Raises ``ValueError`` for a row
    that brings its id.
    """
    rows = list(tickets_data)
    if not rows:
        return []
    session.flush()
    connection, table = session.connection(), table_of(Ticket)
    refuse(connection, table, {name for row in rows for name in row})
    ids = sorted(connection.scalars(reserved_ids(table, len(rows))))
    for columns, records in by_columns(rows, ids).items():
        copy_into(connection, table, columns, records)
    return ids


async def async_bulk_insert_with_return(
    session: AsyncSession, tickets_data: Iterable[Values]
) -> list[int]:
    """The same for asyncio."""
    return await session.run_sync(bulk_insert_with_return, tickets_data)


def by_columns(
    rows: Sequence[Values], ids: Sequence[int]
) -> dict[tuple[str, ...], list[tuple[Any, ...]]]:
    """The rows with their ids, by the columns that they have."""
    groups: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for ticket_id, row in zip(ids, rows, strict=True):
        if "id" in row:
            raise ValueError(f"received a row with id={row['id']!r}; expected none: it is given")
        groups.setdefault(("id", *row), []).append((ticket_id, *row.values()))
    return groups
