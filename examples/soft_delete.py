"""Soft delete: what is deleted is out of sight, comes back whole, and goes for good in time.

Problem: one forgotten ``deleted_at IS NULL`` shows, counts or re-opens what a customer deleted.
Pattern: the session adds the condition to every ORM statement, and a statement says so when it
wants the bin.  Not for data that must be gone (erasure is DELETE), and not a wall: Core and plain
SQL see everything, unless a view or row-level security stands before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import (
    Engine,
    Executable,
    Select,
    delete,
    event,
    exists,
    func,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import (
    Mapper,
    ORMExecuteState,
    Session,
    sessionmaker,
    with_loader_criteria,
)
from sqlalchemy.sql.base import ExecutableOption
from sqlalchemy.sql.dml import ReturningDelete, ReturningUpdate

from .database import session_factory
from .models import (
    Attachment,
    Comment,
    Organization,
    Tag,
    Ticket,
    TicketStatusHistory,
    TicketTag,
    User,
)

Statement = TypeVar("Statement", bound=Executable)
CHILDREN = (Comment, Attachment, TicketTag, TicketStatusHistory)
OPTION = "include_deleted"

LIVE_VIEW = text(
    "CREATE VIEW live_tickets WITH (security_invoker) AS "
    "SELECT * FROM tickets WHERE deleted_at IS NULL"
)
"""For reports and whoever else writes plain SQL; a new column is not in it until it is replaced."""

ROW_SECURITY = (
    text("ALTER TABLE tickets ENABLE ROW LEVEL SECURITY"),
    text(
        "CREATE POLICY live ON tickets "
        "USING (deleted_at IS NULL OR current_setting('app.include_deleted', true) = 'on')"
    ),
)
"""The wall, whatever SQL is sent: for every role but the owner, superusers, and BYPASSRLS."""

see_deleted = select(func.set_config("app.include_deleted", "on", True))
"""Opens that wall for one transaction.  Deleting needs it too: the new row must be visible."""


class NumberTakenError(Exception):
    """A deleted ticket cannot come back: its number has been given to another one."""


class HardDeleteError(Exception):
    """``session.delete()`` was called for a ticket."""


# --- Out of sight ---------------------------------------------------------------------------------


def hide_deleted(state: ORMExecuteState) -> None:
    """Add the condition to an ORM statement: a ``do_orm_execute`` listener.

    Joins, aliases, relationship loads, ``get()``, ORM updates and deletes are covered; the children
    of a deleted ticket are hidden with it.  Not covered: ``any()`` and ``has()`` from a ticket to
    tickets; on 2.0 any ``exists()``, ``any()``, ``has()`` and scalar subquery.  Write it there.
    Raises ``InvalidRequestError`` for an UPDATE by primary key, which takes no condition.
    """
    if state.is_column_load or state.execution_options.get(OPTION):
        # A loaded object keeps its right to be refreshed.
        return
    if state.is_update and isinstance(state.parameters, list) and is_hidden(state.bind_mapper):
        raise InvalidRequestError(
            "received an UPDATE by primary key, which changes what is deleted too; "
            "expected where(); try with_deleted(update(…)) if that is meant"
        )
    if state.is_select or state.is_update or state.is_delete:
        state.statement = state.statement.options(*hiding())


def is_hidden(mapper: Mapper[Any] | None) -> bool:
    """Whether rows of *mapper* are hidden with a deleted ticket."""
    return mapper is not None and issubclass(mapper.class_, (Ticket, *CHILDREN))


@cache  # made anew for each statement they cost more than a read by key
def hiding() -> tuple[ExecutableOption, ...]:
    """The options that hide deleted tickets and their children."""
    return (
        with_loader_criteria(Ticket, Ticket.deleted_at.is_(None), include_aliases=True),
        *(
            with_loader_criteria(child, of_live_ticket(child), include_aliases=True)
            for child in CHILDREN
        ),
    )


def of_live_ticket(child: Any) -> Any:
    """Whether the ticket of *child* is not deleted."""
    tickets = Ticket.__table__.alias()
    return exists().where(tickets.c.id == child.ticket_id, tickets.c.deleted_at.is_(None))


def with_deleted(statement: Statement) -> Statement:
    """*statement*, the bin included."""
    return statement.execution_options(**{OPTION: True})


def live_session_factory(engine: Engine) -> sessionmaker[Session]:
    """Sessions that do not see what is deleted."""
    factory = session_factory(engine)
    event.listen(factory, "do_orm_execute", hide_deleted)
    event.listen(factory, "before_flush", refuse_hard_deletes)
    return factory


def live_async_session_factory(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """The same for asyncio: events belong to the sync session within (AsyncSession, "Events")."""
    within = sessionmaker()
    event.listen(within, "do_orm_execute", hide_deleted)
    event.listen(within, "before_flush", refuse_hard_deletes)
    return async_sessionmaker(engine, expire_on_commit=False, sync_session_class=within)


def refuse_hard_deletes(session: Session, _context: object, _instances: object) -> None:
    """Raise ``HardDeleteError`` where a ticket is to be deleted: a ``before_flush`` listener."""
    for item in session.deleted:
        if isinstance(item, Ticket):
            raise HardDeleteError(
                f"received session.delete({item!r}); expected soft_delete_ticket(session, id): "
                "a DELETE takes its comments, files and history along"
            )


# --- Into the bin and out of it -------------------------------------------------------------------


def family(ticket_id: int) -> Select[int]:
    """The ticket and, over any number of steps, the duplicates that were merged into it."""
    tree = select(Ticket.id).where(Ticket.id == ticket_id).cte("family", recursive=True)
    # UNION, not UNION ALL: a circle of duplicates comes to an end.
    tree = tree.union(select(Ticket.id).join(tree, Ticket.duplicate_of_id == tree.c.id))
    return select(tree.c.id)


def deletion(ticket_id: int) -> ReturningUpdate[int]:
    """Delete a ticket and its duplicates; what was deleted before keeps its time."""
    return with_deleted(
        update(Ticket)
        .where(Ticket.id.in_(family(ticket_id)), Ticket.deleted_at.is_(None))
        .values(deleted_at=func.now(), version=Ticket.version + 1)
        .returning(Ticket.id)
    )


def restoration(ticket_id: int) -> ReturningUpdate[int]:
    """Bring back a ticket, and of its duplicates those that were deleted together with it."""
    its_time = select(Ticket.deleted_at).where(Ticket.id == ticket_id).scalar_subquery()
    return with_deleted(
        update(Ticket)
        .where(Ticket.id.in_(family(ticket_id)), Ticket.deleted_at == its_time)
        .values(deleted_at=None, version=Ticket.version + 1)
        .returning(Ticket.id)
    )


def purge(retention: timedelta, batch: int) -> ReturningDelete[int]:
    """Delete for good, oldest first, at most *batch* of what lay in the bin for *retention*.

    Children go by ON DELETE CASCADE.  Who is being restored this moment is passed over.  The CTE is
    run once; as a subquery of IN it may be run for each row, and then no LIMIT holds.
    """
    due = (
        select(Ticket.id)
        .where(Ticket.deleted_at < func.now() - retention)
        .order_by(Ticket.deleted_at)
        .limit(batch)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return with_deleted(delete(Ticket).where(Ticket.id.in_(select(due.c.id))).returning(Ticket.id))


def bin_of(organization_id: int) -> Select[Ticket]:
    """What an organization may restore, last deleted first."""
    return with_deleted(
        select(Ticket)
        .where(Ticket.organization_id == organization_id, Ticket.deleted_at.is_not(None))
        .order_by(Ticket.deleted_at.desc(), Ticket.id.desc())
    )


def soft_delete_ticket(session: Session, ticket_id: int) -> Sequence[int]:
    """Delete a ticket with its duplicates: their ids, none where it was not there.

    An object that the session holds is updated; it stays in the identity map, and so within reach
    of ``get()``, until the session ends.
    """
    return session.scalars(deletion(ticket_id)).all()


async def async_soft_delete_ticket(session: AsyncSession, ticket_id: int) -> Sequence[int]:
    """The same for asyncio."""
    return (await session.scalars(deletion(ticket_id))).all()


def restore_ticket(session: Session, ticket_id: int) -> Sequence[int]:
    """Bring a ticket back: the ids, none where it was not deleted.

    Raises ``NumberTakenError``; the caller's transaction goes on.
    """
    try:
        with session.begin_nested():
            return session.scalars(restoration(ticket_id)).all()
    except IntegrityError as error:
        raise taken(ticket_id, error) from error


async def async_restore_ticket(session: AsyncSession, ticket_id: int) -> Sequence[int]:
    """The same for asyncio."""
    try:
        async with session.begin_nested():
            return (await session.scalars(restoration(ticket_id))).all()
    except IntegrityError as error:
        raise taken(ticket_id, error) from error


def taken(ticket_id: int, error: IntegrityError) -> Exception:
    """``NumberTakenError`` where the number's index refused; else *error* itself."""
    if "uq_tickets_ticket_number_live" in str(error.orig):
        return NumberTakenError(f"ticket {ticket_id}: its number is taken; give it another")
    return error


def purge_deleted(session: Session, retention: timedelta, batch: int = 1_000) -> int:
    """Purge one batch: how many.  Commit, and call again until it is 0: short transactions."""
    return len(session.scalars(purge(retention, batch)).all())


async def async_purge_deleted(
    session: AsyncSession, retention: timedelta, batch: int = 1_000
) -> int:
    """The same for asyncio."""
    return len((await session.scalars(purge(retention, batch))).all())


def demo(engine: Engine) -> None:
    """Delete a ticket, look for it everywhere, bring it back, and purge."""
    factory = live_session_factory(engine)
    with factory.begin() as session:
        acme = Organization(name="Acme", slug="acme")
        ann = User(email="ann@acme.example", full_name="Ann", password_hash="!")
        first = Ticket(title="Printer burns", description="…", organization=acme, creator=ann)
        again = Ticket(title="It burns!", description="…", organization=acme, creator=ann)
        other = Ticket(title="Invoice", description="…", organization=acme, creator=ann)
        again.duplicate_of = first
        first.comments.append(Comment(content="Help", author=ann))
        first.tag_links.append(TicketTag(tag=Tag(name="fire")))
        session.add_all([first, again, other])
        session.flush()
        first_id, acme_id, number = first.id, acme.id, first.ticket_number
    with factory.begin() as session:
        print("Deleted together:", list(soft_delete_ticket(session, first_id)))
    with factory() as session:
        print("Tickets:", session.scalars(select(Ticket.title)).all())
        print("Comments:", session.scalar(select(func.count(Comment.id))))
        print("By key:", session.get(Ticket, first_id))
        print("The bin:", [ticket.title for ticket in session.scalars(bin_of(acme_id))])
        count = session.connection().execute(select(func.count()).select_from(Ticket.__table__))
        print("Core, on the connection, sees all:", count.scalar())
    with factory.begin() as session:
        print("Restored:", list(restore_ticket(session, first_id)))
        print("Restored again:", list(restore_ticket(session, first_id)))
        soft_delete_ticket(session, first_id)
    with factory.begin() as session:
        usurper = session.scalars(select(Ticket)).one()
        usurper.ticket_number = number
        session.flush()
        try:
            restore_ticket(session, first_id)
        except NumberTakenError as error:
            print("Not restored:", error)
        try:
            session.delete(usurper)
            session.flush()
        except HardDeleteError as error:
            print("Refused:", error)
            session.expunge(usurper)
        print("Purged after 30 days:", purge_deleted(session, timedelta(days=30)))
        print("Purged at once:", purge_deleted(session, timedelta(0)))
