"""The revisions: there and back, whole and one by one, and the same schema as the models'."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from examples.database import create_sync_engine
from examples.migration_guide.checks import HERE, alembic_config, schema_of, stairway
from examples.models import TicketStatus, audit_partition_ddl
from examples.postgres import temporary_database
from examples.testing_patterns.factories import make_ticket
from tests.examples.test_migration_guide.desk import (
    FIRST,
    REVISIONS,
    downgrade,
    dump,
    execute,
    fill,
    upgrade,
)
from tests.examples.test_migration_guide.watching import while_open

VALUE, VALIDATED = "c27e0f9a5d18", "d5f02e8146b9"


def engine_of(url: str) -> Iterator[Engine]:
    """An engine that is disposed of."""
    engine = create_sync_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def migrated(empty: str) -> Iterator[Engine]:
    """An engine on a database at head."""
    upgrade(empty)
    yield from engine_of(empty)


def test_the_revisions_are_one_line() -> None:
    assert len(REVISIONS) == 7
    assert REVISIONS[0] == FIRST


@pytest.mark.once
def test_a_hundred_thousand_tickets_go_there_and_back(full: str, postgres_url: str) -> None:
    upgrade(full)
    command.check(alembic_config(full))
    first = dump(full)
    downgrade(full)
    with temporary_database(postgres_url) as nothing:
        assert dump(full) == dump(nothing)
    upgrade(full)
    assert dump(full) == first
    assert "CREATE TABLE public.tickets" in first
    command.check(alembic_config(full))


def test_nothing_is_left_behind(empty: str) -> None:
    upgrade(empty)
    for engine in engine_of(empty):
        with engine.begin() as connection:
            connection.execute(text(audit_partition_ddl(date(2026, 11, 1))))
            assert len(schema_of(connection)) > 100
        downgrade(empty)
        with engine.begin() as connection:
            assert schema_of(connection) == []


def test_the_same_schema_as_the_models(migrated: Engine, engines: dict[str, Engine]) -> None:
    with migrated.connect() as ours, engines["psycopg"].connect() as models:
        assert schema_of(ours) == schema_of(models)


def test_each_revision_goes_up_down_and_up(empty: str) -> None:
    for engine in engine_of(empty):
        stairway(alembic_config(empty), engine, one_way=[VALIDATED])
        with engine.connect() as connection:
            assert len(schema_of(connection)) > 100


def test_a_downgrade_that_leaves_something_is_named(empty: str, tmp_path: Path) -> None:
    copy = shutil.copytree(HERE, tmp_path / "guide")
    for path in (copy / "versions").glob("*_audit_outbox_import.py"):
        path.write_text(path.read_text().replace('    op.drop_table("outbox_messages")\n', ""))
    for engine in engine_of(empty):
        with pytest.raises(AssertionError, match="downgrade of 91d3b5e6c0f4: left"):
            stairway(alembic_config(empty, copy), engine)


def test_each_revision_goes_back_with_rows_in_it(empty: str) -> None:
    upgrade(empty, FIRST)
    fill(empty, 50)
    for revision in REVISIONS[1:]:
        then = dump(empty)
        upgrade(empty, revision)
        downgrade(empty, "-1")
        # A constraint that was validated stays so: PostgreSQL has no way back, and needs none.
        assert dump(empty) == (then.replace(" NOT VALID", "") if revision == VALIDATED else then)
        upgrade(empty, revision)


def test_the_new_status_is_usable_straight_away(empty: str) -> None:
    upgrade(empty, FIRST)
    fill(empty, 10)
    waiting = text("UPDATE tickets SET status = 'waiting_on_customer' WHERE id = 1")
    for engine in engine_of(empty):
        with engine.connect() as connection:
            with pytest.raises(IntegrityError, match="ck_tickets_ticket_status"):
                connection.execute(waiting)
            connection.rollback()
            upgrade(empty, VALUE)
            connection.execute(waiting)
            connection.execute(
                text(
                    "INSERT INTO ticket_status_history (ticket_id, old_status, new_status) "
                    "VALUES (1, 'open', 'waiting_on_customer')"
                )
            )
            connection.commit()
            downgrade(empty, "91d3b5e6c0f4")
            rows = connection.execute(
                text(
                    "SELECT status, h.new_status FROM tickets AS t JOIN ticket_status_history AS h "
                    "ON h.ticket_id = t.id AND h.old_status = 'open' "
                    "WHERE t.id = 1"
                )
            ).all()
            assert [tuple(row) for row in rows] == [("in_progress", "in_progress")]
            connection.rollback()
            with pytest.raises(IntegrityError, match="ck_tickets_ticket_status"):
                connection.execute(waiting)


def test_a_status_is_refused_when_no_ticket_has_it(empty: str) -> None:
    """A CHECK is asked at every UPDATE: a ticket that still had it could not be changed."""
    upgrade(empty, FIRST)
    fill(empty, 1_500)  # a batch and a half
    upgrade(empty, VALUE)
    waiting = "SELECT count(*) FROM tickets WHERE status = 'waiting_on_customer'"
    left: list[int] = []

    def look(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("ALTER TABLE tickets DROP CONSTRAINT"):
            with psycopg.connect(empty) as other:
                left.extend(count for (count,) in other.execute(waiting))

    with psycopg.connect(empty, autocommit=True) as desk:
        desk.execute("UPDATE tickets SET status = 'waiting_on_customer', resolved_at = NULL")
        event.listen(Engine, "before_cursor_execute", look)
        try:
            downgrade(empty, "91d3b5e6c0f4")
        finally:
            event.remove(Engine, "before_cursor_execute", look)
    assert left == [0]


def test_a_status_that_a_user_gives_meanwhile_stays(empty: str) -> None:
    """A batch would make a ticket in progress of it that is resolved, which a CHECK refuses."""
    upgrade(empty, FIRST)
    fill(empty, 2_500)
    upgrade(empty, VALUE)
    for statement in (
        "UPDATE tickets SET status = 'waiting_on_customer', resolved_at = NULL",
        "UPDATE ticket_status_history SET new_status = 'waiting_on_customer'",
    ):
        execute(empty, statement)
    # All of the first batch.
    resolved = "UPDATE tickets SET status = 'resolved', resolved_at = now() WHERE id <= 1000"
    while_open(empty, resolved, lambda: downgrade(empty, "91d3b5e6c0f4"))
    for engine in engine_of(empty):
        with engine.connect() as connection:
            query = text("SELECT status, count(*), min(id) FROM tickets GROUP BY 1 ORDER BY 1")
            found = [tuple(row) for row in connection.execute(query)]
            assert found == [("in_progress", 1500, 1001), ("resolved", 1000, 1)]
            query = text("SELECT DISTINCT new_status FROM ticket_status_history")
            assert connection.scalars(query).all() == ["in_progress"]


def test_the_backfill_fills_every_row_and_can_be_repeated(empty: str) -> None:
    upgrade(empty, FIRST)
    fill(empty, 2_500)  # two batches and a half
    upgrade(empty, "0be95c3f7a61")
    for engine in engine_of(empty):
        with engine.begin() as connection:
            query = text("SELECT count(*) FROM tickets WHERE created_by_id = creator_id")
            assert connection.scalar(query) == 2_500
            # Somebody else is named meanwhile: a second run leaves that alone.
            connection.execute(text("UPDATE tickets SET created_by_id = 7 WHERE id = 1"))
            connection.execute(text("UPDATE tickets SET created_by_id = NULL WHERE id = 2"))
        command.stamp(alembic_config(empty), "68a4d7139bc2")
        upgrade(empty, "0be95c3f7a61")
        with engine.begin() as connection:
            rows = connection.execute(
                text("SELECT created_by_id FROM tickets WHERE id IN (1, 2) ORDER BY id")
            )
            assert rows.scalars().all() == [7, 3]


def test_a_broken_index_build_is_repeated(empty: str) -> None:
    upgrade(empty, "d5f02e8146b9")
    for engine in engine_of(empty):
        with engine.connect() as connection:
            autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
            autocommit.execute(text("CREATE INDEX ix_tickets_open_queue ON tickets (assignee_id)"))
            autocommit.execute(
                text(
                    "UPDATE pg_index SET indisvalid = false "
                    "WHERE indexrelid = 'ix_tickets_open_queue'::regclass"
                )
            )
        upgrade(empty)
        with engine.connect() as connection:
            row = connection.execute(
                text(
                    "SELECT indisvalid, pg_get_indexdef(indexrelid) FROM pg_index "
                    "WHERE indexrelid = 'ix_tickets_open_queue'::regclass"
                )
            ).one()
            assert row[0]
            assert "created_at" in row[1]


def test_the_application_runs_on_the_migrated_schema(migrated: Engine) -> None:
    with Session(migrated) as session:
        session.add(make_ticket(status=TicketStatus.WAITING_ON_CUSTOMER))
        session.commit()


def test_revisions_import_no_models() -> None:
    for path in (HERE / "versions").glob("*.py"):
        assert "models" not in path.read_text().replace("never imports the models", "")
