"""What the desk does, without HTTP: functions that take a session, flush, and never commit.

They raise ``DeskError``; how that is told is up to whoever answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

from sqlalchemy import Insert, Select, func, insert, literal, or_, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from ..error_handling import (
    ConflictError,
    ForbiddenError,
    MissingReferenceError,
    NotFoundError,
    StaleError,
)
from ..locking import ChangedMeanwhile, async_changing, lock_tickets
from ..models import DONE, Comment, Tag, Ticket, TicketStatus, TicketStatusHistory, TicketTag, User
from ..pagination import Page, async_load_page
from ..search import TicketSearch, conditions
from ..soft_delete import NumberTakenError, async_restore_ticket, async_soft_delete_ticket
from .schemas import NewComment, NewTicket, TicketChanges


class DoneError(ConflictError):
    """Nobody is assigned to what is done."""

    said: ClassVar[str] = "The ticket is done"


# --- Statements -----------------------------------------------------------------------------------


def whole_ticket(ticket_id: int) -> Select[Ticket]:
    """A ticket as an answer shows it, with the values that the database has now."""
    return (
        select(Ticket)
        .where(Ticket.id == ticket_id, Ticket.deleted_at.is_(None))
        .options(selectinload(Ticket.tags))
        .execution_options(populate_existing=True)
    )


def matching_tickets(search: TicketSearch) -> Select[Ticket]:
    """What a page is cut from."""
    return select(Ticket).where(*conditions(search)).options(selectinload(Ticket.tags))


def comments_after(ticket_id: int, after: int, limit: int, reader_id: int) -> Select[Comment]:
    """The next comments that the reader may see, in the order of their ids.

    Internal ones are for active staff.
    """
    allowed = or_(~Comment.is_internal, working(reader_id).exists())
    return (
        select(Comment)
        .where(Comment.ticket_id == ticket_id, Comment.id > after, allowed)
        .order_by(Comment.id)
        .limit(limit)
    )


def working(user_id: int) -> Select[int]:
    """The id of an active member of staff; no row for others."""
    return select(User.id).where(User.id == user_id, User.is_staff, User.is_active)


def missing_tags() -> Insert:
    """Make the tags that are not there, whatever their case; a rival's is taken as ours."""
    made = postgresql.insert(Tag)
    return made.on_conflict_do_nothing(index_elements=[func.lower(Tag.name)])


def links_to_tags(ticket_id: int, names: Sequence[str], actor_id: int) -> Insert:
    """Let a ticket bear these tags; those that it bears stay as they are."""
    wanted = select(literal(ticket_id), Tag.id, literal(actor_id)).where(
        func.lower(Tag.name).in_([func.lower(name) for name in names])
    )
    made = postgresql.insert(TicketTag)
    return made.from_select(["ticket_id", "tag_id", "added_by_id"], wanted).on_conflict_do_nothing()


# --- The desk -------------------------------------------------------------------------------------


async def read_ticket(session: AsyncSession, ticket_id: int) -> Ticket:
    """A live ticket with its tags: two statements.  Raises ``NotFoundError``."""
    ticket = (await session.scalars(whole_ticket(ticket_id))).one_or_none()
    if ticket is None:
        raise NotFoundError(("ticket_id",))
    return ticket


async def find_page(
    session: AsyncSession, search: TicketSearch, *, secret: bytes, cursor: str | None, limit: int
) -> Page:
    """A page of *search*.  Its cursors serve no other search.  Raises ``CursorError``."""
    base = matching_tickets(search)
    return await async_load_page(
        session, base, secret=secret, cursor=cursor, limit=limit, scope=repr(search)
    )


async def open_tickets(
    session: AsyncSession, new: Sequence[NewTicket], actor_id: int
) -> Sequence[int]:
    """Open one or a thousand, all or none, with their first change of status: the ids, in order."""
    who = {"creator_id": actor_id, "created_by_id": actor_id}
    rows = [each.model_dump() | who for each in new]
    if not rows:  # an empty list would insert one row of defaults
        return []
    made = insert(Ticket).returning(Ticket.id, sort_by_parameter_order=True)
    ids = (await session.scalars(made, rows)).all()
    first = {"new_status": TicketStatus.OPEN, "changed_by_id": actor_id}
    await session.execute(insert(TicketStatusHistory), [first | {"ticket_id": id_} for id_ in ids])
    return ids


async def locked_ticket(session: AsyncSession, ticket_id: int) -> Ticket:
    """A live ticket, locked, with the values that it has now.  Raises ``NotFoundError``."""
    ticket = (await session.scalars(lock_tickets([ticket_id]))).one_or_none()
    if ticket is None:
        raise NotFoundError(("ticket_id",))
    return ticket


async def change_ticket(
    session: AsyncSession, ticket_id: int, version: int, changes: TicketChanges, actor_id: int
) -> None:
    """Change what was sent, if the ticket still is at *version*.

    Raises ``StaleError`` where it is not, ``NotFoundError`` where it is gone.
    """
    try:
        async with async_changing(session, ticket_id, version) as ticket:
            for name, value in changes.model_dump(exclude_unset=True).items():
                setattr(ticket, name, value)
            ticket.updated_by_id = actor_id
    except ChangedMeanwhile as refused:
        raise (NotFoundError(("ticket_id",)) if refused.found is None else StaleError()) from None


async def assign_ticket(
    session: AsyncSession, ticket_id: int, assignee_id: int | None, actor_id: int
) -> None:
    """Give it to an active member of staff, or to nobody.  Raises ``DoneError`` and others."""
    if assignee_id is not None:
        # Who is given work cannot leave before we commit; people are locked before tickets.
        staying = working(assignee_id).with_for_update(read=True)
        if (await session.scalar(staying)) is None:
            raise MissingReferenceError(("assignee_id",))
    ticket = await locked_ticket(session, ticket_id)
    if ticket.status in DONE:
        raise DoneError()
    ticket.assignee_id, ticket.updated_by_id = assignee_id, actor_id


async def resolve_ticket(session: AsyncSession, ticket_id: int, actor_id: int) -> None:
    """Resolve it; who asks again, since the answer was lost, changes nothing."""
    ticket = await locked_ticket(session, ticket_id)
    if ticket.status in DONE:
        return
    change = TicketStatusHistory(
        ticket_id=ticket_id,
        old_status=ticket.status,
        new_status=TicketStatus.RESOLVED,
        changed_by_id=actor_id,
    )
    session.add(change)
    ticket.status, ticket.updated_by_id = TicketStatus.RESOLVED, actor_id
    ticket.resolved_at = datetime.now(UTC)


async def tag_ticket(
    session: AsyncSession, ticket_id: int, names: Sequence[str], actor_id: int
) -> None:
    """Add tags by name; the ticket's version moves, since its answer shows them."""
    ticket = await locked_ticket(session, ticket_id)
    ticket.updated_by_id = actor_id
    ticket.updated_at = datetime.now(UTC)  # also where all else is as it was
    # In one order: two that make the same tags wait for each other, and not in a circle.
    ordered = sorted(set(names), key=lambda name: (name.lower(), name))
    await session.execute(missing_tags(), [{"name": name} for name in ordered])
    await session.execute(links_to_tags(ticket_id, ordered, actor_id))


async def add_comment(
    session: AsyncSession, ticket_id: int, new: NewComment, actor_id: int
) -> Comment:
    """Add a note by *actor_id*.

    Raises ``NotFoundError``, and ``ForbiddenError`` for an internal one by a customer, who could
    not even read it.
    """
    await require_ticket(session, ticket_id)
    if new.is_internal and (await session.scalar(working(actor_id))) is None:
        raise ForbiddenError(("is_internal",))
    comment = Comment(ticket_id=ticket_id, author_id=actor_id, **new.model_dump())
    session.add(comment)
    await session.flush()
    return comment


async def require_ticket(session: AsyncSession, ticket_id: int) -> None:
    """Raise ``NotFoundError`` unless there is such a live ticket."""
    query = select(Ticket.id).where(Ticket.id == ticket_id, Ticket.deleted_at.is_(None))
    if (await session.scalar(query)) is None:
        raise NotFoundError(("ticket_id",))


async def read_comments(
    session: AsyncSession, ticket_id: int, after: int, limit: int, reader_id: int
) -> Sequence[Comment]:
    """What the reader may see of a live ticket's comments.  Raises ``NotFoundError``."""
    await require_ticket(session, ticket_id)
    return (await session.scalars(comments_after(ticket_id, after, limit, reader_id))).all()


async def delete_ticket(session: AsyncSession, ticket_id: int) -> None:
    """Out of sight, with its duplicates.  Raises ``NotFoundError``."""
    if not await async_soft_delete_ticket(session, ticket_id):
        raise NotFoundError(("ticket_id",))


async def restore_ticket(session: AsyncSession, ticket_id: int) -> None:
    """Back into sight; what is there stays.  Raises ``ConflictError`` where its number is taken."""
    try:
        await async_restore_ticket(session, ticket_id)
    except NumberTakenError:
        raise ConflictError(("ticket_number",)) from None
