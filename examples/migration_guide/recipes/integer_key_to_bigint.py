"""Change a key from integer to bigint, with the foreign keys that point to it.

Problem: at 2,147,483,647 no row can be added, and ALTER TYPE writes the table, its indexes and each
table that refers to it anew under ACCESS EXCLUSIVE.  Pattern: in both tables a bigint column beside
the old one, kept in step by a trigger, filled, indexed and connected; then the columns change
names, one table a transaction.

The code stays the same, but: deploy ``BigInteger`` in the models *before* the swap (asyncpg sends
the type along), and let no connection keep prepared statements over the swap (psycopg:
``prepare_threshold=None``), else each that returns the key is refused: ``cached plan must not
change result type``.  Not for a table that is small enough to be locked for a moment.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from .step import Step

CODE = (
    "UPDATE tickets SET title = 'Printer' WHERE id = %(id)s",
    "INSERT INTO tickets (title, organization_id) VALUES ('New', 1)",
    "INSERT INTO comments (ticket_id, body) VALUES (%(id)s, 'New')",
    "UPDATE comments SET body = 'Changed' WHERE ticket_id = %(id)s",
)


def expand_tickets() -> None:
    """From here on each write fills the new column."""
    op.add_column("tickets", sa.Column("new_id", sa.BigInteger))
    op.execute(
        "CREATE FUNCTION tickets_new_id() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.new_id := NEW.id; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER tickets_new_id BEFORE INSERT OR UPDATE ON tickets "
        "FOR EACH ROW EXECUTE FUNCTION tickets_new_id()"
    )
    op.create_check_constraint(
        op.f("tickets_new_id_filled"), "tickets", "new_id IS NOT NULL", postgresql_not_valid=True
    )


def expand_tickets_down() -> None:
    """The old column has everything."""
    op.drop_column("tickets", "new_id")
    op.execute("DROP TRIGGER tickets_new_id ON tickets")
    op.execute("DROP FUNCTION tickets_new_id")


def expand_comments() -> None:
    """The same for each table that refers to it."""
    op.add_column("comments", sa.Column("new_ticket_id", sa.BigInteger))
    op.execute(
        "CREATE FUNCTION comments_new_ticket_id() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.new_ticket_id := NEW.ticket_id; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER comments_new_ticket_id BEFORE INSERT OR UPDATE ON comments "
        "FOR EACH ROW EXECUTE FUNCTION comments_new_ticket_id()"
    )
    op.create_check_constraint(
        op.f("comments_new_ticket_id_filled"),
        "comments",
        "new_ticket_id IS NOT NULL",
        postgresql_not_valid=True,
    )


def expand_comments_down() -> None:
    """The old column has everything."""
    op.drop_column("comments", "new_ticket_id")
    op.execute("DROP TRIGGER comments_new_ticket_id ON comments")
    op.execute("DROP FUNCTION comments_new_ticket_id")


def backfill() -> None:
    """A batch is a transaction: it holds a thousand rows for a moment."""
    tickets = sa.text(
        """
        WITH batch AS (
            SELECT id FROM tickets WHERE id > :done ORDER BY id LIMIT 1000
        ), filled AS (
            UPDATE tickets SET new_id = tickets.id FROM batch
            WHERE tickets.id = batch.id AND new_id IS NULL
        )
        SELECT max(id) FROM batch
        """
    )
    comments = sa.text(
        """
        WITH batch AS (
            SELECT id FROM comments WHERE id > :done ORDER BY id LIMIT 1000
        ), filled AS (
            UPDATE comments SET new_ticket_id = ticket_id FROM batch
            WHERE comments.id = batch.id AND new_ticket_id IS NULL
        )
        SELECT max(id) FROM batch
        """
    )
    with op.get_context().autocommit_block():
        for batch in (tickets, comments):
            done = 0
            while done is not None:
                done = op.get_bind().scalar(batch, {"done": done})


def index() -> None:
    """They wait for old transactions as long as it takes; nobody waits for them."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("SET statement_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS tickets_new_id_key")
        op.execute("CREATE UNIQUE INDEX CONCURRENTLY tickets_new_id_key ON tickets (new_id)")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_comments_new_ticket_id")
        op.execute(
            "CREATE INDEX CONCURRENTLY ix_comments_new_ticket_id ON comments (new_ticket_id)"
        )
        op.execute("RESET lock_timeout")
        op.execute("RESET statement_timeout")


def index_down() -> None:
    """As before."""
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_comments_new_ticket_id")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS tickets_new_id_key")
        op.execute("RESET lock_timeout")


def connect() -> None:
    """A unique index is enough for a foreign key to point to.  No row is looked at."""
    op.create_foreign_key(
        op.f("comments_new_ticket_id_fkey"),
        "comments",
        "tickets",
        ["new_ticket_id"],
        ["new_id"],
        ondelete="CASCADE",
        postgresql_not_valid=True,
    )


def connect_down() -> None:
    """The old foreign key is still there."""
    op.drop_constraint("comments_new_ticket_id_fkey", "comments")


def validate() -> None:
    """It reads both tables, and nobody waits for it."""
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("ALTER TABLE tickets VALIDATE CONSTRAINT tickets_new_id_filled")
    op.execute("ALTER TABLE comments VALIDATE CONSTRAINT comments_new_ticket_id_filled")
    op.execute("ALTER TABLE comments VALIDATE CONSTRAINT comments_new_ticket_id_fkey")


def disconnect() -> None:
    """The new foreign key holds alone; the old primary key is free to go."""
    op.drop_constraint("comments_ticket_id_fkey", "comments")


def disconnect_down() -> None:
    """It comes back unproved; the new one has proved the same."""
    op.create_foreign_key(
        op.f("comments_ticket_id_fkey"),
        "comments",
        "tickets",
        ["ticket_id"],
        ["id"],
        ondelete="CASCADE",
        postgresql_not_valid=True,
    )


def swap_tickets() -> None:
    """The columns change names, and the numbers go on where they are: not at max(id) + 1, for the
    numbers of deleted tickets stand in letters and links."""
    op.execute("LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE")
    last = op.get_bind().scalar(sa.text("SELECT last_value FROM tickets_id_seq"))
    op.execute("DROP TRIGGER tickets_new_id ON tickets")
    op.execute("DROP FUNCTION tickets_new_id")
    op.alter_column("tickets", "new_id", nullable=False)
    op.drop_constraint("tickets_new_id_filled", "tickets")
    op.drop_constraint("tickets_pkey", "tickets")
    op.execute("ALTER TABLE tickets ALTER id DROP IDENTITY, ALTER id DROP NOT NULL")
    op.alter_column("tickets", "id", new_column_name="old_id")
    op.alter_column("tickets", "new_id", new_column_name="id")
    op.execute(
        "ALTER TABLE tickets ADD CONSTRAINT tickets_pkey PRIMARY KEY USING INDEX tickets_new_id_key"
    )
    op.execute(
        f"ALTER TABLE tickets ALTER id ADD GENERATED BY DEFAULT AS IDENTITY (START WITH {last + 1})"
    )


def swap_comments() -> None:
    """The same for each table that refers to it."""
    op.execute("DROP TRIGGER comments_new_ticket_id ON comments")
    op.execute("DROP FUNCTION comments_new_ticket_id")
    op.alter_column("comments", "new_ticket_id", nullable=False)
    op.drop_constraint("comments_new_ticket_id_filled", "comments")
    op.alter_column("comments", "ticket_id", new_column_name="old_ticket_id", nullable=True)
    op.alter_column("comments", "new_ticket_id", new_column_name="ticket_id")
    op.execute(
        "ALTER TABLE comments "
        "RENAME CONSTRAINT comments_new_ticket_id_fkey TO comments_ticket_id_fkey"
    )
    op.execute("ALTER INDEX ix_comments_ticket_id RENAME TO ix_comments_old_ticket_id")
    op.execute("ALTER INDEX ix_comments_new_ticket_id RENAME TO ix_comments_ticket_id")


def contract() -> None:
    """Each in a transaction of its own, and as often as it takes."""
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE comments DROP COLUMN IF EXISTS old_ticket_id")
        op.execute("ALTER TABLE tickets DROP COLUMN IF EXISTS old_id")


def naive() -> None:
    """Both tables are written anew, with all their indexes, while everybody waits."""
    op.alter_column("tickets", "id", type_=sa.BigInteger)
    op.alter_column("comments", "ticket_id", type_=sa.BigInteger)


STEPS = (
    Step(expand_tickets, expand_tickets_down, CODE),
    Step(expand_comments, expand_comments_down, CODE),
    Step(
        backfill,
        None,
        CODE,
        "SELECT id FROM tickets WHERE new_id IS DISTINCT FROM id "
        "UNION ALL SELECT id FROM comments WHERE new_ticket_id IS DISTINCT FROM ticket_id",
    ),
    Step(index, index_down, CODE, "SELECT indexrelid FROM pg_index WHERE NOT indisvalid"),
    Step(connect, connect_down, CODE),
    Step(validate, None, CODE, "SELECT conname FROM pg_constraint WHERE NOT convalidated"),
    Step(disconnect, disconnect_down, CODE),
    Step(swap_tickets, None, CODE, one_way=True),
    Step(swap_comments, None, CODE, one_way=True),
    Step(contract, None, CODE, one_way=True),
)
NAIVE = Step(naive, None, CODE)
