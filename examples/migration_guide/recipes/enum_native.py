"""Values of a native enumeration: add one, give up another.

Problem: a new value cannot be used in the transaction that adds it, no value can be removed, and
RENAME VALUE is an error for each statement of the code that runs.  Pattern: add the value in a
transaction of its own and deploy code that knows it; to give one up, move its rows, then forbid it
by a CHECK; the type keeps it.  Not for a list that changes often: checked text has no such trouble.
Deploy code that knows a value before anybody writes it: SQLAlchemy raises ``LookupError`` for a row
with one that its ``Enum`` does not have.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from .step import Step

SETUP = (
    "CREATE TYPE ticket_priority AS ENUM ('low', 'medium', 'urgent')",
    "ALTER TABLE tickets ADD COLUMN priority ticket_priority NOT NULL DEFAULT 'medium'",
    "UPDATE tickets SET priority = 'urgent' WHERE id % 5 = 0",
    "ANALYZE",
)
OLD = (
    "UPDATE tickets SET title = 'Printer %(id)s' WHERE id = %(id)s",
    "UPDATE tickets SET priority = 'urgent' WHERE id = %(id)s",
    "INSERT INTO tickets (title, priority, organization_id) VALUES ('From the old code', 'low', 1)",
)
NEW = (
    "UPDATE tickets SET title = 'Scanner %(id)s' WHERE id = %(id)s",
    "UPDATE tickets SET priority = 'critical' WHERE id = %(id)s",
    "INSERT INTO tickets (title, priority, organization_id) VALUES ('From the new code', 'low', 1)",
)


def add() -> None:
    """The old code runs.  IF NOT EXISTS: no way leads back, so that it may run again."""
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE ticket_priority ADD VALUE IF NOT EXISTS 'critical' AFTER 'urgent'")


def move() -> None:
    """Only code runs that writes the new value.  Before the CHECK, which each UPDATE asks.

    Locked before it is moved: else it would overwrite what a user has changed in between.
    """
    batch = sa.text(
        """
        WITH batch AS (
            SELECT id FROM tickets WHERE priority = 'urgent'
            ORDER BY id LIMIT 1000 FOR NO KEY UPDATE
        )
        UPDATE tickets SET priority = 'critical' FROM batch WHERE tickets.id = batch.id
        """
    )
    with op.get_context().autocommit_block():
        while op.get_bind().execute(batch).rowcount:
            pass


def forbid() -> None:
    """From here on nobody writes the old value."""
    op.create_check_constraint(
        op.f("tickets_priority_not_urgent"),
        "tickets",
        "priority <> 'urgent'",
        postgresql_not_valid=True,
    )


def forbid_down() -> None:
    """The type still has it."""
    op.drop_constraint("tickets_priority_not_urgent", "tickets")


def validate() -> None:
    """It reads the table, and nobody waits for it."""
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("ALTER TABLE tickets VALIDATE CONSTRAINT tickets_priority_not_urgent")
        op.execute("RESET statement_timeout")


def naive_rename() -> None:
    """A moment long, and an error for each statement that names the value."""
    op.execute("ALTER TYPE ticket_priority RENAME VALUE 'urgent' TO 'critical'")


def naive_forbid() -> None:
    """Before the rows are moved: no such row can be changed, not even its title."""
    op.create_check_constraint(
        op.f("tickets_priority_not_urgent"),
        "tickets",
        "priority <> 'urgent'",
        postgresql_not_valid=True,
    )


LEFT = "SELECT id FROM tickets WHERE priority = 'urgent'"
STEPS = (
    Step(add, None, OLD, one_way=True),
    Step(move, None, NEW, LEFT),
    Step(forbid, forbid_down, NEW),
    Step(validate, None, NEW, LEFT),
)
NAIVE = (
    Step(naive_rename, None, OLD),
    Step(naive_forbid, None, ("UPDATE tickets SET title = 'Scanner' WHERE id = 5",)),
)
