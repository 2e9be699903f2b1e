"""add on_hold to ticket_status"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("ALTER TYPE ticket_status ADD VALUE 'on_hold'")
    op.execute("UPDATE tickets SET status = 'on_hold' WHERE waiting")


def downgrade() -> None:
    op.execute("UPDATE tickets SET status = 'open' WHERE status = 'on_hold'")
    op.execute("ALTER TYPE ticket_status RENAME TO ticket_status_old")
    op.execute("CREATE TYPE ticket_status AS ENUM ('open', 'resolved', 'closed')")
    op.execute("ALTER TABLE tickets ALTER COLUMN status DROP DEFAULT")
    op.execute(
        "ALTER TABLE tickets ALTER COLUMN status TYPE ticket_status"
        " USING status::text::ticket_status"
    )
    op.execute("DROP TYPE ticket_status_old")
