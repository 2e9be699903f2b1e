"""Expand and contract: rename a column.

Problem: during a deployment old code and new run side by side, and a rename is an error for one of
them at any moment.  Pattern: add the new column beside the old one, let a trigger keep the two in
step whoever writes, fill the old rows, deploy the new code, take the old column away.  The same
order serves every change of a column's meaning.  Not when nothing runs during the deployment: then
RENAME is one step.  A column with a DEFAULT keeps it on the old side until the contract: a default
on the new side would win over what the old code writes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from .step import Step

OLD = (
    "UPDATE tickets SET title = 'Printer %(id)s' WHERE id = %(id)s",
    "INSERT INTO tickets (title, organization_id) VALUES ('From the old code', 1)",
    "SELECT title FROM tickets WHERE id = %(id)s",
)
NEW = (
    "UPDATE tickets SET subject = 'Scanner %(id)s' WHERE id = %(id)s",
    "INSERT INTO tickets (subject, organization_id) VALUES ('From the new code', 1)",
    "SELECT subject FROM tickets WHERE id = %(id)s",
)
IN_STEP = "SELECT id FROM tickets WHERE subject IS DISTINCT FROM title"


def expand() -> None:
    """The old code runs.  From here on each write fills both columns; no old row is looked at."""
    op.add_column("tickets", sa.Column("subject", sa.Text))
    # OLD is NULL for an INSERT: whoever names the new column wins, and else the old one does.
    op.execute(
        """
        CREATE FUNCTION tickets_title_subject() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.subject IS DISTINCT FROM OLD.subject THEN
                NEW.title := NEW.subject;
            ELSE
                NEW.subject := NEW.title;
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER tickets_title_subject BEFORE INSERT OR UPDATE ON tickets "
        "FOR EACH ROW EXECUTE FUNCTION tickets_title_subject()"
    )
    op.create_check_constraint(
        op.f("tickets_subject_filled"), "tickets", "subject IS NOT NULL", postgresql_not_valid=True
    )


def expand_down() -> None:
    """The old column has everything."""
    op.drop_column("tickets", "subject")  # and its CHECK
    op.execute("DROP TRIGGER tickets_title_subject ON tickets")
    op.execute("DROP FUNCTION tickets_title_subject")


def backfill() -> None:
    """The old code runs.  A batch is a transaction: it holds a thousand rows for a moment."""
    batch = sa.text(
        """
        WITH batch AS (
            SELECT id FROM tickets WHERE id > :done ORDER BY id LIMIT 1000
        ), filled AS (
            UPDATE tickets SET subject = title FROM batch
            WHERE tickets.id = batch.id AND subject IS NULL
        )
        SELECT max(id) FROM batch
        """
    )
    with op.get_context().autocommit_block():
        done = 0
        while done is not None:
            done = op.get_bind().scalar(batch, {"done": done})


def validate() -> None:
    """The old code runs.  It reads the table, and nobody waits for it."""
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("ALTER TABLE tickets VALIDATE CONSTRAINT tickets_subject_filled")


def require() -> None:
    """The old code runs.  The CHECK is the proof: no row is read.  Then deploy the new code."""
    op.alter_column("tickets", "subject", nullable=False)
    # Not in the same ALTER TABLE: the proof would be gone before it is needed.
    op.drop_constraint("tickets_subject_filled", "tickets")


def require_down() -> None:
    """The CHECK comes back with its proof: else the next upgrade would read under its lock."""
    op.drop_constraint("tickets_subject_filled", "tickets", if_exists=True)
    op.create_check_constraint(
        op.f("tickets_subject_filled"), "tickets", "subject IS NOT NULL", postgresql_not_valid=True
    )
    op.alter_column("tickets", "subject", nullable=True)
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("ALTER TABLE tickets VALIDATE CONSTRAINT tickets_subject_filled")
        op.execute("RESET statement_timeout")


def contract() -> None:
    """Only the new code runs.  Back to the old leads but the same recipe, the other way round."""
    op.execute("DROP TRIGGER tickets_title_subject ON tickets")
    op.execute("DROP FUNCTION tickets_title_subject")
    op.drop_column("tickets", "title")


def naive() -> None:
    """One step, a moment long, and an error for each statement of the old code."""
    op.alter_column("tickets", "title", new_column_name="subject")


STEPS = (
    Step(expand, expand_down, OLD),
    Step(backfill, None, OLD, IN_STEP),
    Step(validate, None, OLD),
    Step(require, require_down, OLD, IN_STEP),
    Step(contract, None, NEW, one_way=True),
)
NAIVE = Step(naive, None, OLD)
