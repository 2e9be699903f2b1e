"""Archive old tickets, a batch a transaction: each with its children as one document, then gone.

Problem: copy, then delete loses what came between the two, and one big DELETE locks for minutes.
Pattern: lock a batch of tickets and their children, write them to the archive, delete them, commit;
what others hold is passed over and comes next time.  What a ticket owns is known from the foreign
keys that cascade; what else refers to it keeps it here.  READ COMMITTED.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Insert,
    MetaData,
    Select,
    Table,
    Text,
    delete,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningDelete

from ..models import Base, Ticket, TicketStatus
from .held import reread
from .references import one_of, references_to, refuse_unknown

TICKETS = Base.metadata.tables["tickets"]

ARCHIVE = Table(
    "archived_tickets",
    MetaData(),  # a product adds it to its own, and a migration makes it
    Column("ticket_id", BigInteger, primary_key=True, autoincrement=False),
    Column("organization_id", BigInteger, nullable=False, index=True),
    Column("ticket_number", Text, nullable=False, index=True),
    Column("archived_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("document", JSONB, nullable=False),
)
"""One row a ticket.  The document outlives changes of the schema; the columns are for finding."""


def owned_by(table: Table) -> list[Column[Any]]:
    """The foreign keys that go with a row of *table* when it is deleted."""
    return [each for each in references_to(table) if cascades(each)]


def cascades(column: Column[Any]) -> bool:
    """Whether the row goes where *column* points to what is deleted."""
    return any((each.ondelete or "").upper() == "CASCADE" for each in column.foreign_keys)


def document(table: Table, row: Any) -> ColumnElement[Any]:
    """A row with all that it owns, and what that owns: ``{…, "comments": [{…}, …]}``."""
    shown: ColumnElement[Any] = func.to_jsonb(row.table_valued(), type_=JSONB)
    for column in owned_by(table):
        child = column.table
        assert isinstance(child, Table)
        rows = child.alias()
        (key,) = table.primary_key
        order = [rows.c[each.name] for each in child.primary_key]
        listed = func.jsonb_agg(aggregate_order_by(document(child, rows), *order))
        children = (
            select(func.coalesce(listed, literal_column("'[]'::jsonb")))
            .where(rows.c[column.name] == row.c[key.name])
            .correlate(row)
            .scalar_subquery()
        )
        shown = shown.op("||", return_type=JSONB)(
            func.jsonb_build_object(literal(child.name, Text), children)
        )
    return shown


def due_tickets(before: datetime, limit: int) -> Select[int]:
    """Old closed tickets, live or merged, oldest id first, locked; locked ones are passed over.

    FOR UPDATE: nobody may add a comment meanwhile.  A ticket that another refers to stays until
    that one is archived.
    """
    keeps = []
    for column in references_to(TICKETS):
        if not cascades(column):
            other = column.table.alias()
            keeps.append(select(other.c[column.name]).where(other.c[column.name] == Ticket.id))
    return (
        select(Ticket.id)
        .where(
            Ticket.status == TicketStatus.CLOSED,
            Ticket.resolved_at < before,
            or_(Ticket.deleted_at.is_(None), Ticket.duplicate_of_id.is_not(None)),
            *(~each.correlate(Ticket).exists() for each in keeps),
        )
        .order_by(Ticket.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Ticket)
    )


def lock_children(column: Column[Any], parents: Iterable[Any]) -> Select[*tuple[Any, ...]]:
    """Lock what *parents* own by *column*: a change that comes now would be in no archive."""
    key = list(column.table.primary_key)
    return select(*key).where(one_of(column, parents)).order_by(*key).with_for_update()


def put_away(ids: Iterable[int]) -> Insert:
    """Write tickets to the archive."""
    row = TICKETS.alias("ticket")
    source = select(
        row.c.id, row.c.organization_id, row.c.ticket_number, document(TICKETS, row)
    ).where(one_of(row.c.id, ids))
    names = ["ticket_id", "organization_id", "ticket_number", "document"]
    return insert(ARCHIVE).from_select(names, source)


def remove(ids: Iterable[int]) -> ReturningDelete[int]:
    """Delete tickets; what they own goes with them."""
    return delete(TICKETS).where(one_of(TICKETS.c.id, ids)).returning(TICKETS.c.id)


def lock_owned(session: Session, table: Table, keys: list[Any]) -> None:
    """Lock all that rows of *table* own, down to the last."""
    refuse_unknown(session, table)
    for column in owned_by(table):
        child = column.table
        assert isinstance(child, Table)
        found = session.execute(lock_children(column, keys)).all()
        if found and references_to(child):
            lock_owned(session, child, [row[0] for row in found])


def archive_tickets(session: Session, before: datetime, *, limit: int = 500) -> int:
    """Archive one batch: how many.  Commit, and call again until it is 0.

    A crash loses the batch that ran, and nothing else: the next run goes on.  What was locked is
    left for it.  Raises ``ValueError`` for a time without a zone, and where the database has a
    foreign key to a ticket that the metadata lacks.
    """
    if before.tzinfo is None:
        raise ValueError(f"received {before.isoformat()}; expected a time zone")
    session.flush()
    ids = list(session.scalars(due_tickets(before, limit)))
    if not ids:
        return 0
    lock_owned(session, TICKETS, ids)
    session.execute(put_away(ids))
    gone = session.execute(remove(ids)).all()
    reread(session)
    return len(gone)


async def async_archive_tickets(
    session: AsyncSession, before: datetime, *, limit: int = 500
) -> int:
    """The same for asyncio."""
    return await session.run_sync(lambda sync: archive_tickets(sync, before, limit=limit))
