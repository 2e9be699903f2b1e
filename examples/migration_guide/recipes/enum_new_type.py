"""A native enumeration without a value: another type, in another column.

Problem: no value can be removed from a type, and ALTER COLUMN … TYPE writes the whole table anew
under ACCESS EXCLUSIVE.  Pattern: expand and contract, with the new type beside the old one and
``::text`` between them.  The column gets another name: under the old one each prepared statement
that reads it would fail (``cached plan must not change result type``).  Not when it is enough to
forbid the value: a CHECK is one step.
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
    "UPDATE tickets SET priority = 'urgent' WHERE id = %(id)s",
    "INSERT INTO tickets (title, priority, organization_id) VALUES ('From the old code', 'low', 1)",
    "INSERT INTO tickets (title, organization_id) VALUES ('Also from the old code', 1)",
    "SELECT priority FROM tickets WHERE id = %(id)s",
)
NEW = (
    "UPDATE tickets SET urgency = 'high' WHERE id = %(id)s",
    "INSERT INTO tickets (title, urgency, organization_id) VALUES ('From the new code', 'low', 1)",
    "INSERT INTO tickets (title, organization_id) VALUES ('Also from the new code', 1)",
    "SELECT urgency FROM tickets WHERE id = %(id)s",
)
IN_STEP = """
    SELECT id FROM tickets WHERE urgency::text IS DISTINCT FROM
        CASE priority WHEN 'urgent' THEN 'high' ELSE priority::text END
"""


def expand() -> None:
    """The old code runs.  From here on each write fills both columns."""
    op.execute("CREATE TYPE ticket_urgency AS ENUM ('low', 'medium', 'high')")
    op.execute("ALTER TABLE tickets ADD COLUMN urgency ticket_urgency")
    op.execute(
        """
        CREATE FUNCTION tickets_priority_urgency() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.urgency IS DISTINCT FROM OLD.urgency THEN
                NEW.priority := CASE NEW.urgency
                    WHEN 'high' THEN 'urgent' ELSE NEW.urgency::text END;
            ELSE
                NEW.urgency := CASE NEW.priority
                    WHEN 'urgent' THEN 'high' ELSE NEW.priority::text END;
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER tickets_priority_urgency BEFORE INSERT OR UPDATE ON tickets "
        "FOR EACH ROW EXECUTE FUNCTION tickets_priority_urgency()"
    )
    op.create_check_constraint(
        op.f("tickets_urgency_filled"), "tickets", "urgency IS NOT NULL", postgresql_not_valid=True
    )


def expand_down() -> None:
    """The old column has everything."""
    op.drop_column("tickets", "urgency")  # and its CHECK
    op.execute("DROP TRIGGER tickets_priority_urgency ON tickets")
    op.execute("DROP FUNCTION tickets_priority_urgency")
    op.execute("DROP TYPE ticket_urgency")


def backfill() -> None:
    """The old code runs.  A touch is enough: the trigger does the rest."""
    batch = sa.text(
        """
        WITH batch AS (
            SELECT id FROM tickets WHERE id > :done ORDER BY id LIMIT 1000
        ), touched AS (
            UPDATE tickets SET urgency = NULL FROM batch
            WHERE tickets.id = batch.id AND urgency IS NULL
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
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("ALTER TABLE tickets VALIDATE CONSTRAINT tickets_urgency_filled")
        op.execute("RESET statement_timeout")


def require() -> None:
    """The old code runs.  The CHECK is the proof: no row is read.  Then deploy the new code."""
    op.alter_column("tickets", "urgency", nullable=False)
    op.drop_constraint("tickets_urgency_filled", "tickets")


def require_down() -> None:
    """The CHECK returns with its proof: else the next upgrade would read the table."""
    op.alter_column("tickets", "urgency", nullable=True)
    op.drop_constraint("tickets_urgency_filled", "tickets", if_exists=True)
    op.create_check_constraint(
        op.f("tickets_urgency_filled"), "tickets", "urgency IS NOT NULL", postgresql_not_valid=True
    )
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("ALTER TABLE tickets VALIDATE CONSTRAINT tickets_urgency_filled")
        op.execute("RESET statement_timeout")


def contract() -> None:
    """Only the new code runs.  The default moves along: on both sides it would win over a value."""
    op.execute("DROP TRIGGER tickets_priority_urgency ON tickets")
    op.execute("DROP FUNCTION tickets_priority_urgency")
    op.drop_column("tickets", "priority")
    op.alter_column("tickets", "urgency", server_default="medium")
    op.execute("DROP TYPE ticket_priority")


def naive() -> None:
    """Another type in place writes the whole table anew, and the old code names a lost value."""
    op.execute("CREATE TYPE ticket_urgency AS ENUM ('low', 'medium', 'high')")
    op.execute("ALTER TABLE tickets ALTER priority DROP DEFAULT")
    op.execute(
        "ALTER TABLE tickets ALTER priority TYPE ticket_urgency USING "
        "CASE priority WHEN 'urgent' THEN 'high' ELSE priority::text END::ticket_urgency"
    )


STEPS = (
    Step(expand, expand_down, OLD),
    Step(backfill, None, OLD, IN_STEP),
    Step(validate, None, OLD),
    Step(require, require_down, OLD, IN_STEP),
    Step(contract, None, NEW, one_way=True),
)
NAIVE = Step(naive, None, OLD)
