"""Change a column's type.

Problem: ALTER TYPE writes the table and its indexes anew under ACCESS EXCLUSIVE, and fails at the
first value that does not fit.  Pattern: a column of the new type *under another name*, as in
``rename_column``, and a trigger that converts both ways; what does not fit becomes NULL: count that
before the old column goes.  Under the same name, connections that have prepared a SELECT of the
column would be refused (``cached plan must not change result type``).  Not for what only widens:
``varchar(50)`` to ``varchar(80)`` or ``text`` looks at no row.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from .step import Step

OLD = (
    "UPDATE tickets SET satisfaction = '4' WHERE id = %(id)s",
    "INSERT INTO tickets (title, satisfaction, organization_id) VALUES ('Old', 'n/a', 1)",
    "SELECT satisfaction FROM tickets WHERE id = %(id)s",
)
NEW = (
    "UPDATE tickets SET rating = 5 WHERE id = %(id)s",
    "INSERT INTO tickets (title, rating, organization_id) VALUES ('New', 3, 1)",
    "SELECT rating FROM tickets WHERE id = %(id)s",
)
IN_STEP = (
    "SELECT id FROM tickets WHERE rating IS DISTINCT FROM "
    "CASE WHEN satisfaction ~ '^[1-5]$' THEN satisfaction::smallint END"
)


def expand() -> None:
    """The old code runs.  From here on each write fills both columns; no old row is looked at."""
    op.add_column("tickets", sa.Column("rating", sa.SmallInteger))
    op.execute(
        """
        CREATE FUNCTION tickets_satisfaction_rating() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.rating IS DISTINCT FROM OLD.rating THEN
                NEW.satisfaction := NEW.rating::text;
            ELSIF NEW.satisfaction ~ '^[1-5]$' THEN
                NEW.rating := NEW.satisfaction::smallint;
            ELSE
                NEW.rating := NULL;
            END IF;
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER tickets_satisfaction_rating BEFORE INSERT OR UPDATE ON tickets "
        "FOR EACH ROW EXECUTE FUNCTION tickets_satisfaction_rating()"
    )


def expand_down() -> None:
    """The old column has everything."""
    op.drop_column("tickets", "rating")
    op.execute("DROP TRIGGER tickets_satisfaction_rating ON tickets")
    op.execute("DROP FUNCTION tickets_satisfaction_rating")


def backfill() -> None:
    """The old code runs.  The trigger converts: a row only has to be touched."""
    batch = sa.text(
        """
        WITH batch AS (
            SELECT id FROM tickets WHERE id > :done ORDER BY id LIMIT 1000
        ), touched AS (
            UPDATE tickets SET satisfaction = satisfaction FROM batch
            WHERE tickets.id = batch.id AND rating IS NULL AND satisfaction ~ '^[1-5]$'
        )
        SELECT max(id) FROM batch
        """
    )
    with op.get_context().autocommit_block():
        done = 0
        while done is not None:
            done = op.get_bind().scalar(batch, {"done": done})


def check() -> None:
    """The old code runs.  What the type does not say, a CHECK does, unproved at first."""
    op.create_check_constraint(
        op.f("ck_tickets_rating"), "tickets", "rating BETWEEN 1 AND 5", postgresql_not_valid=True
    )


def check_down() -> None:
    """As before."""
    op.drop_constraint("ck_tickets_rating", "tickets")


def validate() -> None:
    """The old code runs.  Count what does not fit, then deploy the new code."""
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("ALTER TABLE tickets VALIDATE CONSTRAINT ck_tickets_rating")


def contract() -> None:
    """Only the new code runs, and nobody wants to go back, nor asks what did not fit."""
    op.execute("DROP TRIGGER tickets_satisfaction_rating ON tickets")
    op.execute("DROP FUNCTION tickets_satisfaction_rating")
    op.drop_column("tickets", "satisfaction")


def naive() -> None:
    """All rows are written anew, and all indexes, while everybody waits."""
    op.execute(
        "ALTER TABLE tickets ALTER COLUMN satisfaction TYPE smallint "
        "USING CASE WHEN satisfaction ~ '^[1-5]$' THEN satisfaction::smallint END"
    )


STEPS = (
    Step(expand, expand_down, OLD),
    Step(backfill, None, OLD, IN_STEP),
    Step(check, check_down, OLD),
    Step(validate, None, OLD, IN_STEP),
    Step(contract, None, NEW, one_way=True),
)
NAIVE = Step(naive, None, OLD)
