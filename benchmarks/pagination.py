"""Page 10,000 beside page 1: by keyset, by OFFSET, by sqlakeyset, by the driver alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlakeyset import select_page
from sqlalchemy import Engine, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from examples.models import Ticket
from examples.pagination import (
    Position,
    count_exactly,
    count_up_to,
    estimated_count,
    load_page,
    make_cursor,
    page_number,
)

from .databases import desk, driver_url
from .harness import Case

TITLE = "A page of 50 tickets, and what a total costs"
BASELINE = "page 1: keyset"
QUICK, FULL = 20_000, 1_000_000
PEERS = ("sqlakeyset",)
SIZE = 50
SECRET = b"a secret of the server"
ORDER = (Ticket.created_at.desc(), Ticket.id.desc())

# What newest_first() sends, with the columns that it loads.
BY_HAND = """
    SELECT id, ticket_number, title, description, status, priority, organization_id, creator_id,
           assignee_id, created_by_id, updated_by_id, duplicate_of_id, resolved_at, deleted_at,
           version, created_at, updated_at
    FROM tickets WHERE (created_at, id) < (%s, %s) ORDER BY created_at DESC, id DESC LIMIT 51
"""


@contextmanager
def cases(server_url: str, size: int) -> Iterator[list[Case]]:
    """Pages of *size* tickets; the last that is looked at is half-way: page 10,000 of a million."""
    number = size // SIZE // 2
    with desk(server_url, size, threads=False) as engine:
        with Session(engine) as session:
            last = session.scalars(page_number(select(Ticket), number - 1, SIZE)).all()[-1]
        place = Position(last.created_at, last.id)
        with psycopg.connect(driver_url(engine)) as connection:
            yield [
                *page_one(engine),
                *late_page(engine, connection, place, number),
                *totals(engine, size),
            ]


def keyset(engine: Engine, place: Position | None) -> Callable[[], list[int]]:
    """The kit's own way."""
    cursor = make_cursor(place, SECRET) if place else None

    def run() -> list[int]:
        with Session(engine) as session:
            page = load_page(session, select(Ticket), secret=SECRET, cursor=cursor, limit=SIZE)
            return [ticket.id for ticket in page.tickets]

    return run


def peer(engine: Engine, place: Position | None) -> Callable[[], list[int]]:
    """The library's way."""
    after = (place.created_at, place.ticket_id) if place else None
    statement: Any = select(Ticket).order_by(*ORDER)  # the library's types are those of 2.0

    def run() -> list[int]:
        with Session(engine) as session:
            page = select_page(session, statement, SIZE, after=after)
            return [row[0].id for row in page]

    return run


def plain(engine: Engine, statement: Select[Ticket]) -> Callable[[], list[int]]:
    """Whatever *statement* finds."""

    def run() -> list[int]:
        with Session(engine) as session:
            return [ticket.id for ticket in session.scalars(statement)]

    return run


def by_driver(connection: psycopg.Connection, place: Position) -> Callable[[], list[int]]:
    """The limit: psycopg alone, no objects."""

    def run() -> list[int]:
        rows = connection.execute(BY_HAND, [place.created_at, place.ticket_id]).fetchall()
        connection.rollback()
        return [row[0] for row in rows[:SIZE]]

    return run


def page_one(engine: Engine) -> list[Case]:
    """The first page."""
    return [
        Case("page 1: keyset", keyset(engine, None), SIZE, "page 1"),
        Case("page 1: sqlakeyset", peer(engine, None), SIZE, "page 1"),
        Case("page 1: OFFSET", plain(engine, page_number(select(Ticket), 1, SIZE)), SIZE, "page 1"),
    ]


def late_page(
    engine: Engine, connection: psycopg.Connection, place: Position, number: int
) -> list[Case]:
    """A page in the middle of all."""
    spelled = or_(
        Ticket.created_at < place.created_at,
        and_(Ticket.created_at == place.created_at, Ticket.id < place.ticket_id),
    )
    as_or = select(Ticket).where(spelled).order_by(*ORDER).limit(SIZE)
    name = f"page {number:,}"
    ways = {
        "keyset": keyset(engine, place),
        "sqlakeyset": peer(engine, place),
        "psycopg alone": by_driver(connection, place),
        "OFFSET": plain(engine, page_number(select(Ticket), number, SIZE)),
        "keyset spelled with OR": plain(engine, as_or),
    }
    return [Case(f"{name}: {way}", run, SIZE, name) for way, run in ways.items()]


def totals(engine: Engine, size: int) -> list[Case]:
    """What it costs to say how many there are."""

    def counted(statement: Select[int]) -> Callable[[], object]:
        def run() -> object:
            with Session(engine) as session:
                return session.scalar(statement)

        return run

    def estimated() -> object:
        with Session(engine) as session:
            return estimated_count(session, select(Ticket))

    def in_the_page() -> object:
        with_total = select(Ticket, func.count().over()).order_by(*ORDER).limit(SIZE)
        with Session(engine) as session:
            return session.execute(with_total).all()[0][1]

    return [
        Case("total: exact", counted(count_exactly(select(Ticket))), size, "total"),
        Case("total: count(*) OVER () in page 1", in_the_page, size, "total"),
        Case("total: up to 1,000", counted(count_up_to(select(Ticket), 1_000)), 1_001),
        Case("total: the planner's estimate", estimated, 0),
    ]
