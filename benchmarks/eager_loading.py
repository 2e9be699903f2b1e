"""Tickets with ten comments and two tags each: one by one, by joins, by further selects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psycopg
from sqlalchemy import Engine, Select, select, text
from sqlalchemy.orm import Session

from examples.eager_loading import tickets_by_joins, tickets_by_selects, tickets_by_subqueries
from examples.models import Comment, Tag, Ticket, TicketTag
from examples.testing_patterns.large_desk import analyze

from .databases import desk, driver_url
from .harness import Case

TITLE = "Tickets with ten comments and two tags each"
BASELINE = "selectinload"
QUICK, FULL = 100, 1_000
PEERS = ()
Loaded = tuple[int, int, int]

THREADS = (
    "DELETE FROM comments",
    "DELETE FROM ticket_tags",
    "INSERT INTO comments (ticket_id, author_id, content) SELECT id, creator_id, 'Comment ' || n "
    "FROM tickets, generate_series(1, 10) AS n",
    "INSERT INTO ticket_tags (ticket_id, tag_id) SELECT id, (id + n * 7) % 40 + 1 "
    "FROM tickets, generate_series(1, 2) AS n",
)


@contextmanager
def cases(server_url: str, size: int) -> Iterator[list[Case]]:
    """Each way loads all of *size* tickets; the answer is how many there were of each."""
    with desk(server_url, size) as engine:
        with engine.begin() as connection:
            for line in THREADS:
                connection.execute(text(line))
        analyze(engine)
        ids = range(1, size + 1)
        with psycopg.connect(driver_url(engine)) as driver:
            yield [
                Case("selectinload", by_options(engine, tickets_by_selects(ids)), size, "all"),
                Case("joinedload", by_options(engine, tickets_by_joins(ids)), size, "all"),
                Case("subqueryload", by_options(engine, tickets_by_subqueries(ids)), size, "all"),
                Case("two SELECTs for each ticket (N+1)", one_by_one(engine, ids), size, "all"),
                Case("psycopg alone, no objects", by_driver(driver, ids), size, "all"),
            ]


def by_options(engine: Engine, statement: Select[Ticket]) -> Callable[[], Loaded]:
    """Load as *statement* says."""

    def run() -> Loaded:
        with Session(engine) as session:
            tickets = session.scalars(statement).unique().all()
            return (
                len(tickets),
                sum(len(ticket.comments) for ticket in tickets),
                sum(len(ticket.tags) for ticket in tickets),
            )

    return run


def one_by_one(engine: Engine, ids: Sequence[int]) -> Callable[[], Loaded]:
    """What lazy loading does, or a loop."""

    def run() -> Loaded:
        comments = tags = 0
        with Session(engine) as session:
            tickets = session.scalars(select(Ticket).where(Ticket.id.in_(list(ids)))).all()
            for ticket in tickets:
                of_ticket = select(Comment).where(Comment.ticket_id == ticket.id)
                comments += len(session.scalars(of_ticket).all())
                its_tags = select(Tag).join(TicketTag).where(TicketTag.ticket_id == ticket.id)
                tags += len(session.scalars(its_tags).all())
            return len(tickets), comments, tags

    return run


def by_driver(connection: psycopg.Connection, ids: Sequence[int]) -> Callable[[], Loaded]:
    """The limit: the rows of the three tables, as tuples."""
    wanted = list(ids)

    def run() -> Loaded:
        found = [
            len(connection.execute(sql, [wanted]).fetchall())
            for sql in (
                "SELECT * FROM tickets WHERE id = ANY(%s)",
                "SELECT * FROM comments WHERE ticket_id = ANY(%s) ORDER BY created_at, id",
                "SELECT * FROM ticket_tags JOIN tags ON tags.id = tag_id WHERE ticket_id = ANY(%s)",
            )
        ]
        connection.rollback()
        return found[0], found[1], found[2]

    return run
