"""The old tickets were made by their creators: say so, a thousand a transaction.

Locks: those of the rows of one batch, for as long as that batch takes.  It can be broken off and
started again: what is done is committed and is not done twice.
"""

from __future__ import annotations

from alembic import op

revision: str = "0be95c3f7a61"
down_revision: str | tuple[str, ...] | None = "68a4d7139bc2"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None


def upgrade() -> None:
    """On the server, so that it is one statement, and ``--sql`` prints it too.

    It walks the key: a plain LIMIT would look at the finished rows again and again.
    """
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute(
            """
            DO $$
            DECLARE
                done bigint := 0;
                following bigint;
            BEGIN
                LOOP
                    SELECT max(id) INTO following
                    FROM (SELECT id FROM tickets WHERE id > done ORDER BY id LIMIT 1000) AS batch;
                    EXIT WHEN following IS NULL;
                    UPDATE tickets SET created_by_id = creator_id
                    WHERE id > done AND id <= following AND created_by_id IS NULL;
                    COMMIT;
                    done := following;
                END LOOP;
            END $$
            """
        )
        op.execute("RESET statement_timeout")


def downgrade() -> None:
    """Nothing: the column goes with the revision that made it."""
