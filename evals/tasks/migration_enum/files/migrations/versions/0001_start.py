"""tickets"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tickets",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("waiting", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "status",
            sa.Enum("open", "resolved", "closed", name="ticket_status"),
            server_default="open",
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_tickets_open",
        "tickets",
        ["id"],
        postgresql_where=sa.text("status = 'open'::ticket_status"),
    )
    op.execute(
        "CREATE VIEW live_tickets AS SELECT id, title, status FROM tickets WHERE status <> 'closed'"
    )
    op.execute("COMMENT ON TYPE ticket_status IS 'where a ticket stands'")


def downgrade() -> None:
    op.execute("DROP VIEW live_tickets")
    op.drop_table("tickets")
    op.execute("DROP TYPE ticket_status")
