"""The audit log, partitioned by month; the outbox; the checkpoints of imports.

Locks: none that anybody waits for; every table is new.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "91d3b5e6c0f4"
down_revision: str | tuple[str, ...] | None = "4f1c8d20a7be"
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None


def upgrade() -> None:
    """Months get their partitions by a job, not by a revision; the default one catches the rest."""
    now = sa.text("now()")
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("record_id", sa.BigInteger, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("user_id", sa.BigInteger),
        sa.Column(
            "changes", postgresql.JSONB, server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.CheckConstraint(
            "action IN ('INSERT', 'UPDATE', 'DELETE')", name=op.f("ck_audit_log_action")
        ),
        sa.PrimaryKeyConstraint("id", "created_at", name=op.f("pk_audit_log")),
        postgresql_partition_by="RANGE (created_at)",
    )
    op.create_index(
        op.f("ix_audit_log_table_name_record_id_created_at"),
        "audit_log",
        ["table_name", "record_id", "created_at"],
    )
    op.create_index(op.f("ix_audit_log_user_id_created_at"), "audit_log", ["user_id", "created_at"])
    op.execute("CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT")
    op.create_table(
        "outbox_messages",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("payload", postgresql.JSONB, nullable=False),
        sa.Column("available_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("processed_at", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer, server_default="0", nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_outbox_messages_attempts_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_messages")),
    )
    op.create_index(
        "ix_outbox_messages_pending",
        "outbox_messages",
        ["available_at", "id"],
        postgresql_where=sa.text("processed_at IS NULL"),
    )
    op.create_table(
        "import_checkpoints",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("position", sa.Text, server_default="", nullable=False),
        sa.Column("rows_done", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.CheckConstraint(
            "rows_done >= 0", name=op.f("ck_import_checkpoints_rows_done_not_negative")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_checkpoints")),
        sa.UniqueConstraint("source", name=op.f("uq_import_checkpoints_source")),
    )


def downgrade() -> None:
    """The partitions, whichever there are by now, go with their table."""
    op.drop_table("import_checkpoints")
    op.drop_table("outbox_messages")
    op.drop_table("audit_log")
