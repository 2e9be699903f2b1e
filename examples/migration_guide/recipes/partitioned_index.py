"""Index a partitioned table.

Problem: CREATE INDEX on it locks all partitions against writers, and CONCURRENTLY is refused.
Pattern: an index of the parent ONLY, which is not valid and reads nothing; one on each partition,
CONCURRENTLY; attach these, which locks the new index alone and for a moment; with the last one the
parent's becomes valid.  A partition that is created meanwhile gets its index with the table.  Not
for partitions of partitions, and a unique index needs the partition key in it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from .step import Step

CODE = (
    "INSERT INTO events (ticket_id, kind, happened_at) "
    "VALUES (%(id)s, 'closed', timestamptz '2026-02-10 00:00+00')",
    "UPDATE events SET kind = 'reopened' WHERE id = %(id)s",
)


def parent() -> None:
    """New partitions get the index from here on; the old ones are not looked at."""
    op.execute("CREATE INDEX ix_events_ticket_id ON ONLY events (ticket_id)")


def parent_down() -> None:
    """It takes along what is attached."""
    op.drop_index("ix_events_ticket_id", "events")


def partitions() -> None:
    """One after another, as often as it takes: what is attached already is passed over.

    They are asked for, not named here: no two databases have the same months.
    """
    todo = sa.text(
        """
        SELECT quote_ident(n.nspname), quote_ident(c.relname),
            quote_ident(left(c.relname, 40) || '_ticket_id_idx')
        FROM pg_inherits AS p
        JOIN pg_class AS c ON c.oid = p.inhrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE p.inhparent = 'events'::regclass AND NOT EXISTS (
            SELECT FROM pg_index AS i JOIN pg_inherits AS h ON h.inhrelid = i.indexrelid
            WHERE i.indrelid = c.oid AND h.inhparent = 'ix_events_ticket_id'::regclass
        )
        ORDER BY c.relname
        """
    )
    with op.get_context().autocommit_block():
        for schema, table, index in op.get_bind().execute(todo).all():
            op.execute("SET lock_timeout = 0")
            op.execute("SET statement_timeout = 0")
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema}.{index}")
            op.execute(f"CREATE INDEX CONCURRENTLY {index} ON {schema}.{table} (ticket_id)")
            op.execute("RESET lock_timeout")
            op.execute("RESET statement_timeout")
            op.execute(f"ALTER INDEX ix_events_ticket_id ATTACH PARTITION {schema}.{index}")


def naive() -> None:
    """All partitions at once: who writes to any of them waits until the last row is read."""
    op.create_index("ix_events_ticket_id", "events", ["ticket_id"])


STEPS = (
    Step(parent, parent_down, CODE),
    Step(
        partitions,
        None,
        CODE,
        "SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid",
        one_way=True,
    ),
)
NAIVE = Step(naive, None, CODE)
