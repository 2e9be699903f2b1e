"""Indexes for the queue, the list, the search and the actors, built while others write.

Locks: SHARE UPDATE EXCLUSIVE on tickets.  No transaction: CONCURRENTLY refuses one, and so a broken
build leaves an INVALID index behind.  Hence each is dropped first: the revision can be repeated.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "7a3be1d94c05"
down_revision: str | tuple[str, ...] | None = "d5f02e8146b9"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None

INDEXES: dict[str, tuple[list[str | sa.TextClause], dict[str, Any]]] = {
    "ix_tickets_created_by_id": (["created_by_id"], {}),
    "ix_tickets_updated_by_id": (["updated_by_id"], {}),
    "ix_tickets_created_at_id": ([sa.text("created_at DESC"), sa.text("id DESC")], {}),
    "ix_tickets_open_queue": (
        ["assignee_id", "created_at"],
        {"postgresql_where": sa.text("deleted_at IS NULL AND resolved_at IS NULL")},
    ),
    "ix_tickets_search_vector": (["search_vector"], {"postgresql_using": "gin"}),
}


def upgrade() -> None:
    """It waits for old transactions as long as they take; nobody waits for it meanwhile."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("SET statement_timeout = 0")
        for name, (columns, options) in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.create_index(name, "tickets", columns, postgresql_concurrently=True, **options)
        op.execute("RESET lock_timeout")
        op.execute("RESET statement_timeout")


def downgrade() -> None:
    """Concurrently as well: a plain DROP INDEX locks the table against reading."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        for name in INDEXES:
            op.drop_index(name, "tickets", postgresql_concurrently=True, if_exists=True)
        op.execute("RESET lock_timeout")
