"""Split a table: columns of tickets move to a table of their own, while both codes write.

Problem: between the copy and the deployment somebody writes to the old columns, or to the new
table, and one of the two is lost.  Pattern: triggers keep both in step whoever writes, old rows are
copied in batches, the new code is deployed, and the columns go last.  The new code locks the ticket
before it writes the new table: the old code's trigger takes the two in that order, and the other
way round is a deadlock.  Not for columns with a DEFAULT or NOT NULL: drop those first, or a ticket
of the new code comes with a value that nobody wrote.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from .step import Step

OLD = (
    "UPDATE tickets SET satisfaction = '4' WHERE id = %(id)s",
    "UPDATE tickets SET channel = NULL, satisfaction = NULL WHERE id = %(id)s",
    "INSERT INTO tickets (title, channel, organization_id) VALUES ('From the old code', 'web', 1)",
    "SELECT title, channel, satisfaction FROM tickets WHERE id = %(id)s",
)
NEW = (
    """
    WITH ticket AS MATERIALIZED (
        SELECT id FROM tickets WHERE id = %(id)s FOR NO KEY UPDATE
    )
    INSERT INTO ticket_feedback (ticket_id, channel, satisfaction)
    SELECT id, 'phone', '5' FROM ticket
    ON CONFLICT (ticket_id) DO UPDATE SET satisfaction = EXCLUDED.satisfaction
    """,
    """
    WITH ticket AS (
        INSERT INTO tickets (title, organization_id) VALUES ('From the new code', 1) RETURNING id
    )
    INSERT INTO ticket_feedback (ticket_id, channel) SELECT id, 'web' FROM ticket
    """,
    "SELECT title, f.channel, f.satisfaction FROM tickets "
    "LEFT JOIN ticket_feedback AS f ON ticket_id = id WHERE id = %(id)s",
)
IN_STEP = """
    SELECT id FROM tickets AS t LEFT JOIN ticket_feedback AS f ON f.ticket_id = t.id
    WHERE (t.channel, t.satisfaction) IS DISTINCT FROM (f.channel, f.satisfaction)
"""


def expand() -> None:
    """The old code runs.  From here on each write fills both; no old row is looked at."""
    op.create_table(
        "ticket_feedback",
        sa.Column("ticket_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("channel", sa.Text),
        sa.Column("satisfaction", sa.Text),
        # Within CREATE TABLE: PostgreSQL knows that there is no row to check.
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], ondelete="CASCADE"),
    )
    # Each side writes the other one only where that differs, and so the two come to rest.
    op.execute(
        """
        CREATE FUNCTION feedback_of_ticket() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO ticket_feedback AS f (ticket_id, channel, satisfaction)
            SELECT NEW.id, NEW.channel, NEW.satisfaction
            WHERE NEW.channel IS NOT NULL OR NEW.satisfaction IS NOT NULL
                OR EXISTS (SELECT FROM ticket_feedback WHERE ticket_id = NEW.id)
            ON CONFLICT (ticket_id) DO UPDATE
            SET channel = EXCLUDED.channel, satisfaction = EXCLUDED.satisfaction
            WHERE (f.channel, f.satisfaction)
                IS DISTINCT FROM (EXCLUDED.channel, EXCLUDED.satisfaction);
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        """
        CREATE FUNCTION ticket_of_feedback() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            -- NEW is all NULL for a DELETE.
            UPDATE tickets SET channel = NEW.channel, satisfaction = NEW.satisfaction
            WHERE id = coalesce(NEW.ticket_id, OLD.ticket_id)
                AND (channel, satisfaction) IS DISTINCT FROM (NEW.channel, NEW.satisfaction);
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER ticket_of_feedback AFTER INSERT OR UPDATE OR DELETE ON ticket_feedback "
        "FOR EACH ROW EXECUTE FUNCTION ticket_of_feedback()"
    )
    op.execute(
        "CREATE TRIGGER feedback_of_ticket AFTER INSERT OR UPDATE OF channel, satisfaction "
        "ON tickets FOR EACH ROW EXECUTE FUNCTION feedback_of_ticket()"
    )


def expand_down() -> None:
    """The columns have everything."""
    op.execute("DROP TRIGGER feedback_of_ticket ON tickets")
    op.drop_table("ticket_feedback")
    op.execute("DROP FUNCTION feedback_of_ticket")
    op.execute("DROP FUNCTION ticket_of_feedback")


def backfill() -> None:
    """The old code runs.  It waits for nobody: a ticket that is locked comes in the next round."""
    batch = sa.text(
        """
        WITH batch AS (
            SELECT id, channel, satisfaction FROM tickets
            WHERE id > :done AND (channel IS NOT NULL OR satisfaction IS NOT NULL)
                AND NOT EXISTS (SELECT FROM ticket_feedback WHERE ticket_id = id)
            ORDER BY id LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED
        ), copied AS (
            INSERT INTO ticket_feedback (ticket_id, channel, satisfaction)
            SELECT id, channel, satisfaction FROM batch ON CONFLICT DO NOTHING
        )
        SELECT max(id) FROM batch
        """
    )
    left = sa.text(
        "SELECT EXISTS (SELECT FROM tickets WHERE (channel IS NOT NULL OR satisfaction IS NOT NULL)"
        " AND NOT EXISTS (SELECT FROM ticket_feedback WHERE ticket_id = id))"
    )
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        while op.get_bind().scalar(left):
            done = 0
            while done is not None:
                done = op.get_bind().scalar(batch, {"done": done})
            op.execute("SELECT pg_sleep(0.05)")
        op.execute("RESET statement_timeout")


def let_go() -> None:
    """Only the new code runs: nobody reads the columns any more."""
    op.execute("DROP TRIGGER ticket_of_feedback ON ticket_feedback")


def let_go_down() -> None:
    """Before the old code returns.  A touch makes the trigger carry a row over, as it is now.

    What the new code has deleted meanwhile is not carried over.
    """
    op.execute(
        "CREATE OR REPLACE TRIGGER ticket_of_feedback AFTER INSERT OR UPDATE OR DELETE "
        "ON ticket_feedback FOR EACH ROW EXECUTE FUNCTION ticket_of_feedback()"
    )
    batch = sa.text(
        """
        WITH batch AS MATERIALIZED (
            SELECT t.id FROM tickets AS t JOIN ticket_feedback AS f ON f.ticket_id = t.id
            WHERE t.id > :done
                AND (t.channel, t.satisfaction) IS DISTINCT FROM (f.channel, f.satisfaction)
            ORDER BY t.id LIMIT 1000 FOR NO KEY UPDATE OF t SKIP LOCKED
        ), touched AS (
            UPDATE ticket_feedback SET channel = channel FROM batch WHERE ticket_id = batch.id
        )
        SELECT max(id) FROM batch
        """
    )
    left = sa.text(
        "SELECT EXISTS (SELECT FROM tickets AS t JOIN ticket_feedback AS f ON f.ticket_id = t.id "
        "WHERE (t.channel, t.satisfaction) IS DISTINCT FROM (f.channel, f.satisfaction))"
    )
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        while op.get_bind().scalar(left):
            done = 0
            while done is not None:
                done = op.get_bind().scalar(batch, {"done": done})
            op.execute("SELECT pg_sleep(0.05)")
        op.execute("RESET statement_timeout")


def contract() -> None:
    """Only the new code runs.  The functions stay for the way back."""
    op.execute("DROP TRIGGER feedback_of_ticket ON tickets")
    op.drop_column("tickets", "channel")
    op.drop_column("tickets", "satisfaction")


def contract_down() -> None:
    """The columns come back empty; the step before this one fills them."""
    op.add_column("tickets", sa.Column("channel", sa.Text))
    op.add_column("tickets", sa.Column("satisfaction", sa.Text))
    op.execute(
        "CREATE TRIGGER feedback_of_ticket AFTER INSERT OR UPDATE OF channel, satisfaction "
        "ON tickets FOR EACH ROW EXECUTE FUNCTION feedback_of_ticket()"
    )


def tidy() -> None:
    """Nobody wants to go back to the old code."""
    op.execute("DROP FUNCTION feedback_of_ticket")
    op.execute("DROP FUNCTION ticket_of_feedback")


def naive() -> None:
    """One step: what is written between copy and drop is lost, and the old code fails after it."""
    op.execute(
        "CREATE TABLE ticket_feedback AS SELECT id AS ticket_id, channel, satisfaction FROM tickets"
    )
    op.drop_column("tickets", "channel")
    op.drop_column("tickets", "satisfaction")


STEPS = (
    Step(expand, expand_down, OLD),
    Step(backfill, None, OLD, IN_STEP),
    Step(let_go, let_go_down, NEW),
    Step(contract, contract_down, NEW),
    Step(tidy, None, NEW, one_way=True),
)
NAIVE = Step(naive, None, OLD)
