"""Who made a ticket and who changed it last: two columns, two foreign keys.

Locks: ACCESS EXCLUSIVE on tickets and SHARE ROW EXCLUSIVE on users for a moment; NOT VALID looks at
no row.  A column without a default rewrites nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision: str = "68a4d7139bc2"
down_revision: str | tuple[str, ...] | None = "c27e0f9a5d18"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None

COLUMNS = ("created_by_id", "updated_by_id")


def upgrade() -> None:
    """New rows are checked from here on; the old ones two revisions later."""
    for column in COLUMNS:
        op.add_column("tickets", sa.Column(column, sa.BigInteger))
        op.create_foreign_key(
            op.f(f"fk_tickets_{column}_users"),
            "tickets",
            "users",
            [column],
            ["id"],
            ondelete="SET NULL",
            postgresql_not_valid=True,
        )


def downgrade() -> None:
    """A column takes its foreign key along."""
    for column in COLUMNS:
        op.drop_column("tickets", column)
