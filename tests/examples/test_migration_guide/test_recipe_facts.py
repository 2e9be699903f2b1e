"""What the recipes and their page say beside the steps: each fact, on a small desk."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from examples.database import create_sync_engine
from examples.migration_guide.recipes import (
    add_not_null,
    backfill_in_batches,
    change_type,
    integer_key_to_bigint,
    large_index,
    partitioned_index,
    rename_column,
    rename_table,
)
from examples.testing_patterns.plugin import database_name
from tests.examples.test_migration_guide.desk import execute
from tests.examples.test_migration_guide.recipes import (
    SMALL,
    fill,
    found_by,
    project_config,
)
from tests.examples.test_migration_guide.watching import watched
from tests.waiting import DEADLINE, until


@pytest.fixture
def engine(clone: str) -> Iterator[Engine]:
    """An engine on it."""
    made = create_sync_engine(clone)
    yield made
    made.dispose()


Upgrade = Callable[[Any, str], Config]


@pytest.fixture
def upgrade(clone: str, tmp_path: Path) -> Upgrade:
    """Take *module*'s recipe to the step that is named."""

    def run(module: Any, step: str) -> Config:
        fill(clone, getattr(module, "SETUP", ()), SMALL)
        config = project_config(clone, tmp_path, *module.STEPS)
        names = [each.upgrade.__name__ for each in module.STEPS]
        command.upgrade(config, str(names.index(step) + 1))
        return config

    return run


# --- Renaming -------------------------------------------------------------------------------------


def test_a_trigger_keeps_both_columns_in_step(clone: str, upgrade: Upgrade) -> None:
    upgrade(rename_column, "expand")
    for statement, title in (
        ("UPDATE tickets SET status = 'closed' WHERE id = 1", "Ticket 1"),  # an old row
        ("UPDATE tickets SET title = 'old code' WHERE id = 1", "old code"),
        ("UPDATE tickets SET subject = 'new code' WHERE id = 1", "new code"),
        ("UPDATE tickets SET title = 'a', subject = 'b' WHERE id = 1", "b"),
    ):
        execute(clone, statement)
        assert found_by(clone, "SELECT title, subject FROM tickets WHERE id = 1") == [
            (title, title)
        ], statement
    with pytest.raises(psycopg.errors.NotNullViolation):
        execute(clone, "UPDATE tickets SET subject = NULL WHERE id = 1")


def test_a_view_asks_for_the_rights_to_the_table(clone: str, upgrade: Upgrade) -> None:
    upgrade(rename_table, "rename")
    names = [f"{database_name(clone)}_{kind}" for kind in ("trusted", "stranger")]
    with psycopg.connect(clone) as connection:
        try:
            for name in names:
                connection.execute(f"CREATE ROLE {name}".encode())
            connection.execute(f"GRANT SELECT ON replies TO {names[0]}".encode())
            connection.execute(f"SET LOCAL ROLE {names[0]}".encode())
            assert connection.execute("SELECT count(*) FROM comments").fetchone() == (SMALL,)
            connection.execute(f"SET LOCAL ROLE {names[1]}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="replies"):
                connection.execute("SELECT count(*) FROM comments")
        finally:
            connection.rollback()  # the roles too


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE comments",
        "COPY comments (ticket_id, body) FROM PROGRAM 'true'",
        "CREATE TABLE likes (comment_id bigint REFERENCES comments (id))",
    ],
)
def test_what_a_view_cannot_do(clone: str, upgrade: Upgrade, statement: str) -> None:
    upgrade(rename_table, "rename")
    with pytest.raises(psycopg.Error, match=r"view|not a table"):
        execute(clone, statement)


def test_a_sequence_before_its_table_is_a_deadlock(clone: str) -> None:
    """An INSERT holds the table when it asks for the sequence.  The migration gives way."""
    options = "-c lock_timeout=300ms -c deadlock_timeout=60s"
    with (
        psycopg.connect(clone, options="-c deadlock_timeout=60s") as writer,
        psycopg.connect(clone, options=options) as migration,
    ):
        writer.execute("UPDATE comments SET body = 'Changed' WHERE id = 1")
        migration.execute("ALTER SEQUENCE comments_id_seq RENAME TO replies_id_seq")
        failed: list[BaseException] = []

        def insert() -> None:
            try:
                writer.execute("INSERT INTO comments (ticket_id, body) VALUES (1, 'New')")
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=insert)
        thread.start()
        waits = f"SELECT pg_blocking_pids({writer.info.backend_pid}) <> '{{}}'"
        until(lambda: found_by(clone, waits) == [(True,)], "the writer waits for the sequence")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            migration.execute("ALTER TABLE comments RENAME TO replies")
        migration.rollback()
        thread.join(DEADLINE)
    assert not failed


# --- NOT NULL -------------------------------------------------------------------------------------


def test_a_check_not_valid_refuses_any_update_of_an_old_row(clone: str) -> None:
    """Hence the order: fill, then forbid."""
    execute(
        clone, "ALTER TABLE tickets ADD CONSTRAINT filled CHECK (channel IS NOT NULL) NOT VALID"
    )
    with pytest.raises(psycopg.errors.CheckViolation):
        execute(clone, "UPDATE tickets SET title = 'Scanner' WHERE id = 1")


def test_a_default_does_not_reach_code_that_knows_of_none(engine: Engine, upgrade: Upgrade) -> None:
    upgrade(add_not_null, "default")

    class Base(DeclarativeBase):
        pass

    class Ticket(Base):
        __tablename__ = "tickets"

        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]
        channel: Mapped[str | None]
        organization_id: Mapped[int]

    with Session(engine) as session:
        session.add(ticket := Ticket(title="From the ORM", organization_id=1))
        session.commit()
        assert ticket.channel is None


@pytest.mark.parametrize(
    ("final", "name"), [(False, "ck_tickets_filled"), (True, "filled")], ids=["plain", "op.f"]
)
def test_a_naming_convention_renames_a_check(final: bool, name: str) -> None:
    printed = io.StringIO()
    metadata = sa.MetaData(naming_convention={"ck": "ck_%(table_name)s_%(constraint_name)s"})
    context = MigrationContext.configure(
        dialect_name="postgresql",
        opts={"as_sql": True, "output_buffer": printed, "target_metadata": metadata},
    )
    operations = Operations(context)
    given = operations.f("filled") if final else "filled"
    operations.create_check_constraint(given, "tickets", "channel IS NOT NULL")
    assert f"ADD CONSTRAINT {name} CHECK" in printed.getvalue()


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ("ADD COLUMN happened timestamptz NOT NULL DEFAULT now()", False),
        ("ADD COLUMN happened timestamptz NOT NULL DEFAULT clock_timestamp()", True),
        ("ADD COLUMN size integer GENERATED ALWAYS AS (length(title)) STORED", True),
        ("ALTER COLUMN short TYPE varchar(80)", False),
        ("ALTER COLUMN short TYPE text", False),
        ("ALTER COLUMN short TYPE varchar(20)", True),
        ("ALTER COLUMN price TYPE numeric(12, 2)", False),
        ("ALTER COLUMN price TYPE numeric(12, 3)", True),
        ("ALTER COLUMN assignee_id TYPE bigint", True),
    ],
)
def test_what_is_written_anew(engine: Engine, clone: str, change: str, anew: bool) -> None:
    execute(
        clone, "ALTER TABLE tickets ADD COLUMN short varchar(50), ADD COLUMN price numeric(9, 2)"
    )
    with watched(clone) as seen, engine.begin() as connection:
        connection.execute(sa.text(f"ALTER TABLE tickets {change}"))
    assert bool(seen.scans) is anew
    assert any("written anew" in scan for scan in seen.scans) is anew


# --- Types ----------------------------------------------------------------------------------------


def test_what_does_not_fit_is_null_until_it_does(clone: str, upgrade: Upgrade) -> None:
    upgrade(change_type, "validate")
    query = "SELECT satisfaction, rating FROM tickets WHERE id = 1"
    for statement, expected in (
        ("UPDATE tickets SET satisfaction = 'n/a' WHERE id = 1", ("n/a", None)),
        ("UPDATE tickets SET status = 'closed' WHERE id = 1", ("n/a", None)),
        ("UPDATE tickets SET satisfaction = '2' WHERE id = 1", ("2", 2)),
        ("UPDATE tickets SET rating = 5 WHERE id = 1", ("5", 5)),
        ("UPDATE tickets SET rating = NULL WHERE id = 1", (None, None)),
    ):
        execute(clone, statement)
        assert found_by(clone, query) == [expected], statement
    with pytest.raises(psycopg.errors.CheckViolation):
        execute(clone, "UPDATE tickets SET rating = 6 WHERE id = 1")


def test_the_numbers_go_on_beyond_integer(clone: str, upgrade: Upgrade) -> None:
    execute(clone, "INSERT INTO tickets (title, organization_id) VALUES ('Last', 1)")
    execute(clone, f"DELETE FROM tickets WHERE id > {SMALL}")
    upgrade(integer_key_to_bigint, "contract")
    new = "INSERT INTO tickets (title, organization_id) VALUES ('New', 1) RETURNING id"
    # Not the deleted one's.
    assert found_by(clone, new) == [(SMALL + 2,)]
    execute(clone, f"ALTER TABLE tickets ALTER id RESTART WITH {2**31}")
    assert found_by(clone, new) == [(2**31,)]
    execute(clone, f"INSERT INTO comments (ticket_id, body) VALUES ({2**31}, 'New')")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        execute(clone, "INSERT INTO comments (ticket_id, body) VALUES (-1, 'New')")
    columns = (
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns "
        "WHERE (table_name, column_name) IN (('tickets', 'id'), ('comments', 'ticket_id')) "
        "ORDER BY table_name"
    )
    assert found_by(clone, columns) == [
        ("comments", "ticket_id", "bigint", "NO"),
        ("tickets", "id", "bigint", "NO"),
    ]
    assert found_by(
        clone,
        "SELECT conname FROM pg_constraint WHERE contype IN ('p', 'f') AND "
        "conrelid IN ('tickets'::regclass, 'comments'::regclass) AND conname LIKE '%ticket%' "
        "ORDER BY conname",
    ) == [
        ("comments_ticket_id_fkey",),
        ("tickets_assignee_id_fkey",),
        ("tickets_organization_id_fkey",),
        ("tickets_pkey",),
    ]


def test_asyncpg_sends_the_type_along() -> None:
    """Hence BigInteger before the swap."""
    dialect = sa.make_url("postgresql+asyncpg://").get_dialect()()
    for kind, sent in ((sa.Integer(), "$1::INTEGER"), (sa.BigInteger(), "$1::BIGINT")):
        statement = sa.select(sa.column("id", kind)).where(sa.column("id", kind) == 5)
        assert sent in str(statement.compile(dialect=dialect))


ASK = sa.text("SELECT id FROM tickets WHERE id = 7")
SWAP = "ALTER TABLE tickets ALTER COLUMN id TYPE bigint"


def refusals(engine: Engine, clone: str) -> list[str]:
    """What three times a connection is told that has asked ten times before the type changed."""
    found: list[str] = []
    with engine.connect() as connection:
        for _ in range(10):
            connection.execute(ASK).all()
            connection.commit()
        execute(clone, SWAP)
        for _ in range(3):
            try:
                connection.execute(ASK).all()
                connection.commit()
                found.append("")
            except DBAPIError as error:
                found.append(str(error.orig))
                connection.rollback()
    return found


REFUSED = "cached plan must not change result type"


@pytest.mark.parametrize(
    ("driver", "options", "refused"),
    [
        ("psycopg", {}, [True, False, False]),  # a rollback forgets what was prepared
        ("psycopg", {"isolation_level": "AUTOCOMMIT"}, [True, True, True]),
        ("psycopg", {"connect_args": {"prepare_threshold": None}}, [False, False, False]),
        ("psycopg2", {}, [False, False, False]),
    ],
)
def test_prepared_statements_are_refused(
    clone: str, driver: str, options: dict[str, Any], refused: list[bool]
) -> None:
    engine = sa.create_engine(clone.replace("postgresql:", f"postgresql+{driver}:"), **options)
    assert [REFUSED in said for said in refusals(engine, clone)] == refused
    engine.dispose()


def test_asyncpg_is_refused_once(clone: str) -> None:
    async def ask() -> list[bool]:
        engine = create_async_engine(clone.replace("postgresql:", "postgresql+asyncpg:"))
        found = []
        async with engine.connect() as connection:
            for turn in range(5):
                if turn == 2:
                    await asyncio.to_thread(execute, clone, SWAP)
                try:
                    (await connection.execute(ASK)).all()
                    await connection.commit()
                    found.append(False)
                except DBAPIError as error:
                    # asyncpg's own words; SQLAlchemy forgets all that was prepared.
                    found.append("cached statement plan is invalid" in str(error.orig))
                    await connection.rollback()
        await engine.dispose()
        return found

    assert asyncio.run(ask()) == [False, False, True, False, False]


# --- Batches --------------------------------------------------------------------------------------


def test_a_backfill_goes_on_where_it_was(clone: str, upgrade: Upgrade) -> None:
    config = upgrade(backfill_in_batches, "prepare")
    seen = 0

    def cut(connection: sa.Connection, _: Any, statement: str, *more: Any) -> None:
        del more
        nonlocal seen
        seen += "WITH batch" in statement
        if seen == 2 and "WITH batch" in statement:
            driver: Any = connection.connection.driver_connection
            found_by(clone, f"SELECT pg_terminate_backend({driver.info.backend_pid}, 100000)")

    event.listen(Engine, "before_cursor_execute", cut)
    try:
        # Alembic, which ends its block, hides what PostgreSQL said: PendingRollbackError.
        with pytest.raises(SQLAlchemyError):
            command.upgrade(config, "2")
        assert found_by(clone, "SELECT done, last FROM comments_backfill") == [(1000, SMALL)]
        command.upgrade(config, "2")
    finally:
        event.remove(Engine, "before_cursor_execute", cut)
    # The one that was cut, two more, and one that finds nothing to do.
    assert seen == 1 + 1 + 2 + 1
    assert found_by(clone, backfill_in_batches.STEPS[1].verify) == []


def test_a_backfill_gives_way(
    clone: str, upgrade: Upgrade, caplog: pytest.LogCaptureFixture
) -> None:
    config = upgrade(backfill_in_batches, "prepare")
    caplog.set_level(logging.INFO, "alembic.runtime.migration")
    failed: list[BaseException] = []

    def run() -> None:
        try:
            command.upgrade(config, "2")
        except BaseException as error:
            failed.append(error)

    with psycopg.connect(clone) as somebody:
        somebody.execute("UPDATE comments SET body = 'Changed' WHERE id = 1500")
        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: "gave way" in caplog.text or bool(failed), "it gives way")
        # What is before the row in the batch is not locked for good.
        with psycopg.connect(clone, options="-c lock_timeout=100s") as other:
            other.execute("UPDATE comments SET body = 'Changed too' WHERE id = 1400")
        somebody.commit()
    thread.join(DEADLINE)
    assert not failed
    assert f"filled to {SMALL} of {SMALL}" in caplog.text
    assert found_by(clone, backfill_in_batches.STEPS[1].verify) == []


# --- Indexes --------------------------------------------------------------------------------------


def test_a_failed_unique_index_is_built_anew(clone: str, upgrade: Upgrade) -> None:
    config = upgrade(large_index, "build")
    execute(clone, "UPDATE tickets SET number = 'T-1' WHERE id = 2")
    with pytest.raises(IntegrityError, match="could not create unique index"):
        command.upgrade(config, "2")
    assert found_by(clone, large_index.VALID) == [("uq_tickets_number",)]
    # It was broken off before anybody had to keep it.
    execute(clone, "UPDATE tickets SET number = 'T-3' WHERE id = 4")
    execute(clone, "UPDATE tickets SET number = 'T-4' WHERE id = 4")
    # A second attempt without the mend fails in the same way; after it the broken one is replaced.
    with pytest.raises(IntegrityError, match="could not create unique index"):
        command.upgrade(config, "2")
    execute(clone, "UPDATE tickets SET number = 'T-2' WHERE id = 2")
    command.upgrade(config, "3")
    assert found_by(clone, large_index.VALID) == []


def test_a_unique_index_that_was_broken_off_refuses_duplicates(
    clone: str, upgrade: Upgrade
) -> None:
    """In its last part, where it waits for old transactions."""
    config = upgrade(large_index, "build")
    failed: list[BaseException] = []

    def run() -> None:
        try:
            command.upgrade(config, "2")
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    with psycopg.connect(clone) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM users")
        thread.start()
        waits = (
            "SELECT pid FROM pg_stat_progress_create_index "
            "WHERE datname = current_database() AND phase = 'waiting for old snapshots'"
        )
        until(lambda: bool(found_by(clone, waits)) or bool(failed), "it waits")
        execute(clone, f"SELECT pg_cancel_backend(({waits}))")
        thread.join(DEADLINE)
    assert "canceling statement" in str(failed[0])
    assert found_by(clone, large_index.VALID) == [("uq_tickets_number",)]
    with pytest.raises(psycopg.errors.UniqueViolation, match="uq_tickets_number"):
        execute(clone, "UPDATE tickets SET number = 'T-3' WHERE id = 4")
    command.upgrade(config, "3")
    assert found_by(clone, large_index.VALID) == []


def test_a_partition_that_comes_meanwhile_is_indexed(clone: str, upgrade: Upgrade) -> None:
    config = upgrade(partitioned_index, "parent")
    assert len(found_by(clone, "SELECT 1 FROM pg_index WHERE NOT indisvalid")) == 1
    day = date(2026, 5, 1)
    execute(
        clone,
        f"CREATE TABLE events_2026_04 PARTITION OF events "
        f"FOR VALUES FROM ('2026-04-01 00:00+00') TO ('{day} 00:00+00')",
    )
    command.upgrade(config, "2")
    assert found_by(clone, "SELECT indexrelid FROM pg_index WHERE NOT indisvalid") == []
    query = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'ix_events_ticket_id'::regclass"
    assert found_by(clone, query) == [(4,)]


def test_a_partitioned_index_goes_on_after_a_failure(clone: str, upgrade: Upgrade) -> None:
    """One is built, attached or neither: what is there already is no obstacle."""
    config = upgrade(partitioned_index, "parent")
    execute(clone, "CREATE INDEX events_2026_01_ticket_id_idx ON events_2026_01 (ticket_id)")
    execute(clone, "CREATE INDEX events_2026_02_ticket_id_idx ON events_2026_02 (ticket_id)")
    execute(clone, "ALTER INDEX ix_events_ticket_id ATTACH PARTITION events_2026_01_ticket_id_idx")
    command.upgrade(config, "2")
    assert found_by(clone, "SELECT indexrelid FROM pg_index WHERE NOT indisvalid") == []


def test_the_way_back_of_a_partitioned_index_is_its_parents(clone: str, upgrade: Upgrade) -> None:
    config = upgrade(partitioned_index, "partitions")
    command.downgrade(config, "base")
    query = (
        "SELECT count(*) FROM pg_class WHERE relkind IN ('i', 'I') AND relname ~ 'ticket_id_idx'"
    )
    assert found_by(clone, query) == [(0,)]


def test_to_attach_an_index_locks_it_for_a_moment(clone: str, upgrade: Upgrade) -> None:
    upgrade(partitioned_index, "parent")
    execute(clone, "CREATE INDEX january ON events_2026_01 (ticket_id)")
    with psycopg.connect(clone) as connection:
        connection.execute("ALTER INDEX ix_events_ticket_id ATTACH PARTITION january")
        query = (
            "SELECT relation::regclass::text, mode FROM pg_locks "
            "WHERE pid = pg_backend_pid() AND relation::regclass::text ~ '^(events|january)' "
            "AND mode <> 'AccessShareLock' ORDER BY 1, 2"
        )
        assert connection.execute(query).fetchall() == [("january", "AccessExclusiveLock")]


def test_a_partitioned_table_is_not_indexed_concurrently(clone: str) -> None:
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="partitioned table"):
        execute(clone, "CREATE INDEX CONCURRENTLY ON events (ticket_id)")
