"""While a revision runs on 100,000 tickets, nobody who writes is refused, and no lock scans."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError

from examples.database import create_sync_engine
from examples.migration_guide.checks import HERE, alembic_config
from examples.pitfalls.two_tables_one_migration import (
    COMMENTS,
    TICKETS,
    a_ticket,
    somebody_comments,
)
from tests.examples.test_migration_guide.desk import FIRST, REVISIONS
from tests.waiting import DEADLINE, until

# The modes that conflict with ROW EXCLUSIVE, which every INSERT, UPDATE and DELETE takes
# (PostgreSQL, "Explicit Locking"), on tables of which this backend has read so many rows.
SCANNED = """
SELECT c.relname || ' under ' || l.mode, s.seq_tup_read
FROM pg_locks AS l
JOIN pg_class AS c ON c.oid = l.relation
JOIN pg_stat_xact_user_tables AS s ON s.relid = c.oid
WHERE l.pid = pg_backend_pid()
    AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""
READ = "SELECT relname, seq_tup_read FROM pg_stat_xact_user_tables"
# What may run outside a transaction, where the locks are gone before one can look at them.
HARMLESS = re.compile(
    r"\s*(SET|RESET|SELECT|(CREATE|DROP) INDEX CONCURRENTLY|ALTER TABLE \w+ VALIDATE|DO"
    # Without a look at any row; several at once are one short lock.
    r"|ALTER TABLE \w+ (DROP CONSTRAINT [^,]+, ADD CONSTRAINT [^,]+ CHECK [^;]+ NOT VALID,?\s?)+$"
    r")"
)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Every statement of SQLAlchemy in the block that scans a table under a lock against writers.

    The writers of these tests speak to psycopg: they are not watched.
    """
    found: list[str] = []
    before: dict[str, int] = {}

    def note(connection: Connection, _: Any, statement: str, *more: Any) -> None:
        del statement, more
        # The counters hold what earlier transactions read, until PostgreSQL passes them on.
        driver: Any = connection.connection.driver_connection
        before.update(driver.execute(READ).fetchall())

    def look(connection: Connection, _: Any, statement: str, *more: Any) -> None:
        del more
        driver: Any = connection.connection.driver_connection
        if driver.autocommit:
            if not HARMLESS.match(statement):
                found.append(f"outside a transaction: {statement}")
            return
        for what, read in driver.execute(SCANNED).fetchall():
            if read - before.get(what.partition(" ")[0], 0) > 1000:
                found.append(f"{what}: {statement}")

    event.listen(Engine, "before_cursor_execute", note)
    event.listen(Engine, "after_cursor_execute", look)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        event.remove(Engine, "after_cursor_execute", look)


@dataclass
class Writer:
    """Somebody at work: how much got done, and what was refused."""

    done: int = 0
    refused: list[str] = field(default_factory=list)


WORK = (
    "UPDATE tickets SET title = 'Changed', version = version + 1 WHERE id = %(id)s",
    "UPDATE users SET last_login = now() WHERE id = %(id)s %% 100 + 1",
    "INSERT INTO tickets (title, description, organization_id, creator_id) "
    "VALUES ('New', '', 1, 1)",
    "INSERT INTO ticket_status_history (ticket_id, old_status, new_status) "
    "VALUES (%(id)s, 'open', 'in_progress')",
)


@contextmanager
def writing(url: str, *, at_most: str = "20s") -> Iterator[Writer]:
    """Write to the tables of the desk as long as the block runs, waiting so long for a lock."""
    writer, over = Writer(), threading.Event()
    options = f"-c lock_timeout={at_most}"

    def work() -> None:
        with psycopg.connect(url, autocommit=True, options=options) as connection:
            while not over.wait(0.001):
                try:
                    # By turns one statement a transaction, and all of them in one.
                    with connection.transaction() if writer.done % 2 else nullcontext():
                        for statement in WORK:
                            connection.execute(statement, {"id": writer.done % 100_000 + 1})
                except psycopg.OperationalError as error:
                    writer.refused.append(f"{error.sqlstate} {error}")
                writer.done += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield writer
    finally:
        over.set()
        thread.join()


def test_writers_go_on_while_each_revision_runs(full: str) -> None:
    line = REVISIONS
    steps = [(command.upgrade, revision) for revision in line[1:]]
    # Not the first: it takes the tables away.
    steps += [(command.downgrade, revision) for revision in line[-2::-1]]
    with writing(full) as writer, watched() as scans:
        for step, revision in steps:
            before = writer.done
            step(alembic_config(full), revision)
            # A revision may be over before one write is.
            until(lambda: writer.done > before + 1, f"they write on: {step.__name__} {revision}")  # noqa: B023
    assert writer.refused == []
    assert scans == []
    assert REVISIONS[0] == FIRST


def test_in_a_deadlock_the_migration_gives_way(real_commits: str) -> None:
    """With a ``lock_timeout`` below ``deadlock_timeout``; the pitfall shows what comes without."""
    # Far below: nobody looks for the deadlock before the migration has given way.
    late = "options=-c%20deadlock_timeout%3D60s"
    writers = create_sync_engine(f"{real_commits}?{late}")
    deployer = create_sync_engine(f"{real_commits}?{late}%20-c%20lock_timeout%3D300ms")
    ticket = a_ticket(writers)
    with deployer.connect() as migration:
        migration.execute(TICKETS)
        writer = somebody_comments(writers, ticket)
        with pytest.raises(DBAPIError, match="lock timeout"):
            migration.execute(COMMENTS)
    writer.result(DEADLINE)
    writers.dispose()
    deployer.dispose()


BAD = {
    "index": "op.create_index('ix_bad', 'tickets', ['title'])",
    "check": "op.create_check_constraint('bad', 'tickets', 'version > 0')",
    "foreign key": (
        "op.add_column('tickets', sa.Column('other_id', sa.BigInteger))\n"
        "    op.create_foreign_key('bad', 'tickets', 'users', ['other_id'], ['id'])"
    ),
    "not null": "op.alter_column('tickets', 'assignee_id', nullable=False, server_default='1')",
    "rewrite": "op.alter_column('tickets', 'version', type_=sa.BigInteger)",
    "stored column": (
        "op.add_column('tickets', sa.Column('size', sa.Integer, "
        "sa.Computed('length(title)', persisted=True)))"
    ),
    "autocommit": (
        "with op.get_context().autocommit_block():\n"
        "        op.create_index('ix_bad', 'tickets', ['title'])"
    ),
    "wait": "op.execute('LOCK TABLE tickets'); op.execute('SELECT pg_sleep(3)')",
}
REVISION = """
import sqlalchemy as sa
from alembic import op
revision = "bad"
down_revision = "{after}"
def upgrade() -> None:
    {statements}
def downgrade() -> None: ...
"""


def guide_with(folder: Path, statements: str) -> Path:
    """A copy of the migrations in *folder* with one revision more, after the first."""
    copy = folder / "migration_guide"
    shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    source = REVISION.format(after=FIRST, statements=statements)
    (copy / "versions" / "bad.py").write_text(source)
    return copy


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_revision_is_seen(full: str, tmp_path: Path, fault: str) -> None:
    """Else the test above could not fail."""
    copy = guide_with(tmp_path, BAD[fault])
    # The one that refuses NULL fails at last: after it has read them all.
    fails = pytest.raises(DBAPIError) if fault == "not null" else nullcontext()
    with writing(full, at_most="1s") as writer, watched() as scans, fails:
        command.upgrade(alembic_config(full, copy), "bad")
    assert writer.refused if fault == "wait" else scans or fault == "not null"


@pytest.mark.parametrize(
    ("last", "scans"),
    [
        (["ALTER assignee_id SET NOT NULL", "DROP CONSTRAINT assigned"], False),
        # In one statement the CHECK goes first, and with it the proof.
        (["ALTER assignee_id SET NOT NULL, DROP CONSTRAINT assigned"], True),
    ],
)
def test_the_recipe_for_not_null(full: str, last: list[str], scans: bool) -> None:
    engine = create_sync_engine(full)
    steps = (
        "ALTER TABLE tickets ADD CONSTRAINT assigned CHECK (assignee_id IS NOT NULL) NOT VALID",
        "UPDATE tickets SET assignee_id = creator_id WHERE assignee_id IS NULL",
        "ALTER TABLE tickets VALIDATE CONSTRAINT assigned",
        *(f"ALTER TABLE tickets {step}" for step in last),
    )
    with watched() as found:
        for step in steps:
            with engine.begin() as connection:
                connection.execute(text(step))
    engine.dispose()
    assert bool(found) == scans
