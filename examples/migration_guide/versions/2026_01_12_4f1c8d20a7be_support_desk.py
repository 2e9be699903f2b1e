"""The support desk: organizations, users, tickets and what hangs on them.

Locks: none that anybody waits for; every table is new.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "4f1c8d20a7be"
down_revision: str | tuple[str, ...] | None = None
branch_labels: str | tuple[str, ...] | None = None
depends_on: str | tuple[str, ...] | None = None

# Frozen here: a revision never imports the models, which go on changing.
STATUSES = "('open', 'in_progress', 'resolved', 'closed')"


def key() -> sa.Column[int]:
    """The surrogate key that most tables have."""
    return sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False)


def moment(name: str) -> sa.Column[object]:
    """A timestamp that the server sets."""
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
    )


def reference(table: str, column: str, target: str, ondelete: str) -> sa.ForeignKeyConstraint:
    """A foreign key, named by the convention."""
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, ondelete=ondelete)


def upgrade() -> None:
    """Parents first."""
    op.execute(sa.schema.CreateSequence(sa.Sequence("ticket_numbers")))
    op.create_table(
        "organizations",
        key(),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("slug", sa.Text, nullable=False),
        moment("created_at"),
        moment("updated_at"),
        sa.CheckConstraint(
            "slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'", name=op.f("ck_organizations_slug_format")
        ),
        sa.CheckConstraint("btrim(name) <> ''", name=op.f("ck_organizations_name_not_blank")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
        sa.UniqueConstraint("slug", name=op.f("uq_organizations_slug")),
    )
    op.create_table(
        "users",
        key(),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("full_name", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("is_active", sa.Boolean, server_default=sa.text("true"), nullable=False),
        sa.Column("is_staff", sa.Boolean, server_default=sa.text("false"), nullable=False),
        sa.Column("last_login", sa.DateTime(timezone=True)),
        sa.Column("organization_id", sa.BigInteger),
        moment("created_at"),
        moment("updated_at"),
        sa.CheckConstraint("email LIKE '_%@_%'", name=op.f("ck_users_email_format")),
        reference("users", "organization_id", "organizations", "RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_index(op.f("ix_users_organization_id"), "users", ["organization_id"])
    op.create_index("uq_users_email_lower", "users", [sa.text("lower(email)")], unique=True)
    op.create_table(
        "tags",
        key(),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("color", sa.Text, server_default="#808080", nullable=False),
        sa.Column("description", sa.Text),
        moment("created_at"),
        sa.CheckConstraint("color ~ '^#[0-9a-f]{6}$'", name=op.f("ck_tags_color_format")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tags")),
    )
    op.create_index("uq_tags_name_lower", "tags", [sa.text("lower(name)")], unique=True)
    create_tickets()
    create_children()


def create_tickets() -> None:
    """The tickets; their search vector is here from the start, since adding one rewrites."""
    op.create_table(
        "tickets",
        key(),
        sa.Column(
            "ticket_number",
            sa.Text,
            server_default=sa.text(
                "'TCK-' || to_char(nextval('ticket_numbers'), 'FM9999999999999000000')"
            ),
            nullable=False,
        ),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("status", sa.String(32), server_default="open", nullable=False),
        sa.Column("priority", sa.String(32), server_default="medium", nullable=False),
        sa.Column("organization_id", sa.BigInteger, nullable=False),
        sa.Column("creator_id", sa.BigInteger, nullable=False),
        sa.Column("assignee_id", sa.BigInteger),
        sa.Column("duplicate_of_id", sa.BigInteger),
        sa.Column("resolved_at", sa.DateTime(timezone=True)),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.Column("version", sa.Integer, server_default="1", nullable=False),
        sa.Column(
            "search_vector",
            postgresql.TSVECTOR,
            sa.Computed(
                "setweight(to_tsvector('english', title), 'A') || "
                "setweight(to_tsvector('english', left(description, 100000)), 'B')",
                persisted=True,
            ),
            nullable=False,
        ),
        moment("created_at"),
        moment("updated_at"),
        sa.CheckConstraint(
            "btrim(title) <> '' AND length(title) <= 500", name=op.f("ck_tickets_title_length")
        ),
        sa.CheckConstraint("duplicate_of_id <> id", name=op.f("ck_tickets_not_its_own_duplicate")),
        sa.CheckConstraint(
            "(resolved_at IS NOT NULL) = (status IN ('resolved', 'closed'))",
            name=op.f("ck_tickets_resolved_at_matches_status"),
        ),
        sa.CheckConstraint(f"status IN {STATUSES}", name=op.f("ck_tickets_ticket_status")),
        sa.CheckConstraint(
            "priority IN ('low', 'medium', 'high', 'urgent')",
            name=op.f("ck_tickets_ticket_priority"),
        ),
        reference("tickets", "organization_id", "organizations", "RESTRICT"),
        reference("tickets", "creator_id", "users", "RESTRICT"),
        reference("tickets", "assignee_id", "users", "SET NULL"),
        reference("tickets", "duplicate_of_id", "tickets", "SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tickets")),
    )
    op.create_index(op.f("ix_tickets_creator_id"), "tickets", ["creator_id"])
    op.create_index(op.f("ix_tickets_assignee_id"), "tickets", ["assignee_id"])
    op.create_index(op.f("ix_tickets_duplicate_of_id"), "tickets", ["duplicate_of_id"])
    op.create_index(
        "uq_tickets_ticket_number_live",
        "tickets",
        ["ticket_number"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_tickets_organization_id_created_at_id",
        "tickets",
        ["organization_id", sa.text("created_at DESC"), sa.text("id DESC")],
    )


def create_children() -> None:
    """What a ticket takes along when it goes."""
    op.create_table(
        "ticket_status_history",
        key(),
        sa.Column("ticket_id", sa.BigInteger, nullable=False),
        sa.Column("old_status", sa.String(32)),
        sa.Column("new_status", sa.String(32), nullable=False),
        sa.Column("changed_by_id", sa.BigInteger),
        moment("changed_at"),
        sa.CheckConstraint(
            f"old_status IN {STATUSES}", name=op.f("ck_ticket_status_history_old_status")
        ),
        sa.CheckConstraint(
            f"new_status IN {STATUSES}", name=op.f("ck_ticket_status_history_new_status")
        ),
        reference("ticket_status_history", "ticket_id", "tickets", "CASCADE"),
        reference("ticket_status_history", "changed_by_id", "users", "SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ticket_status_history")),
    )
    op.create_index(
        op.f("ix_ticket_status_history_changed_by_id"), "ticket_status_history", ["changed_by_id"]
    )
    op.create_index(
        op.f("ix_ticket_status_history_ticket_id_changed_at_id"),
        "ticket_status_history",
        ["ticket_id", "changed_at", "id"],
    )
    op.create_table(
        "comments",
        key(),
        sa.Column("ticket_id", sa.BigInteger, nullable=False),
        sa.Column("author_id", sa.BigInteger, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("is_internal", sa.Boolean, server_default=sa.text("false"), nullable=False),
        moment("created_at"),
        moment("updated_at"),
        sa.CheckConstraint("btrim(content) <> ''", name=op.f("ck_comments_content_not_blank")),
        reference("comments", "ticket_id", "tickets", "CASCADE"),
        reference("comments", "author_id", "users", "RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_comments")),
    )
    op.create_index(op.f("ix_comments_author_id"), "comments", ["author_id"])
    op.create_index(
        op.f("ix_comments_ticket_id_created_at_id"), "comments", ["ticket_id", "created_at", "id"]
    )
    op.create_table(
        "attachments",
        key(),
        sa.Column("ticket_id", sa.BigInteger, nullable=False),
        sa.Column("uploaded_by_id", sa.BigInteger),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column(
            "content_type", sa.Text, server_default="application/octet-stream", nullable=False
        ),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("storage_key", sa.Text, nullable=False),
        moment("created_at"),
        sa.CheckConstraint(
            "size_bytes BETWEEN 1 AND 26214400", name=op.f("ck_attachments_size_limit")
        ),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_attachments_sha256_format")),
        sa.CheckConstraint(
            "filename <> '' AND filename !~ '[/\\\\]'",
            name=op.f("ck_attachments_filename_is_no_path"),
        ),
        reference("attachments", "ticket_id", "tickets", "CASCADE"),
        reference("attachments", "uploaded_by_id", "users", "SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachments")),
        sa.UniqueConstraint("storage_key", name=op.f("uq_attachments_storage_key")),
    )
    op.create_index(op.f("ix_attachments_ticket_id"), "attachments", ["ticket_id"])
    op.create_index(op.f("ix_attachments_uploaded_by_id"), "attachments", ["uploaded_by_id"])
    op.create_table(
        "ticket_tags",
        sa.Column("ticket_id", sa.BigInteger, nullable=False),
        sa.Column("tag_id", sa.BigInteger, nullable=False),
        sa.Column("added_by_id", sa.BigInteger),
        moment("created_at"),
        reference("ticket_tags", "ticket_id", "tickets", "CASCADE"),
        reference("ticket_tags", "tag_id", "tags", "CASCADE"),
        reference("ticket_tags", "added_by_id", "users", "SET NULL"),
        sa.PrimaryKeyConstraint("ticket_id", "tag_id", name=op.f("pk_ticket_tags")),
    )
    op.create_index(op.f("ix_ticket_tags_tag_id"), "ticket_tags", ["tag_id"])
    op.create_index(op.f("ix_ticket_tags_added_by_id"), "ticket_tags", ["added_by_id"])


def downgrade() -> None:
    """Children first; the sequence is of no table, and goes by name."""
    for table in (
        "ticket_tags",
        "attachments",
        "comments",
        "ticket_status_history",
        "tickets",
        "tags",
        "users",
        "organizations",
    ):
        op.drop_table(table)
    op.execute(sa.schema.DropSequence(sa.Sequence("ticket_numbers")))
