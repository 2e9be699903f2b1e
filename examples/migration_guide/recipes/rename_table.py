"""Rename a table.

Problem: RENAME takes a moment, and from then on each statement of the old code is an error.
Pattern: rename, and in the same transaction leave a view under the old name; PostgreSQL writes
through a view of one table.  Not for code that truncates the table or COPYs into it, and no new
foreign key can point to a view: such code is changed first.
"""

from __future__ import annotations

from alembic import op

from .step import Step

OLD = (
    "INSERT INTO comments (ticket_id, body) VALUES (%(id)s, 'Old') RETURNING id, created_at",
    "UPDATE comments SET body = 'Changed' WHERE id = %(id)s",
    "SELECT id, body FROM comments WHERE ticket_id = %(id)s ORDER BY id LIMIT 1 FOR UPDATE",
)
NEW = (
    "INSERT INTO replies (ticket_id, body) VALUES (%(id)s, 'New') RETURNING id, created_at",
    "UPDATE replies SET body = 'Changed' WHERE id = %(id)s",
    "DELETE FROM replies WHERE ticket_id = %(id)s AND body = 'New'",
)


def rename() -> None:
    """The old code runs, and does not notice.  Then deploy the new code."""
    op.rename_table("comments", "replies")
    # As whoever asks, not as the view's owner: grants and row security hold as before.  Columns by
    # name: the view stays as it is when the table gets another.
    op.execute(
        "CREATE VIEW comments WITH (security_invoker = true) AS "
        "SELECT id, ticket_id, body, created_at FROM replies"
    )
    # To everybody: the view asks whether they may do so to the table.
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON comments TO PUBLIC")


def rename_down() -> None:
    """The view goes, the table gets its name back, in one transaction."""
    op.execute("DROP VIEW comments")
    op.rename_table("replies", "comments")


def contract() -> None:
    """Only the new code runs.  What belongs to the table is renamed, the sequence last: an INSERT
    holds the table when it asks for that, and would be a deadlock."""
    op.execute("DROP VIEW comments")
    op.execute("ALTER TABLE replies RENAME CONSTRAINT comments_pkey TO replies_pkey")
    op.execute(
        "ALTER TABLE replies RENAME CONSTRAINT comments_ticket_id_fkey TO replies_ticket_id_fkey"
    )
    op.execute("ALTER INDEX ix_comments_ticket_id RENAME TO ix_replies_ticket_id")
    op.execute("ALTER SEQUENCE comments_id_seq RENAME TO replies_id_seq")


def contract_down() -> None:
    """The table comes first again: an INSERT holds it, and then asks for the sequence."""
    op.execute("ALTER TABLE replies RENAME CONSTRAINT replies_pkey TO comments_pkey")
    op.execute(
        "ALTER TABLE replies RENAME CONSTRAINT replies_ticket_id_fkey TO comments_ticket_id_fkey"
    )
    op.execute("ALTER INDEX ix_replies_ticket_id RENAME TO ix_comments_ticket_id")
    op.execute("ALTER SEQUENCE replies_id_seq RENAME TO comments_id_seq")
    op.execute(
        "CREATE VIEW comments WITH (security_invoker = true) AS "
        "SELECT id, ticket_id, body, created_at FROM replies"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON comments TO PUBLIC")


def naive() -> None:
    """One step, a moment long, and an error for each statement of the old code."""
    op.rename_table("comments", "replies")


STEPS = (
    Step(rename, rename_down, OLD),
    Step(contract, contract_down, NEW),
)
NAIVE = Step(naive, None, OLD)
