"""What an autovacuum does to who waits for a table: it gives way to the patient alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from examples.database import create_sync_engine
from examples.migration_guide.environment import sqlstate_of
from examples.postgres import postgres_server
from tests.waiting import until

pytestmark = pytest.mark.once
# A worker comes within a second, and needs minutes for its few hundred pages.
SLOW = (
    "autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0, "
    "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1"
)
PREPARE = (
    "ALTER SYSTEM SET autovacuum_naptime = '1s'",
    "SELECT pg_reload_conf()",
    f"CREATE TABLE notes (id int PRIMARY KEY, body text) WITH ({SLOW})",
    "INSERT INTO notes SELECT n, repeat('x', 500) FROM generate_series(1, 50000) n",
    "DELETE FROM notes WHERE id % 2 = 0",
)
WORKERS = text("SELECT count(*) FROM pg_stat_progress_vacuum WHERE relid = 'notes'::regclass")


@pytest.fixture
def vacuumed() -> Iterator[Connection]:
    """A server of its own, where an autovacuum is at work on the table ``notes``."""
    with postgres_server(provider="embedded") as server:
        engine = create_sync_engine(server.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in PREPARE:
                connection.execute(text(statement))
            until(lambda: bool(connection.scalar(WORKERS)), "an autovacuum is at work")
            yield connection
        engine.dispose()


def test_an_autovacuum_gives_way_beyond_the_deadlock_timeout(vacuumed: Connection) -> None:
    alter = text("ALTER TABLE notes ADD COLUMN author text")
    for _ in range(3):
        vacuumed.execute(text("SET lock_timeout = '300ms'"))  # deadlock_timeout is 1s
        with pytest.raises(DBAPIError) as caught:
            vacuumed.execute(alter)
        assert sqlstate_of(caught.value) == "55P03"
        assert vacuumed.scalar(WORKERS) == 1
    vacuumed.execute(text("SET lock_timeout = '100s'"))
    vacuumed.execute(alter)  # it is cancelled: else this would take longer
