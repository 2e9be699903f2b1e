"""Forbid NULL in a column that has some, with PostgreSQL 18.

Problem: as in ``add_not_null``.  Pattern: after the same two steps (``default``, ``backfill``) the
constraint itself can be NOT VALID: no CHECK, and one revision less.  PostgreSQL 18.
"""

from __future__ import annotations

from alembic import op

from .step import Step

POSTGRESQL = 18
SETUP = (
    "ALTER TABLE tickets ALTER COLUMN channel SET DEFAULT 'unknown'",
    "UPDATE tickets SET channel = 'unknown' WHERE channel IS NULL",
)
NEW = (
    "UPDATE tickets SET title = 'Scanner' WHERE id = %(id)s",
    "INSERT INTO tickets (title, channel, organization_id) VALUES ('Told', 'web', 1)",
    "INSERT INTO tickets (title, organization_id) VALUES ('By default', 1)",
)


def forbid() -> None:
    """Only code that writes the column runs; the old rows are filled.  No row is read."""
    op.execute(
        "ALTER TABLE tickets ADD CONSTRAINT tickets_channel_not_null NOT NULL channel NOT VALID"
    )


def forbid_down() -> None:
    """NULL is allowed again."""
    op.drop_constraint("tickets_channel_not_null", "tickets")


def validate() -> None:
    """It reads the table, and nobody waits for it."""
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("ALTER TABLE tickets VALIDATE CONSTRAINT tickets_channel_not_null")


STEPS = (
    Step(forbid, forbid_down, NEW, "SELECT id FROM tickets WHERE channel IS NULL"),
    Step(validate, None, NEW),
)
