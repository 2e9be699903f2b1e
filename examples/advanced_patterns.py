"""CRUD, joins, subqueries, CTEs, set operations, windows, upsert.

Problem: "none" and "two" are told apart too late, and a query is built where it is run, so that it
cannot be tested or reused.  Pattern: a function from plain values to a statement, and a line to
execute it, the same for sync and async.  Not for one-off reports: ``text()`` is honest there.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    CompoundSelect,
    Engine,
    Select,
    and_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from .database import session_factory
from .models import (
    DONE,
    Comment,
    ImportCheckpoint,
    Organization,
    Ticket,
    TicketPriority,
    TicketStatus,
    User,
)


class TicketNotFoundError(LookupError):
    """No live ticket has this id."""


def live_ticket(ticket_id: int) -> Select[Ticket]:
    """The ticket, unless it is deleted."""
    return select(Ticket).where(Ticket.id == ticket_id, Ticket.deleted_at.is_(None))


def read_ticket(session: Session, ticket_id: int) -> Ticket:
    """One by key.  Raises ``TicketNotFoundError``; more than one cannot be."""
    ticket = session.scalars(live_ticket(ticket_id)).one_or_none()
    if ticket is None:
        raise TicketNotFoundError(f"no ticket {ticket_id}")
    return ticket


async def async_read_ticket(session: AsyncSession, ticket_id: int) -> Ticket:
    """The same for asyncio."""
    ticket = (await session.scalars(live_ticket(ticket_id))).one_or_none()
    if ticket is None:
        raise TicketNotFoundError(f"no ticket {ticket_id}")
    return ticket


def read_by_title(session: Session, title: str) -> Ticket:
    """The only ticket of this title.

    Raises ``NoResultFound`` or ``MultipleResultsFound``.  ``first()`` would pick one in silence.
    """
    return session.scalars(select(Ticket).where(Ticket.title == title)).one()


def retitle(ticket_id: int, title: str) -> ReturningUpdate[Ticket]:
    """Change one ticket without loading it first; ``updated_at`` and ``version`` move along.

    The row comes back whole: a ticket that the session holds would else lose ``updated_at``, and
    load it when it is read, which asyncio refuses.
    """
    return (
        update(Ticket)
        .where(Ticket.id == ticket_id, Ticket.deleted_at.is_(None))
        .values(title=title, version=Ticket.version + 1)
        .returning(Ticket)
        .execution_options(synchronize_session=False, populate_existing=True)
    )


def update_title(session: Session, ticket_id: int, title: str) -> bool:
    """Whether there was such a ticket: RETURNING tells, on every driver."""
    return session.scalars(retitle(ticket_id, title)).one_or_none() is not None


async def async_update_title(session: AsyncSession, ticket_id: int, title: str) -> bool:
    """The same for asyncio."""
    return (await session.scalars(retitle(ticket_id, title))).one_or_none() is not None


def tickets_with_people() -> Select[str, str, str]:
    """Inner join to the creator, whom every ticket has; outer join to the assignee, who may lack.

    Two joins to one table need two names: ``aliased``.
    """
    assignee = aliased(User)
    return (
        select(Ticket.ticket_number, User.full_name, assignee.full_name)
        .join(User, Ticket.creator_id == User.id)
        .outerjoin(assignee, Ticket.assignee_id == assignee.id)
        .order_by(Ticket.id)
    )


def latest_comments() -> Select[int, str | None]:
    """Each ticket's latest comment, NULL where there is none: a LATERAL subquery."""
    latest = (
        select(Comment.content)
        .where(Comment.ticket_id == Ticket.id)
        .order_by(Comment.created_at.desc(), Comment.id.desc())
        .limit(1)
        .lateral()
    )
    return select(Ticket.id, latest.c.content).outerjoin(latest, literal(True)).order_by(Ticket.id)


def busy_organizations(at_least: int) -> Select[str, int]:
    """Organizations with at least so many open tickets: a CTE, named for its reader."""
    open_tickets = (
        select(Ticket.organization_id, func.count().label("tickets"))
        .where(Ticket.status.not_in(DONE), Ticket.deleted_at.is_(None))
        .group_by(Ticket.organization_id)
        .cte("open_tickets")
    )
    return (
        select(Organization.name, open_tickets.c.tickets)
        .join(open_tickets, open_tickets.c.organization_id == Organization.id)
        .where(open_tickets.c.tickets >= at_least)
        .order_by(open_tickets.c.tickets.desc(), Organization.id)
    )


def duplicate_chain(ticket_id: int) -> Select[int, int]:
    """``(ticket id, steps)`` from a ticket to the one that it was merged into in the end.

    ``UNION ALL`` alone would go round for ever in a circle of duplicates: the steps are bounded.
    """
    start = select(Ticket.id, Ticket.duplicate_of_id, literal(0).label("steps")).where(
        Ticket.id == ticket_id
    )
    chain = start.cte("chain", recursive=True)
    following = (
        select(Ticket.id, Ticket.duplicate_of_id, chain.c.steps + 1)
        .join(chain, Ticket.id == chain.c.duplicate_of_id)
        .where(chain.c.steps < 20)
    )
    chain = chain.union_all(following)
    return select(chain.c.id, chain.c.steps).order_by(chain.c.steps)


def activity(user_id: int) -> CompoundSelect[str, datetime]:
    """What a user did, newest first: tickets and comments in one list."""
    tickets = select(literal("ticket").label("kind"), Ticket.created_at).where(
        Ticket.creator_id == user_id
    )
    comments = select(literal("comment").label("kind"), Comment.created_at).where(
        Comment.author_id == user_id
    )
    return union_all(tickets, comments).order_by(Ticket.created_at.desc(), "kind")


def unanswered() -> Select[Ticket]:
    """Open tickets without a public comment of anybody but their creator."""
    answer = exists().where(
        Comment.ticket_id == Ticket.id,
        Comment.author_id != Ticket.creator_id,
        Comment.is_internal.is_(False),
    )
    return (
        select(Ticket)
        .where(~answer, Ticket.status.not_in(DONE), Ticket.deleted_at.is_(None))
        .order_by(Ticket.created_at, Ticket.id)
    )


def by_urgency() -> Select[Ticket]:
    """Most urgent first: text sorts by letter, an enumeration by its meaning."""
    rank = case(
        (Ticket.priority == TicketPriority.URGENT, 0),
        (Ticket.priority == TicketPriority.HIGH, 1),
        (Ticket.priority == TicketPriority.MEDIUM, 2),
        else_=3,
    )
    return select(Ticket).order_by(rank, Ticket.created_at, Ticket.id)


def newest_per_organization(limit: int) -> Select[int, int]:
    """``(organization id, ticket id)`` of the newest *limit* tickets of each: a window function."""
    place = (
        func.row_number()
        .over(
            partition_by=Ticket.organization_id,
            order_by=(Ticket.created_at.desc(), Ticket.id.desc()),
        )
        .label("place")
    )
    ranked = select(Ticket.organization_id, Ticket.id, place).subquery()
    return (
        select(ranked.c.organization_id, ranked.c.id)
        .where(ranked.c.place <= limit)
        .order_by(ranked.c.organization_id, ranked.c.place)
    )


def save_checkpoint(source: str, position: str) -> ReturningInsert[ImportCheckpoint]:
    """Insert or update in one statement, safe under concurrency.

    ``onupdate=`` does not fire for ON CONFLICT: ``updated_at`` is set by hand
    (SQLAlchemy, "INSERT…ON CONFLICT (Upsert)").  Execute with ``populate_existing``.
    """
    statement = insert(ImportCheckpoint).values(source=source, position=position)
    return statement.on_conflict_do_update(
        index_elements=[ImportCheckpoint.source],
        set_={"position": statement.excluded.position, "updated_at": func.now()},
    ).returning(ImportCheckpoint)


def upsert_checkpoint(session: Session, source: str, position: str) -> ImportCheckpoint:
    """Save how far an import came; an object already loaded gets the new values."""
    options = {"populate_existing": True}
    return session.scalars(save_checkpoint(source, position), execution_options=options).one()


def needing_attention(now: datetime) -> Select[Ticket]:
    """``or_`` of two reasons.  *now* is the caller's and aware, so that a test can choose it."""
    return (
        select(Ticket)
        .where(
            Ticket.deleted_at.is_(None),
            Ticket.created_at <= now,
            or_(
                and_(Ticket.priority == TicketPriority.URGENT, Ticket.assignee_id.is_(None)),
                Ticket.status == TicketStatus.OPEN,
            ),
        )
        .order_by(Ticket.id)
    )


def demo(engine: Engine) -> None:
    """Ask the desk's questions of a handful of rows."""
    factory = session_factory(engine)
    with factory.begin() as session:
        acme = Organization(name="Acme", slug="acme")
        ann = User(email="ann@acme.example", full_name="Ann", password_hash="!", organization=acme)
        sam = User(email="sam@desk.example", full_name="Sam", password_hash="!", is_staff=True)
        first, second, third = (
            Ticket(title=title, description="…", creator=ann, organization=acme)
            for title in ("Printer smokes", "Printer burns", "Fire")
        )
        first.duplicate_of, second.duplicate_of = second, third
        third.assignee, third.priority = sam, TicketPriority.URGENT
        session.add_all([first, second, third])
        session.flush()
        session.add(Comment(ticket=third, author=sam, content="On my way."))
        first_id = first.id
    with factory() as session:
        print("Who asked whom:", [tuple(row) for row in session.execute(tickets_with_people())])
        print("Latest comment:", [tuple(row) for row in session.execute(latest_comments())])
        print("Merged into:", [row.id for row in session.execute(duplicate_chain(first_id))])
        print("Unanswered:", [ticket.title for ticket in session.scalars(unanswered())])
        print("By urgency:", [ticket.title for ticket in session.scalars(by_urgency())])
        print("Busy:", [tuple(row) for row in session.execute(busy_organizations(2))])
        try:
            read_ticket(session, 404)
        except TicketNotFoundError as error:
            print("Not found is told:", error)
    with factory.begin() as session:
        upsert_checkpoint(session, "zendesk", "page 1")
    with factory.begin() as session:
        checkpoint = upsert_checkpoint(session, "zendesk", "page 2")
        later = checkpoint.updated_at > checkpoint.created_at
        print(f"Upsert: {checkpoint.position!r}, updated_at moved: {later}")
