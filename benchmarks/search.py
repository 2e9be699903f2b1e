"""A rare word among many tickets: ILIKE with and without an index, and full text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import Engine, Select
from sqlalchemy.orm import Session

from examples.database import create_sync_engine
from examples.models import Ticket
from examples.postgres import temporary_database
from examples.search import TRIGRAMS, TicketSearch, count_tickets, search_tickets
from examples.testing_patterns.large_desk import RARE_WORD, analyze

from .databases import desk, driver_url
from .harness import Case

TITLE = "A word in the title or description"
BASELINE = "rare word, count: ILIKE without an index"
QUICK, FULL = 20_000, 500_000
PEERS = ()
COMMON_WORD = "printer"


@contextmanager
def cases(server_url: str, size: int) -> Iterator[list[Case]]:
    """The same tickets twice: without an index of trigrams, and with."""
    with desk(server_url, size, threads=False) as bare:
        bare.dispose()  # nobody may be connected to what is cloned
        name = bare.url.database
        with temporary_database(server_url, template=name) as url:
            indexed = create_sync_engine(url)
            try:
                with indexed.begin() as connection:
                    for statement in TRIGRAMS:
                        connection.execute(statement)
                analyze(indexed)
                with psycopg.connect(driver_url(indexed)) as driver:
                    yield [
                        *of_word(bare, indexed, "rare word", RARE_WORD, size),
                        Case(
                            "rare word, count: full text, psycopg alone",
                            by_driver(driver, RARE_WORD),
                            size,
                            "rare word, count",
                        ),
                        *of_word(bare, indexed, "common word", COMMON_WORD, size),
                    ]
            finally:
                indexed.dispose()


def of_word(bare: Engine, indexed: Engine, kind: str, word: str, size: int) -> list[Case]:
    """Count what has *word*, and load the newest fifty of it, in each way."""
    substring = TicketSearch(text=word, match="substring")
    ways = {
        "ILIKE without an index": (bare, substring),
        "ILIKE, trigrams": (indexed, substring),
        "full text": (indexed, TicketSearch(text=word)),
    }
    found = []
    for way, (engine, search) in ways.items():
        group = f"{kind}, count"
        found.append(Case(f"{group}: {way}", count(engine, count_tickets(search)), size, group))
    for way, (engine, search) in ways.items():
        group = f"{kind}, newest 50"
        page = search_tickets(search, limit=50)
        found.append(Case(f"{group}: {way}", newest(engine, page), size, group))
    return found


def count(engine: Engine, statement: Select[int]) -> Callable[[], object]:
    """How many there are."""

    def run() -> object:
        with Session(engine) as session:
            return session.scalar(statement)

    return run


def newest(engine: Engine, statement: Select[Ticket]) -> Callable[[], object]:
    """The ids of a page."""

    def run() -> object:
        with Session(engine) as session:
            return [ticket.id for ticket in session.scalars(statement)]

    return run


def by_driver(connection: psycopg.Connection, word: str) -> Callable[[], object]:
    """The limit: the driver, and the same index."""

    def run() -> object:
        (found,) = connection.execute(
            "SELECT count(*) FROM tickets WHERE deleted_at IS NULL "
            "AND search_vector @@ websearch_to_tsquery('english', %s)",
            [word],
        ).fetchall()[0]
        connection.rollback()
        return found

    return run
