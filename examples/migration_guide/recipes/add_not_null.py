"""Forbid NULL in a column that has some.

Problem: SET NOT NULL reads the whole table under ACCESS EXCLUSIVE, and a CHECK that is not yet
valid refuses each UPDATE of an old row, whichever column it changes.  Pattern: first the code that
writes the column, then the old rows, then a CHECK that is NOT VALID, its VALIDATE, and SET NOT
NULL, which takes the CHECK for proof.  Not for PostgreSQL 18, which needs no CHECK: see
``add_not_null_18``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from .step import Step

# SQLAlchemy sends NULL, not DEFAULT, for an attribute that is not set and that it knows no default
# of: the default alone would not do.
OLD = (
    "UPDATE tickets SET title = 'Printer' WHERE id = %(id)s",
    "INSERT INTO tickets (title, channel, organization_id) VALUES ('Untold', NULL, 1)",
)
NEW = (
    "UPDATE tickets SET title = 'Scanner' WHERE id = %(id)s",
    "INSERT INTO tickets (title, channel, organization_id) VALUES ('Told', 'web', 1)",
    "INSERT INTO tickets (title, organization_id) VALUES ('By default', 1)",
)


def default() -> None:
    """The old code runs.  Then deploy the code that always writes the column."""
    op.alter_column("tickets", "channel", server_default="unknown")


def default_down() -> None:
    """As before."""
    op.alter_column("tickets", "channel", server_default=None)


def backfill() -> None:
    """Only code that writes the column runs, from here on: no row without it comes any more."""
    batch = sa.text(
        """
        WITH batch AS (
            SELECT id FROM tickets WHERE id > :done ORDER BY id LIMIT 1000
        ), filled AS (
            UPDATE tickets SET channel = 'unknown' FROM batch
            WHERE tickets.id = batch.id AND channel IS NULL
        )
        SELECT max(id) FROM batch
        """
    )
    with op.get_context().autocommit_block():
        done = 0
        while done is not None:
            done = op.get_bind().scalar(batch, {"done": done})


def forbid() -> None:
    """From here on NULL is refused; a row that was missed could not be updated any more."""
    op.create_check_constraint(
        op.f("tickets_channel_filled"), "tickets", "channel IS NOT NULL", postgresql_not_valid=True
    )


def forbid_down() -> None:
    """NULL is allowed again."""
    op.drop_constraint("tickets_channel_filled", "tickets")


def validate() -> None:
    """It reads the table, and nobody waits for it."""
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("ALTER TABLE tickets VALIDATE CONSTRAINT tickets_channel_filled")


def require() -> None:
    """No row is read: the CHECK is the proof, unless the same ALTER TABLE drops it."""
    op.alter_column("tickets", "channel", nullable=False)
    op.drop_constraint("tickets_channel_filled", "tickets")


def require_down() -> None:
    """The CHECK comes back with its proof: else the next upgrade would read under its lock."""
    op.drop_constraint("tickets_channel_filled", "tickets", if_exists=True)
    op.create_check_constraint(
        op.f("tickets_channel_filled"), "tickets", "channel IS NOT NULL", postgresql_not_valid=True
    )
    op.alter_column("tickets", "channel", nullable=True)
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("ALTER TABLE tickets VALIDATE CONSTRAINT tickets_channel_filled")
        op.execute("RESET statement_timeout")


def naive() -> None:
    """The rows are full, and yet they are all read, while everybody waits."""
    op.execute("UPDATE tickets SET channel = 'unknown' WHERE channel IS NULL")
    op.alter_column("tickets", "channel", nullable=False)


STEPS = (
    Step(default, default_down, OLD),
    Step(backfill, None, NEW, "SELECT id FROM tickets WHERE channel IS NULL"),
    Step(forbid, forbid_down, NEW, "SELECT id FROM tickets WHERE channel IS NULL"),
    Step(validate, None, NEW),
    Step(require, require_down, NEW),
)
NAIVE = Step(naive, None, OLD)
