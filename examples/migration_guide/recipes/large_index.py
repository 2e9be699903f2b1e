"""Index a large table, also a unique one.

Problem: CREATE INDEX lets nobody write while it reads the table.  Pattern: CONCURRENTLY, with no
transaction around it and no time-outs; what a failed build has left is dropped first.  A unique
index fails where there are duplicates; broken off while it waits for old transactions, it is not
valid and refuses duplicates all the same.  Not for a partitioned table: ``partitioned_index``.
"""

from __future__ import annotations

from alembic import op

from .step import Step

SETUP = ("ALTER TABLE tickets ADD COLUMN number text", "UPDATE tickets SET number = 'T-' || id")
CODE = (
    "UPDATE tickets SET status = 'resolved' WHERE id = %(id)s",
    "INSERT INTO tickets (title, number, organization_id) VALUES ('New', gen_random_uuid(), 1)",
)
VALID = "SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid"


def build() -> None:
    """It waits for old transactions as long as they take; nobody waits for it."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("SET statement_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_tickets_status")
        op.create_index(
            "ix_tickets_status", "tickets", ["status", "created_at"], postgresql_concurrently=True
        )
        op.execute("RESET lock_timeout")
        op.execute("RESET statement_timeout")


def build_down() -> None:
    """It waits for whoever still uses the index."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_tickets_status")
        op.execute("RESET lock_timeout")


def build_unique() -> None:
    """The same; it fails where two rows are equal, and leaves an index that is not valid."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("SET statement_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS uq_tickets_number")
        op.create_index(
            "uq_tickets_number", "tickets", ["number"], unique=True, postgresql_concurrently=True
        )
        op.execute("RESET lock_timeout")
        op.execute("RESET statement_timeout")


def build_unique_down() -> None:
    """As before."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS uq_tickets_number")
        op.execute("RESET lock_timeout")


def constrain() -> None:
    """The index becomes a UNIQUE constraint of the same name; no row is read."""
    op.execute(
        "ALTER TABLE tickets ADD CONSTRAINT uq_tickets_number UNIQUE USING INDEX uq_tickets_number"
    )


def naive() -> None:
    """Who writes waits until the last row is read."""
    op.create_index("ix_tickets_status", "tickets", ["status", "created_at"])


STEPS = (
    Step(build, build_down, CODE, VALID),
    Step(build_unique, build_unique_down, CODE, VALID),
    Step(constrain, None, CODE, one_way=True),
)
NAIVE = Step(naive, None, CODE)
