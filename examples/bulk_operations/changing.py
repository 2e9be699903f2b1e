"""Many tickets at once: a status, an agent, deletion in batches.

By the rules of single writes: closed and deleted tickets are not re-opened, versions move, each
change of a status gets its line in the history, ``updated_at`` follows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    any_,
    case,
    delete,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningDelete, ReturningUpdate

from ..models import DONE, Base, Ticket, TicketStatus, TicketStatusHistory, User
from .identity import refresh_held


def change_status(
    ticket_ids: Iterable[int], new_status: TicketStatus, changed_by_id: int | None = None
) -> ReturningUpdate[int]:
    """Move tickets to *new_status*, with their history, in one statement: the ids of the changed.

    A closed or deleted ticket stays as it is, and so does one that has the status already.
    """
    allowed = (Ticket.status != TicketStatus.CLOSED, Ticket.status != new_status)
    resolved_at = func.coalesce(Ticket.resolved_at, func.now()) if new_status in DONE else null()
    return changed_tickets(
        ticket_ids,
        allowed,
        literal(new_status, Ticket.status.type),
        changed_by_id,
        resolved_at=resolved_at,
    )


def assign(
    ticket_ids: Iterable[int], agent_id: int, changed_by_id: int | None = None
) -> ReturningUpdate[int]:
    """Give tickets to an agent: the ids of the changed.  An open one is in progress then.

    Resolved, closed and deleted ones stay as they are: nobody re-opens a ticket by assigning it.
    """
    new_status = case(
        (Ticket.status == TicketStatus.OPEN, literal(TicketStatus.IN_PROGRESS, Ticket.status.type)),
        else_=Ticket.status,
    )
    allowed = (
        Ticket.status.not_in(DONE),
        or_(Ticket.assignee_id.is_distinct_from(agent_id), Ticket.status == TicketStatus.OPEN),
    )
    return changed_tickets(ticket_ids, allowed, new_status, changed_by_id, assignee_id=agent_id)


def changed_tickets(
    ticket_ids: Iterable[int],
    allowed: Iterable[ColumnElement[bool]],
    new_status: ColumnElement[TicketStatus],
    changed_by_id: int | None,
    **values: object,
) -> ReturningUpdate[int]:
    """Lock what is *allowed* in the order of the key, write its history, change it."""
    wanted = Ticket.id == any_(literal(list(ticket_ids), ARRAY(BigInteger)))
    locked = (
        select(Ticket.id, Ticket.status.label("old_status"), new_status.label("new_status"))
        .where(wanted, Ticket.deleted_at.is_(None), *allowed)
        .order_by(Ticket.id)
        .with_for_update(key_share=True, of=Ticket)
        .cte("locked")
    )
    author = literal(changed_by_id, BigInteger)
    moved = select(locked.c.id, locked.c.old_status, locked.c.new_status, author).where(
        locked.c.old_status != locked.c.new_status
    )
    history = (
        insert(TicketStatusHistory)
        .from_select(["ticket_id", "old_status", "new_status", "changed_by_id"], moved)
        .cte("history")
    )
    if changed_by_id is not None:
        values["updated_by_id"] = changed_by_id
    return (
        update(Ticket)
        .where(Ticket.id == locked.c.id)
        # By hand: update() leaves the version alone.
        .values(status=locked.c.new_status, version=Ticket.version + 1, **values)
        .add_cte(history)
        .returning(Ticket.id)
        .execution_options(synchronize_session=False)
    )


def bulk_update_ticket_status(
    session: Session,
    ticket_ids: Iterable[int],
    new_status: TicketStatus,
    *,
    changed_by_id: int | None = None,
) -> list[int]:
    """``change_status``: the ids, ascending; what the session holds of them is read again."""
    ids = sorted(session.scalars(change_status(ticket_ids, new_status, changed_by_id)))
    refresh_held(session, Ticket, set(ids))
    return ids


async def async_bulk_update_ticket_status(
    session: AsyncSession,
    ticket_ids: Iterable[int],
    new_status: TicketStatus,
    *,
    changed_by_id: int | None = None,
) -> list[int]:
    """The same for asyncio."""
    return await session.run_sync(
        lambda sync: bulk_update_ticket_status(
            sync, ticket_ids, new_status, changed_by_id=changed_by_id
        )
    )


def require_agent(session: Session, user_id: int) -> None:
    """Raise ``ValueError`` unless it is active staff, who stays so until the transaction ends.

    People are locked before tickets: two that lock in different orders can wait in a circle.
    """
    staying = select(User.id).where(User.id == user_id, User.is_staff, User.is_active)
    if session.scalar(staying.with_for_update(read=True)) is None:
        raise ValueError(f"received user {user_id} to give tickets to; expected active staff")


def bulk_assign_tickets(
    session: Session,
    ticket_ids: Iterable[int],
    assignee_id: int,
    *,
    changed_by_id: int | None = None,
) -> list[int]:
    """``assign``: the ids, ascending; what the session holds of them is read again.

    Raises ``ValueError`` where the agent is not active staff.
    """
    require_agent(session, assignee_id)
    ids = sorted(session.scalars(assign(ticket_ids, assignee_id, changed_by_id)))
    refresh_held(session, Ticket, set(ids))
    return ids


async def async_bulk_assign_tickets(
    session: AsyncSession,
    ticket_ids: Iterable[int],
    assignee_id: int,
    *,
    changed_by_id: int | None = None,
) -> list[int]:
    """The same for asyncio."""
    return await session.run_sync(
        lambda sync: bulk_assign_tickets(sync, ticket_ids, assignee_id, changed_by_id=changed_by_id)
    )


# --- Deletes --------------------------------------------------------------------------------------


def delete_batch(
    model: type[Any], *conditions: ColumnElement[bool], limit: int = 1_000
) -> ReturningDelete[int]:
    """Delete at most *limit* rows that meet *conditions*, lowest id first: their ids.

    What another transaction has locked is passed over, and comes with a later batch.  The CTE is
    run once; as a subquery of IN it may be run for each row, and then no LIMIT holds.
    """
    due = (
        select(model.id)
        .where(*conditions)
        .order_by(model.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=model)
        .cte("due")
    )
    return delete(model).where(model.id.in_(select(due.c.id))).returning(model.id)


def bulk_delete(
    session: Session, model: type[Base], *conditions: ColumnElement[bool], limit: int = 1_000
) -> int:
    """Delete one batch: how many.  Commit, and call again until it is 0: short transactions.

    At 0 there may be rows left that others have locked: call again later.
    """
    return len(session.scalars(delete_batch(model, *conditions, limit=limit)).all())


async def async_bulk_delete(
    session: AsyncSession, model: type[Base], *conditions: ColumnElement[bool], limit: int = 1_000
) -> int:
    """The same for asyncio."""
    return len((await session.scalars(delete_batch(model, *conditions, limit=limit))).all())
