"""Eager loading: every statement says what it loads, and a count shows what that costs.

Problem: a loop over tickets runs a statement a ticket, or one join sends each ticket once for every
comment times every tag.  Pattern: a many-to-one by join, a collection by ``selectinload``, the rest
refused by ``raiseload``.  Not for counts and sums: select those, and load no objects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from typing import Any

from sqlalchemy import BigInteger, Engine, Select, Text, event, func, literal, select, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import (
    Session,
    aliased,
    contains_eager,
    joinedload,
    load_only,
    raiseload,
    selectinload,
    subqueryload,
)

from .database import session_factory
from .models import Comment, Organization, Tag, Ticket, TicketTag, User


def ticket_page(limit: int) -> Select[Ticket]:
    """The newest live tickets with what a list shows; two statements, however many.

    Many-to-one by join: a row stays a row.  The collection by ``selectinload``: a join would
    multiply rows.  Whatever else is touched raises.
    """
    shown = (Ticket.ticket_number, Ticket.title, Ticket.status, Ticket.created_at)
    return (
        select(Ticket)
        .where(Ticket.deleted_at.is_(None))
        .order_by(Ticket.created_at.desc(), Ticket.id.desc())
        .limit(limit)
        .options(
            load_only(*shown, Ticket.version, raiseload=True),  # the version: no lost update
            joinedload(Ticket.creator, innerjoin=True).load_only(User.full_name, raiseload=True),
            joinedload(Ticket.assignee).load_only(User.full_name, raiseload=True),
            selectinload(Ticket.tags),
            raiseload("*"),
        )
    )


def ticket_thread(ticket_id: int) -> Select[Ticket]:
    """One ticket with comments, their authors, and files: nested loads, three statements."""
    return (
        select(Ticket)
        .where(Ticket.id == ticket_id)
        .options(
            selectinload(Ticket.comments).joinedload(Comment.author, innerjoin=True),
            selectinload(Ticket.attachments),
            raiseload("*"),
        )
    )


def tickets_by_joins(ticket_ids: Iterable[int]) -> Select[Ticket]:
    """Two collections in one statement, to be counted: rows = comments x tags of each ticket.

    The result must pass through ``unique()``; without it SQLAlchemy raises.
    """
    return (
        select(Ticket)
        .where(Ticket.id.in_(list(ticket_ids)))
        .options(joinedload(Ticket.comments), joinedload(Ticket.tags))
    )


def tickets_by_selects(ticket_ids: Iterable[int]) -> Select[Ticket]:
    """The same by one statement more a collection, whose rows are as many as there are."""
    return (
        select(Ticket)
        .where(Ticket.id.in_(list(ticket_ids)))
        .options(selectinload(Ticket.comments), selectinload(Ticket.tags))
    )


def tickets_by_subqueries(ticket_ids: Iterable[int]) -> Select[Ticket]:
    """``subqueryload`` runs the whole query again for each collection: seldom what is wanted.

    It pays where a key has several columns and the first query is cheap; never with a LIMIT that
    has no ORDER BY, since the two runs may then see different tickets.
    """
    return (
        select(Ticket)
        .where(Ticket.id.in_(list(ticket_ids)))
        .options(subqueryload(Ticket.comments), subqueryload(Ticket.tags))
    )


def tickets_with_public_comments(ticket_ids: Iterable[int]) -> Select[Ticket]:
    """Tickets with a *part* of a collection: join, filter, and say that the join is the collection.

    ``populate_existing``: a ticket that the session holds already would keep what it had.  Pass
    the result through ``unique()``, and do not save such tickets: their collection is not whole.
    """
    return (
        select(Ticket)
        .outerjoin(Comment, (Comment.ticket_id == Ticket.id) & Comment.is_internal.is_(False))
        .where(Ticket.id.in_(list(ticket_ids)))
        .order_by(Ticket.id, Comment.created_at, Comment.id)
        .options(contains_eager(Ticket.comments))
        .execution_options(populate_existing=True)
    )


def newest_comments(ticket_ids: Iterable[int], per_ticket: int) -> Select[Comment]:
    """The newest *per_ticket* comments of each ticket: a lateral join stops after so many rows.

    A window function would number every comment first.
    """
    ids = func.unnest(literal(list(ticket_ids), ARRAY(BigInteger)))
    wanted = ids.table_valued("ticket_id").render_derived(name="wanted")
    newest = (
        select(Comment)
        .where(Comment.ticket_id == wanted.c.ticket_id)
        .order_by(Comment.created_at.desc(), Comment.id.desc())
        .limit(per_ticket)
        .lateral()
    )
    found = aliased(Comment, newest)
    # The order inside a lateral subquery picks the rows; only this one orders the answer.
    order = (found.ticket_id, found.created_at.desc(), found.id.desc())
    return select(found).select_from(wanted).join(newest, true()).order_by(*order)


def tickets_with_counts(limit: int) -> Select[Ticket, int]:
    """``(ticket, number of its comments)``: counted by the index, and no comment is loaded."""
    count = (
        select(func.count())
        .where(Comment.ticket_id == Ticket.id)
        .correlate(Ticket)
        .scalar_subquery()
        .label("comments")
    )
    return (
        select(Ticket, count)
        .where(Ticket.deleted_at.is_(None))
        .order_by(Ticket.created_at.desc(), Ticket.id.desc())
        .limit(limit)
    )


def tag_names(ticket_ids: Iterable[int]) -> Select[int, Sequence[str]]:
    """``(ticket id, names of its tags)``: values instead of objects, one row a ticket."""
    return (
        select(TicketTag.ticket_id, func.array_agg(Tag.name, type_=ARRAY(Text)).label("names"))
        .join(TicketTag.tag)
        .where(TicketTag.ticket_id.in_(list(ticket_ids)))
        .group_by(TicketTag.ticket_id)
    )


def load_page(session: Session, limit: int) -> Sequence[Ticket]:
    """The tickets of ``ticket_page``."""
    return session.scalars(ticket_page(limit)).all()


async def async_load_page(session: AsyncSession, limit: int) -> Sequence[Ticket]:
    """The same for asyncio."""
    return (await session.scalars(ticket_page(limit))).all()


def by_ticket(comments: Iterable[Comment]) -> dict[int, list[Comment]]:
    """*comments* by their ticket; a ticket without one gives an empty list."""
    found: defaultdict[int, list[Comment]] = defaultdict(list)
    for comment in comments:
        found[comment.ticket_id].append(comment)
    return found


def every_ticket(session: Session, batch: int) -> Generator[Ticket, None, None]:
    """All tickets with their tags, *batch* at a time: the memory of one batch.

    The session refers to its objects weakly: what the caller does not keep goes.  A collection by
    join cannot be streamed: its rows would have to be gathered first.
    """
    statement = select(Ticket).order_by(Ticket.id).options(selectinload(Ticket.tags))
    # Closed by whoever stops early, too: the cursor is the server's.
    with session.scalars(statement.execution_options(yield_per=batch)) as found:
        for tickets in found.partitions():
            yield from tickets


async def async_every_ticket(session: AsyncSession, batch: int) -> AsyncGenerator[Ticket, None]:
    """The same for asyncio.  Who may stop early holds it in ``contextlib.aclosing``.

    With asyncpg the server's cursor stays until the transaction ends.
    """
    statement = select(Ticket).order_by(Ticket.id).options(selectinload(Ticket.tags))
    found = await session.stream_scalars(statement.execution_options(yield_per=batch))
    try:
        async for tickets in found.partitions():
            for ticket in tickets:
                yield ticket
    finally:
        await found.close()


class Fetched:
    """What came over the wire: statements, rows, bytes of their values.  For psycopg 3."""

    def __init__(self) -> None:
        self.statements = self.rows = self.bytes = 0

    def note(self, _connection: Any, cursor: Any, *_: Any) -> None:
        """Count one statement; an ``after_cursor_execute`` listener."""
        result = cursor.pgresult
        self.statements += 1
        self.rows += result.ntuples
        self.bytes += sum(
            len(result.get_value(row, column) or b"")
            for row in range(result.ntuples)
            for column in range(result.nfields)
        )

    def __str__(self) -> str:
        return f"{self.statements} statements, {self.rows} rows, {self.bytes:,} bytes"


def measured(engine: Engine, statement: Select[Ticket]) -> Fetched:
    """What *statement* fetches in a session of its own."""
    fetched = Fetched()
    event.listen(engine, "after_cursor_execute", fetched.note)
    try:
        with Session(engine) as session:
            session.scalars(statement).unique().all()
    finally:
        event.remove(engine, "after_cursor_execute", fetched.note)
    return fetched


def demo(engine: Engine) -> None:
    """Load ten tickets with comments and tags in three ways, and count."""
    with session_factory(engine).begin() as session:
        acme = Organization(name="Acme", slug="acme")
        ann = User(email="ann@acme.example", full_name="Ann", password_hash="!")
        tags = [Tag(name=name) for name in ("billing", "printer", "urgent", "vip")]
        tickets = [
            Ticket(title=f"Ticket {n}", description="It fails. " * 100, organization=acme)
            for n in range(10)
        ]
        for ticket in tickets:
            ticket.creator = ann
            ticket.tag_links = [TicketTag(tag=tag) for tag in tags]
            ticket.comments = [
                Comment(author=ann, content=f"Comment {n}", is_internal=n % 2 == 0)
                for n in range(20)
            ]
        session.add_all(tickets)
        session.flush()
        ids = [ticket.id for ticket in tickets]
    print("10 tickets, 20 comments and 4 tags each")
    print("  two joins:    ", measured(engine, tickets_by_joins(ids)))
    print("  selectinload: ", measured(engine, tickets_by_selects(ids)))
    print("  subqueryload: ", measured(engine, tickets_by_subqueries(ids)))
    print("  a list's page:", measured(engine, ticket_page(10)))
    with session_factory(engine)() as session:
        newest = by_ticket(session.scalars(newest_comments(ids, 2)))
        print("Newest two of the first:", [comment.content for comment in newest[ids[0]]])
        _, count = session.execute(tickets_with_counts(1)).one()
        print("Comments of the newest ticket, none loaded:", count)
        partial = session.scalars(tickets_with_public_comments(ids[:1])).unique().one()
        print("Public comments of the first:", len(partial.comments))
        print("Streamed:", sum(1 for _ in every_ticket(session, batch=4)))
