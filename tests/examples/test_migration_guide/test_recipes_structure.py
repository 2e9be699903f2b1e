"""What the recipes for tables and enumerations say besides: each wrong way proved to be one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from psycopg import errors
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from examples.migration_guide.checks import alembic_config
from examples.migration_guide.recipes import enum_native, partition_table, split_table
from examples.migration_guide.recipes.tables import ROWS, TABLES
from examples.postgres import temporary_database
from examples.testing_patterns.plugin import database_name
from tests.examples.test_migration_guide.desk import execute
from tests.examples.test_migration_guide.projects import Rev, config_of, project
from tests.examples.test_migration_guide.recipes import fill, found_by, project_config
from tests.examples.test_migration_guide.watching import Watched, watched, writing
from tests.waiting import DEADLINE, LOCK_TIMEOUT, until

SMALL = 2_000


@pytest.fixture(scope="module")
def small_template(postgres_url: str) -> Iterator[str]:
    """The name of a database with the tables of the recipes and some rows."""
    with temporary_database(postgres_url) as url:
        fill(url, (*TABLES, *ROWS, "ANALYZE"), SMALL)
        yield database_name(url)


@pytest.fixture
def small(postgres_url: str, small_template: str) -> Iterator[str]:
    """The URL of a clone of it."""
    with temporary_database(postgres_url, template=small_template) as url:
        yield url


def up_to(url: str, folder: Path, recipe: ModuleType, name: str) -> None:
    """Run the steps of *recipe* up to *name*; its ``SETUP`` has run."""
    steps = recipe.STEPS
    names = [step.upgrade.__name__ for step in steps]
    command.upgrade(project_config(url, folder, *steps), str(names.index(name) + 1))


@contextmanager
def session(url: str) -> Iterator[psycopg.Connection]:
    """A connection that waits long for a lock, and not for ever; what it leaves is rolled back."""
    connection = psycopg.connect(url, options=f"-c lock_timeout={LOCK_TIMEOUT}")
    try:
        yield connection
    finally:
        connection.close()


# --- Splitting a table ----------------------------------------------------------------------------


def test_what_is_written_between_copy_and_drop_is_lost(small: str) -> None:
    """The wrong way, with somebody at work."""
    with session(small) as migration:
        migration.execute(
            "CREATE TABLE ticket_feedback AS "
            "SELECT id AS ticket_id, channel, satisfaction FROM tickets"
        )
        execute(small, "UPDATE tickets SET satisfaction = '1' WHERE id = 7")
        migration.execute("ALTER TABLE tickets DROP COLUMN channel, DROP COLUMN satisfaction")
        migration.commit()
    query = "SELECT satisfaction FROM ticket_feedback WHERE ticket_id = 7"
    assert found_by(small, query) == [("n/a",)]


def test_both_codes_side_by_side_lose_nothing(small: str, tmp_path: Path) -> None:
    """Old and new code at the same tickets at once, while the old rows are copied, and back."""
    up_to(small, tmp_path, split_table, "expand")
    config = config_again(small, tmp_path)
    with (
        writing(small, split_table.OLD, rows=20) as old,
        writing(small, split_table.NEW, rows=20) as new,
    ):
        until(lambda: min(old.done, new.done) > 20, "both write")
        command.upgrade(config, "2")
        before = min(old.done, new.done)
        until(lambda: min(old.done, new.done) > before + 20, "both write on")
    assert old.refused == []
    assert new.refused == []
    assert found_by(small, split_table.IN_STEP) == []
    command.upgrade(config, "4")
    with writing(small, split_table.NEW, rows=20) as new:
        until(lambda: new.done > 20, "the new code alone")
        command.downgrade(config, "2")
    assert new.refused == []
    assert found_by(small, split_table.IN_STEP) == []


def config_again(url: str, folder: Path) -> Config:
    """Alembic on the project that ``up_to`` has made."""
    return alembic_config(url, folder / "migration_guide")


def test_whoever_does_not_lock_the_ticket_first_deadlocks(small: str, tmp_path: Path) -> None:
    """The wrong way: the old code takes the ticket and then its feedback, this one the reverse."""
    execute(small, "UPDATE tickets SET satisfaction = '1' WHERE id = 1")
    up_to(small, tmp_path, split_table, "backfill")
    refused: list[type[psycopg.Error]] = []
    with session(small) as old, session(small) as new:
        # The row of the ticket, as the old code's UPDATE takes it before its trigger runs.
        old.execute("SELECT FROM tickets WHERE id = 1 FOR NO KEY UPDATE")

        def write() -> None:
            try:
                new.execute("UPDATE ticket_feedback SET satisfaction = '2' WHERE ticket_id = 1")
                new.commit()
            except psycopg.Error as error:
                refused.append(type(error))
                new.rollback()

        thread = threading.Thread(target=write)
        thread.start()
        blocked = f"SELECT pg_blocking_pids({new.info.backend_pid})"
        until(lambda: found_by(small, blocked) == [([old.info.backend_pid],)], "it waits")
        try:
            old.execute("UPDATE tickets SET satisfaction = '3' WHERE id = 1")
            old.commit()
        except psycopg.Error as error:
            refused.append(type(error))
            old.rollback()
        thread.join(DEADLINE)
    assert refused == [errors.DeadlockDetected]


# --- Enumerations ---------------------------------------------------------------------------------


def test_a_new_value_is_no_use_in_its_own_transaction(empty: str, tmp_path: Path) -> None:
    execute(empty, "CREATE TYPE mood AS ENUM ('sad')")
    execute(empty, "CREATE TABLE moods (mood mood)")
    add = "op.execute(\"ALTER TYPE mood ADD VALUE 'happy'\"); "
    use = "op.execute(\"INSERT INTO moods VALUES ('happy')\")"
    config = config_of(project(tmp_path / "moods", {"one": Rev(upgrade=add + use)}), empty)
    with pytest.raises(DBAPIError, match="unsafe use of new value") as refused:
        command.upgrade(config, "head")
    assert getattr(refused.value.orig, "sqlstate", None) == "55P04"
    block = f"with op.get_context().autocommit_block(): {add.strip('; ')}\n    {use}"
    config = config_of(project(tmp_path / "again", {"one": Rev(upgrade=block)}), empty)
    command.upgrade(config, "head")
    assert found_by(empty, "SELECT mood FROM moods") == [("happy",)]


def test_code_that_does_not_know_the_value_cannot_read_it(small: str, tmp_path: Path) -> None:
    fill(small, enum_native.SETUP, SMALL)
    up_to(small, tmp_path, enum_native, "add")
    execute(small, "UPDATE tickets SET priority = 'critical' WHERE id = 1")
    old = sa.Enum("low", "medium", "urgent", name="ticket_priority")
    table = sa.table("tickets", sa.column("id"), sa.column("priority", old))
    engine = create_engine(small.replace("://", "+psycopg://", 1))
    with engine.connect() as connection:
        query = sa.select(table.c.priority).where(table.c.id == 1)
        with pytest.raises(LookupError, match="'critical' is not among the defined enum values"):
            connection.execute(query).all()
        # It goes on working for all the others, and its own statements are still valid.
        connection.execute(sa.select(table.c.priority).where(table.c.id == 2)).all()
    engine.dispose()


def test_the_check_refuses_the_value_and_the_type_keeps_it(small: str, tmp_path: Path) -> None:
    fill(small, enum_native.SETUP, SMALL)
    up_to(small, tmp_path, enum_native, "validate")
    with pytest.raises(errors.CheckViolation, match="tickets_priority_not_urgent"):
        execute(small, "UPDATE tickets SET priority = 'urgent' WHERE id = 1")
    labels = "SELECT enum_range(NULL::ticket_priority)::text"
    assert found_by(small, labels) == [("{low,medium,urgent,critical}",)]


# --- Partitions -----------------------------------------------------------------------------------


@pytest.fixture
def months(small: str, tmp_path: Path) -> str:
    """The database with messages by month: up to April, and April."""
    fill(small, partition_table.SETUP, SMALL)
    execute(small, "CREATE VIEW all_messages AS SELECT * FROM messages")
    up_to(small, tmp_path, partition_table, "finish")
    return small


def send(url: str, when: str) -> None:
    """A new message of that moment."""
    insert = "INSERT INTO messages (ticket_id, body, created_at)"
    execute(url, f"{insert} VALUES (1, 'New', '{when} 00:00+00')")


def test_rows_go_to_their_month_and_ids_go_on(months: str) -> None:
    for day in ("2025-01-01", "2026-03-31", "2026-04-01"):
        send(months, day)
    where = "SELECT tableoid::regclass::text FROM messages WHERE body = 'New' ORDER BY id"
    assert [name for (name,) in found_by(months, where)] == [
        "messages_until_2026_04",
        "messages_until_2026_04",
        "messages_2026_04",
    ]
    # As the old table's own sequence would have gone on.
    ids = "SELECT id FROM messages WHERE body = 'New' ORDER BY id"
    assert found_by(months, ids) == [(SMALL + 1,), (SMALL + 2,), (SMALL + 3,)]
    with pytest.raises(errors.CheckViolation, match="no partition of relation"):
        send(months, "2026-05-01")


def test_who_points_to_a_message_names_its_month(months: str) -> None:
    execute(months, "INSERT INTO message_reads (message_id, user_id) VALUES (1, 9)")
    query = "SELECT message_created_at IS NULL FROM message_reads WHERE user_id = 9"
    assert found_by(months, query) == [(False,)]
    with pytest.raises(errors.ForeignKeyViolation, match="MATCH FULL"):
        execute(months, "INSERT INTO message_reads (message_id, user_id) VALUES (999999999, 9)")
    execute(months, "DELETE FROM messages WHERE id = 1")
    assert found_by(months, "SELECT FROM message_reads WHERE message_id = 1") == []


def test_a_view_stays_with_the_old_table(months: str) -> None:
    send(months, "2026-04-02")
    assert len(found_by(months, "SELECT FROM messages WHERE body = 'New'")) == 1
    assert found_by(months, "SELECT FROM all_messages WHERE body = 'New'") == []


def test_there_is_no_way_back_once_a_later_month_has_rows(months: str, tmp_path: Path) -> None:
    send(months, "2026-04-02")
    config = config_again(months, tmp_path)
    with pytest.raises(DBAPIError, match="move them before you go back"):
        command.downgrade(config, "5")
    execute(months, "DELETE FROM messages WHERE created_at >= '2026-04-01 00:00+00'")
    command.downgrade(config, "5")
    assert found_by(months, "SELECT count(*) FROM messages") == [(SMALL,)]
    send(months, "2026-03-02")
    assert found_by(months, "SELECT id FROM messages WHERE body = 'New'") == [(SMALL + 2,)]
    # And forth again: the CHECK has kept its proof.
    with watched(months) as seen:
        command.upgrade(config, "6")
    assert seen.scans == []


def seen_of(url: str, *statements: str) -> Watched:
    """What *statements* do, in a transaction that is rolled back."""
    engine = create_engine(url.replace("://", "+psycopg://", 1))
    with watched(url) as seen, engine.connect() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()
    return seen


def locks_of(url: str, *statements: str) -> dict[str, str]:
    """The strongest lock of them by table."""
    return seen_of(url, *statements).locks


def scans_of(url: str, *statements: str) -> list[str]:
    """The tables that they read under a lock that blocks writers."""
    return seen_of(url, *statements).scans


MAY = "FOR VALUES FROM ('2026-05-01 00:00+00') TO ('2026-06-01 00:00+00')"


def test_a_new_month_is_attached_not_created_in_place(months: str) -> None:
    """The wrong way locks everybody out of the whole table for a moment."""
    made = locks_of(months, f"CREATE TABLE messages_2026_05 PARTITION OF messages {MAY}")
    assert made["messages"] == "AccessExclusiveLock"
    attached = locks_of(
        months,
        "CREATE TABLE messages_2026_05 (LIKE messages)",
        f"ALTER TABLE messages ATTACH PARTITION messages_2026_05 {MAY}",
    )
    assert attached["messages"] == "ShareUpdateExclusiveLock"


def test_a_foreign_key_makes_detach_read_who_points_there(months: str) -> None:
    """The wrong way: while it reads, nobody reads or writes that table."""
    execute(months, "DELETE FROM message_reads")
    execute(
        months,
        "INSERT INTO messages (ticket_id, body, created_at) "
        f"SELECT n, 'April', '2026-04-02 00:00+00' FROM generate_series(1, {SMALL}) AS n",
    )
    execute(
        months,
        "INSERT INTO message_reads SELECT id, 1, created_at FROM messages "
        "WHERE created_at >= '2026-04-01 00:00+00'",
    )
    execute(months, "ANALYZE")
    detach = "ALTER TABLE messages DETACH PARTITION messages_until_2026_04"
    assert f"message_reads under AccessExclusiveLock: {detach}" in scans_of(months, detach)
    execute(months, "ALTER TABLE message_reads DROP CONSTRAINT message_reads_message_fkey")
    assert "message_reads" not in locks_of(months, detach)
    assert scans_of(months, detach) == []


def test_a_default_partition_forbids_detach_concurrently(months: str) -> None:
    """And each ATTACH reads it, while nobody else can."""
    execute(months, "CREATE TABLE messages_other PARTITION OF messages DEFAULT")
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="default partition"):
        execute(months, "ALTER TABLE messages DETACH PARTITION messages_2026_04 CONCURRENTLY")
    execute(
        months,
        "INSERT INTO messages (ticket_id, body, created_at) "
        f"SELECT n, 'June', '2026-06-02 00:00+00' FROM generate_series(1, {SMALL}) AS n",
    )
    attach = f"ALTER TABLE messages ATTACH PARTITION messages_2026_05 {MAY}"
    scans = scans_of(months, "CREATE TABLE messages_2026_05 (LIKE messages)", attach)
    assert scans == [f"messages_other under AccessExclusiveLock: {attach}"]


def test_a_primary_key_must_hold_the_partition_key(empty: str) -> None:
    create = (
        "CREATE TABLE messages (id bigint {}, created_at timestamptz {}) "
        "PARTITION BY RANGE (created_at)"
    )
    with pytest.raises(errors.FeatureNotSupported, match="must include all partitioning columns"):
        execute(empty, create.format("PRIMARY KEY", ""))
    with pytest.raises(errors.FeatureNotSupported, match="must include all partitioning columns"):
        execute(empty, create.format("UNIQUE", ""))
    execute(empty, create.format("", ", PRIMARY KEY (id, created_at)"))
