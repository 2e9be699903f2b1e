"""Values of a checked text: add one, give up another.

Problem: a CHECK that is swapped reads the whole table under ACCESS EXCLUSIVE, and a narrower one
refuses whoever touches a row that still has the old value.  Pattern: swap the CHECK for one of the
same name in a single ALTER TABLE, NOT VALID, and VALIDATE in another transaction; before a value is
given up, move its rows.  Not in one step with the deployment: first the value is allowed, then code
writes it; first code has stopped to write it, then it is forbidden.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from .step import Step

OLD = (
    "UPDATE tickets SET title = 'Printer %(id)s' WHERE id = %(id)s",
    "UPDATE tickets SET status = 'spam' WHERE id = %(id)s",
    "INSERT INTO tickets (title, organization_id) VALUES ('From the old code', 1)",
)
NEW = (
    "UPDATE tickets SET title = 'Scanner %(id)s' WHERE id = %(id)s",
    "UPDATE tickets SET status = 'waiting' WHERE id = %(id)s",
    "INSERT INTO tickets (title, status, organization_id) VALUES ('By the new code', 'waiting', 1)",
)


def widen() -> None:
    """The old code runs.  One statement: no moment without the rule, and no row is read."""
    op.execute(
        """
        ALTER TABLE tickets
            DROP CONSTRAINT ck_tickets_status,
            ADD CONSTRAINT ck_tickets_status
                CHECK (status IN ('open', 'waiting', 'resolved', 'closed', 'spam')) NOT VALID
        """
    )


def widen_down() -> None:
    """The new code is gone; what it has written becomes the nearest that the old one knows.

    Locked before it is moved: else it would overwrite what a user has changed in between.
    """
    batch = sa.text(
        """
        WITH batch AS (
            SELECT id FROM tickets WHERE status = 'waiting'
            ORDER BY id LIMIT 1000 FOR NO KEY UPDATE
        )
        UPDATE tickets SET status = 'open' FROM batch WHERE tickets.id = batch.id
        """
    )
    with op.get_context().autocommit_block():
        while op.get_bind().execute(batch).rowcount:
            pass
    op.execute(
        """
        ALTER TABLE tickets
            DROP CONSTRAINT ck_tickets_status,
            ADD CONSTRAINT ck_tickets_status
                CHECK (status IN ('open', 'resolved', 'closed', 'spam')) NOT VALID
        """
    )
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("ALTER TABLE tickets VALIDATE CONSTRAINT ck_tickets_status")
        op.execute("RESET statement_timeout")


def validate() -> None:
    """The old code runs.  Nobody waits while it reads.  Then deploy the new code."""
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("ALTER TABLE tickets VALIDATE CONSTRAINT ck_tickets_status")
        op.execute("RESET statement_timeout")


def move() -> None:
    """Only the new code runs.  Before the CHECK, which each UPDATE of a row asks.

    Locked before it is moved: else it would overwrite what a user has changed in between.
    """
    batch = sa.text(
        """
        WITH batch AS (
            SELECT id FROM tickets WHERE status = 'spam'
            ORDER BY id LIMIT 1000 FOR NO KEY UPDATE
        )
        UPDATE tickets SET status = 'closed' FROM batch WHERE tickets.id = batch.id
        """
    )
    with op.get_context().autocommit_block():
        while op.get_bind().execute(batch).rowcount:
            pass


def narrow() -> None:
    """From here on nobody writes the old value."""
    op.execute(
        """
        ALTER TABLE tickets
            DROP CONSTRAINT ck_tickets_status,
            ADD CONSTRAINT ck_tickets_status
                CHECK (status IN ('open', 'waiting', 'resolved', 'closed')) NOT VALID
        """
    )


def narrow_down() -> None:
    """Every row fits the wider rule; the step before has its VALIDATE."""
    op.execute(
        """
        ALTER TABLE tickets
            DROP CONSTRAINT ck_tickets_status,
            ADD CONSTRAINT ck_tickets_status
                CHECK (status IN ('open', 'waiting', 'resolved', 'closed', 'spam')) NOT VALID
        """
    )


def validate_again() -> None:
    """It fails where somebody has written the old value between move and narrow."""
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("ALTER TABLE tickets VALIDATE CONSTRAINT ck_tickets_status")
        op.execute("RESET statement_timeout")


def naive_widen() -> None:
    """The new CHECK reads every row before it lets go of ACCESS EXCLUSIVE."""
    op.drop_constraint("ck_tickets_status", "tickets")
    op.create_check_constraint(
        op.f("ck_tickets_status"),
        "tickets",
        "status IN ('open', 'waiting', 'resolved', 'closed', 'spam')",
    )


def naive_narrow() -> None:
    """Before the rows are moved: no such row can be changed, not even its title."""
    op.execute(
        """
        ALTER TABLE tickets
            DROP CONSTRAINT ck_tickets_status,
            ADD CONSTRAINT ck_tickets_status
                CHECK (status IN ('open', 'waiting', 'resolved', 'closed')) NOT VALID
        """
    )


LEFT = "SELECT id FROM tickets WHERE status = 'spam'"
STEPS = (
    Step(widen, widen_down, OLD),
    Step(validate, None, OLD),
    Step(move, None, NEW, LEFT),
    Step(narrow, narrow_down, NEW),
    Step(validate_again, None, NEW, LEFT),
)
NAIVE = (
    Step(naive_widen, None, OLD),
    Step(naive_narrow, None, ("UPDATE tickets SET title = 'Scanner' WHERE id = 3",)),
)
