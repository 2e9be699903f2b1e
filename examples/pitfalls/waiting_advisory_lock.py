"""Ask for the deployment's lock again and again; do not wait inside it

A deployment that waits in `pg_advisory_lock` holds a snapshot. CREATE INDEX CONCURRENTLY of the one
that migrates waits for every older snapshot to end: each waits for the other.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from ..locking import sqlstate
from ._symptom import Returns

FAMILY = "migrations"
SYMPTOM = Returns(wrong="40P01", right="both done", meaning="how two deployments at once end")
SOURCE = (
    "Advisory Locks",
    "https://www.postgresql.org/docs/18/explicit-locking.html#ADVISORY-LOCKS",
)


def broken(engine: Engine) -> object:
    def second(connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_lock(1)"))

    return while_the_first_builds_its_index(engine, second)


def fixed(engine: Engine) -> object:
    def second(connection: Connection) -> None:
        while not connection.scalar(text("SELECT pg_try_advisory_lock(1)")):
            time.sleep(0.2)  # in no transaction: nobody waits for us

    return while_the_first_builds_its_index(engine, second)


def while_the_first_builds_its_index(
    engine: Engine, second: Callable[[Connection], None]
) -> str | None:
    """What becomes of two deployments, of which the first holds the lock."""
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    asks = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND query LIKE '%advisory_lock(1)'"
    )
    with (
        autocommit.connect() as first,
        autocommit.connect() as other,
        ThreadPoolExecutor() as pool,
    ):
        first.execute(text("SELECT pg_advisory_lock(1)"))
        turn = pool.submit(second, other)
        while not first.scalar(asks):
            time.sleep(0.01)
        try:
            first.execute(text("CREATE INDEX CONCURRENTLY ix_tags_color ON tags (color)"))
            first.execute(text("SELECT pg_advisory_unlock(1)"))
            turn.result()
        except DBAPIError as error:
            return sqlstate(error)
        finally:
            first.execute(text("SELECT pg_advisory_unlock_all()"))
    return "both done"
