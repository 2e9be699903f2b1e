"""add tickets.channel"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tickets", sa.Column("channel", sa.Text(), nullable=True))
    op.execute("UPDATE tickets SET channel = CASE source WHEN 'portal' THEN 'web' ELSE 'email' END")
    op.alter_column("tickets", "channel", nullable=False)


def downgrade() -> None:
    op.drop_column("tickets", "channel")
