"""ticket_status: on_hold"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A new value cannot be used in the transaction that adds it.
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE ticket_status ADD VALUE IF NOT EXISTS 'on_hold' AFTER 'open'")
    op.execute("UPDATE tickets SET status = 'on_hold' WHERE waiting AND status = 'open'")


def downgrade() -> None:
    op.execute("UPDATE tickets SET status = 'open' WHERE status = 'on_hold'")
    # What depends on the type goes first and comes back last.
    op.execute("DROP VIEW live_tickets")
    op.execute("DROP INDEX ix_tickets_open")
    op.execute("ALTER TYPE ticket_status RENAME TO ticket_status_old")
    op.execute("CREATE TYPE ticket_status AS ENUM ('open', 'resolved', 'closed')")
    op.execute("COMMENT ON TYPE ticket_status IS 'where a ticket stands'")
    op.execute("ALTER TABLE tickets ALTER COLUMN status DROP DEFAULT")
    op.execute(
        "ALTER TABLE tickets ALTER COLUMN status TYPE ticket_status"
        " USING status::text::ticket_status"
    )
    op.execute("ALTER TABLE tickets ALTER COLUMN status SET DEFAULT 'open'")
    op.execute("DROP TYPE ticket_status_old")
    op.execute("CREATE INDEX ix_tickets_open ON tickets (id) WHERE status = 'open'::ticket_status")
    op.execute(
        "CREATE VIEW live_tickets AS SELECT id, title, status FROM tickets WHERE status <> 'closed'"
    )
