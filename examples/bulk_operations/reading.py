"""Millions of rows with the memory of a few: a server-side cursor, or one page after another.

A plain ``execute()`` has the whole result in the client before the first row is yours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from ..models import Ticket

T = TypeVar("T")


def read_in_batches(
    session: Session, statement: Select[Any], size: int = 1_000
) -> Iterator[Sequence[Any]]:
    """The first column (the objects) of *statement*, *size* at a time, by a server-side cursor.

    One snapshot of the table, for as long as the transaction lasts: a commit ends the cursor.
    Keep no reference to what you have seen.  Collections: ``selectinload``, no ``joinedload``.
    """
    with session.scalars(statement, execution_options={"yield_per": size}) as result:
        yield from result.partitions()


async def async_read_in_batches(
    session: AsyncSession, statement: Select[Any], size: int = 1_000
) -> AsyncIterator[Sequence[Any]]:
    """The same for asyncio: ``stream_scalars()``; ``scalars()`` would hold them all."""
    result = await session.stream_scalars(statement, execution_options={"yield_per": size})
    try:
        async for batch in result.partitions():
            yield batch
    finally:
        await result.close()


def tickets_after(ticket_id: int, size: int = 1_000) -> Select[Ticket]:
    """The next tickets by id, to be read, changed and committed before the next are asked for.

    No transaction stays open for the whole run, and a crash goes on where it ended: keep the last
    id.  There is no common snapshot.
    """
    return (
        select(Ticket)
        .where(Ticket.deleted_at.is_(None), Ticket.id > ticket_id)
        .order_by(Ticket.id)
        .limit(size)
        .execution_options(populate_existing=True)
    )
