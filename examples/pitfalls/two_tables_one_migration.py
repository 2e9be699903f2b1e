"""Alter one table a transaction

A migration that has altered the tickets and goes on to the comments holds the first lock and asks
for the second. Whoever inserts a comment holds the second and asks for the first, because of its
foreign key.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from ..locking import sqlstate
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "migrations"
SYMPTOM = Returns(
    wrong="40P01", right="both done", meaning="how a migration and a writer at the same time end"
)
SOURCE = (
    "Explicit Locking: Deadlocks",
    "https://www.postgresql.org/docs/18/explicit-locking.html#LOCKING-DEADLOCKS",
)
TICKETS = text("ALTER TABLE tickets ADD COLUMN channel text")
COMMENTS = text("ALTER TABLE comments ADD COLUMN channel text")


def broken(engine: Engine) -> object:
    ticket = a_ticket(engine)
    try:
        with engine.begin() as migration:
            migration.execute(TICKETS)
            writer = somebody_comments(engine, ticket)
            migration.execute(COMMENTS)
        writer.result()
    except DBAPIError as error:
        return sqlstate(error)
    return "both done"


def fixed(engine: Engine) -> object:
    ticket = a_ticket(engine)
    try:
        with engine.begin() as migration:
            migration.execute(TICKETS)
        writer = somebody_comments(engine, ticket)
        with engine.begin() as migration:
            migration.execute(COMMENTS)
        writer.result()
    except DBAPIError as error:
        return sqlstate(error)
    return "both done"


def a_ticket(engine: Engine) -> dict[str, int]:
    """The ids of a new ticket and of its creator."""
    with Session(engine) as session:
        ticket = make_ticket()
        session.add(ticket)
        session.commit()
        return {"ticket_id": ticket.id, "author_id": ticket.creator_id}


def somebody_comments(engine: Engine, ticket: dict[str, int]) -> Future[None]:
    """Insert a comment in another thread; return as soon as it is done, or waits for a lock."""

    def insert() -> None:
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO comments (ticket_id, author_id, content) "
                    "VALUES (:ticket_id, :author_id, 'Any news?')"
                ),
                ticket,
            )

    pool = ThreadPoolExecutor()
    inserted = pool.submit(insert)
    pool.shutdown(wait=False)
    waits = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    # Autocommit: within one transaction pg_stat_activity does not change.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not inserted.done() and not connection.scalar(waits):
            time.sleep(0.01)
    return inserted
