"""Prove the foreign keys of the ticket's actors for the old rows too.

Locks: SHARE UPDATE EXCLUSIVE on tickets, ROW SHARE on users; writers go on.
"""

from __future__ import annotations

from alembic import op

revision: str = "d5f02e8146b9"
down_revision: str | tuple[str, ...] | None = "0be95c3f7a61"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None


def upgrade() -> None:
    """The scan may take longer than a statement of a deployment should."""
    op.execute("SET LOCAL statement_timeout = 0")
    for column in ("created_by_id", "updated_by_id"):
        op.execute(f"ALTER TABLE tickets VALIDATE CONSTRAINT fk_tickets_{column}_users")


def downgrade() -> None:
    """Nothing: a validated constraint does no harm, and PostgreSQL has no way back."""
