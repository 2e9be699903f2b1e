"""tickets.channel: add, fill in batches, NOT NULL without a blocking scan"""

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BATCH = 10_000


def upgrade() -> None:
    # Each statement is its own transaction and can be repeated: a failure leaves no harm.
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        connection.execute(text("SET lock_timeout = '2s'"))
        connection.execute(text("ALTER TABLE tickets ADD COLUMN IF NOT EXISTS channel text"))
        first, last = connection.execute(text("SELECT min(id), max(id) FROM tickets")).one()
        fill = text(
            "UPDATE tickets SET channel = CASE source WHEN 'portal' THEN 'web' ELSE 'email' END"
            " WHERE id >= :first AND id < :next AND channel IS NULL"
        )
        for start in range(first or 0, (last or -1) + 1, BATCH):
            connection.execute(fill, {"first": start, "next": start + BATCH})
        connection.execute(text("ALTER TABLE tickets DROP CONSTRAINT IF EXISTS channel_present"))
        connection.execute(
            text(
                "ALTER TABLE tickets ADD CONSTRAINT channel_present"
                " CHECK (channel IS NOT NULL) NOT VALID"
            )
        )
        connection.execute(text("ALTER TABLE tickets VALIDATE CONSTRAINT channel_present"))
        # The valid CHECK is the proof: no scan.
        connection.execute(text("ALTER TABLE tickets ALTER COLUMN channel SET NOT NULL"))
        connection.execute(text("ALTER TABLE tickets DROP CONSTRAINT channel_present"))
        connection.execute(text("RESET lock_timeout"))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute("ALTER TABLE tickets DROP COLUMN IF EXISTS channel")
