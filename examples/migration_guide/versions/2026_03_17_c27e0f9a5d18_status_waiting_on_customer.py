"""A value more for the status: waiting_on_customer.

Locks: ACCESS EXCLUSIVE for a moment, without a look at any row (NOT VALID); then SHARE UPDATE
EXCLUSIVE, which blocks no writer, for the scan.  Between the two the value can be used already.
One table a transaction: a writer who holds the one and asks for the other would be a deadlock.
"""

from __future__ import annotations

from alembic import op

revision: str = "c27e0f9a5d18"
down_revision: str | tuple[str, ...] | None = "91d3b5e6c0f4"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None

CHECKS = {
    "tickets": {"status": "ck_tickets_ticket_status"},
    "ticket_status_history": {
        "old_status": "ck_ticket_status_history_old_status",
        "new_status": "ck_ticket_status_history_new_status",
    },
}
NARROW = "'open', 'in_progress', 'resolved', 'closed'"
WIDE = "'open', 'in_progress', 'waiting_on_customer', 'resolved', 'closed'"


def upgrade() -> None:
    """Every old row fits the wider rule; the scan only proves it to PostgreSQL."""
    with op.get_context().autocommit_block():
        replace_checks(WIDE)
        op.execute("SET statement_timeout = 0")
        validate_checks()
        op.execute("RESET statement_timeout")


def downgrade() -> None:
    """Move the rows that have the value, refuse it, move what came between, prove that none is.

    The other way round nobody could change a waiting ticket meanwhile: a CHECK is asked at every
    UPDATE, NOT VALID or not.  Such a ticket becomes one in progress: the nearest that the older
    application knows.
    """
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        move_all_rows()
        replace_checks(NARROW)
        move_all_rows()
        validate_checks()
        op.execute("RESET statement_timeout")


def replace_checks(values: str) -> None:
    """Swap each CHECK for one of the same name, not yet validated.  It can be repeated."""
    for table, columns in CHECKS.items():
        # One statement, one lock: no moment without the rule.
        actions = ", ".join(
            f"DROP CONSTRAINT IF EXISTS {name}, "
            f"ADD CONSTRAINT {name} CHECK ({column} IN ({values})) NOT VALID"
            for column, name in columns.items()
        )
        op.execute(f"ALTER TABLE {table} {actions}")


def validate_checks() -> None:
    """Look at every row while others write."""
    for table, columns in CHECKS.items():
        for name in columns.values():
            op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def move_all_rows() -> None:
    """Of both tables."""
    for table, columns in CHECKS.items():
        for column in columns:
            move_rows(table, column)


def move_rows(table: str, column: str) -> None:
    """Rewrite the value a thousand rows a transaction, so that no writer waits for long.

    Locked before it is moved: else it would overwrite what a user has changed in between.
    """
    op.execute(
        f"""
        DO $$
        DECLARE moved bigint;
        BEGIN
            LOOP
                WITH batch AS (
                    SELECT id FROM {table} WHERE {column} = 'waiting_on_customer'
                    ORDER BY id LIMIT 1000 FOR NO KEY UPDATE
                )
                UPDATE {table} SET {column} = 'in_progress'
                FROM batch WHERE {table}.id = batch.id;
                GET DIAGNOSTICS moved = ROW_COUNT;
                COMMIT;
                EXIT WHEN moved = 0;
            END LOOP;
        END $$
        """
    )
