"""While a revision runs on 100,000 tickets, nobody who writes is refused, and no lock scans."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text
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
from tests.examples.test_migration_guide.watching import watched, writing
from tests.waiting import DEADLINE, until

WORK = (
    "UPDATE tickets SET title = 'Changed', version = version + 1 WHERE id = %(id)s",
    "UPDATE users SET last_login = now() WHERE id = %(id)s %% 100 + 1",
    "INSERT INTO tickets (title, description, organization_id, creator_id) "
    "VALUES ('New', '', 1, 1)",
    "INSERT INTO ticket_status_history (ticket_id, old_status, new_status) "
    "VALUES (%(id)s, 'open', 'in_progress')",
)


def test_writers_go_on_while_each_revision_runs(full: str) -> None:
    line = REVISIONS
    steps = [(command.upgrade, revision) for revision in line[1:]]
    # Not the first: it takes the tables away.
    steps += [(command.downgrade, revision) for revision in line[-2::-1]]
    with writing(full, WORK) as writer, watched(full) as seen:
        for step, revision in steps:
            before = writer.done
            step(alembic_config(full), revision)
            # A revision may be over before one write is.
            until(lambda: writer.done > before + 1, f"they write on: {step.__name__} {revision}")  # noqa: B023
    assert writer.refused == []
    assert seen.scans == []
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
    with writing(full, WORK, at_most="1s") as writer, watched(full) as seen, fails:
        command.upgrade(alembic_config(full, copy), "bad")
    assert writer.refused if fault == "wait" else seen.scans or fault == "not null"


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
    with watched(full) as seen:
        for step in steps:
            with engine.begin() as connection:
                connection.execute(text(step))
    engine.dispose()
    assert bool(seen.scans) == scans
