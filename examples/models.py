"""The schema of a customer-support desk, whole, in one file that can be copied.

Problem: a schema is the one part of a product that is hard to change later.  Pattern: let
PostgreSQL keep the rules (defaults, checks, keys, ON DELETE), let the mapping say the same, and let
an unplanned load fail at once.  Needs PostgreSQL 15 or newer and no extension.

Choices worth knowing before you copy:

* **Enumerations are checked text**, stored by value: ``'open'``, not ``'OPEN'``.  A value is added
  or removed by replacing one CHECK, in a transaction, and a downgrade does the same backwards.  A
  native type is smaller, but ``ALTER TYPE … ADD VALUE`` cannot be used in the transaction that adds
  it, and there is no ``DROP VALUE``.
* **Every timestamp has a time zone; every default is the server's**, so plain SQL inserts work.
* **``eager_defaults=True``**: UPDATE returns ``updated_at`` too; read after a flush, it would
  otherwise be a lazy load, which asyncio refuses (MissingGreenlet).
* **``lazy="raise"``** on what must be loaded on purpose, write-only on what can grow without bound.
* **A user is never deleted by accident**: tickets and comments hold their author (RESTRICT).
  Deactivate users; a ticket takes its own children along.
"""

from __future__ import annotations

import enum
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    Enum,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Sequence,
    Table,
    Text,
    event,
    func,
    inspect,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    WriteOnlyMapped,
    mapped_column,
    relationship,
)


class TicketStatus(enum.StrEnum):
    """Where a ticket stands."""

    OPEN = "open"
    IN_PROGRESS = "in_progress"
    WAITING_ON_CUSTOMER = "waiting_on_customer"
    RESOLVED = "resolved"
    CLOSED = "closed"


class TicketPriority(enum.StrEnum):
    """How urgent a ticket is; order by ``case()``, since text sorts by letter."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    URGENT = "urgent"


DONE = (TicketStatus.RESOLVED, TicketStatus.CLOSED)


def checked_text(values: type[enum.StrEnum], name: str) -> Enum:
    """A text column whose CHECK, named by convention after *name*, allows the enum's values."""
    return Enum(
        values,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=32,  # room to grow: without it the longest of today's values is the limit
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    """Names for every constraint, and one SQL type for every Python type."""

    metadata = MetaData(
        # Alembic can only drop what has a name that it can predict.
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - the declarative API's own attribute
        int: BigInteger,
        str: Text,  # PostgreSQL stores varchar(n) no better; a limit is a CHECK
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        TicketStatus: checked_text(TicketStatus, "ticket_status"),
        TicketPriority: checked_text(TicketPriority, "ticket_priority"),
    }
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012

    def __repr__(self) -> str:
        """Class and key, out of memory alone: a repr in a log line must never load."""
        key = inspect(self).identity
        return f"<{type(self).__name__} {'new' if key is None else ' '.join(map(str, key))}>"


class CreatedAt:
    """When the row was inserted: the start of its transaction."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=90)


class Timestamps(CreatedAt):
    """Also when the ORM or a Core update last changed it; plain SQL must set it itself."""

    updated_at: Mapped[datetime] = mapped_column(
        server_default=func.now(), onupdate=func.now(), sort_order=91
    )


class Organization(Timestamps, Base):
    """The tenant: a customer's company."""

    __tablename__ = "organizations"
    __table_args__ = (
        CheckConstraint("slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'", name="slug_format"),
        CheckConstraint("btrim(name) <> ''", name="name_not_blank"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str]
    slug: Mapped[str] = mapped_column(unique=True)

    users: WriteOnlyMapped[User] = relationship(
        back_populates="organization", passive_deletes="all"
    )
    tickets: WriteOnlyMapped[Ticket] = relationship(
        back_populates="organization", passive_deletes="all"
    )


class User(Timestamps, Base):
    """Somebody who signs in: a customer of an organization, or staff, who belong to none."""

    __tablename__ = "users"
    __table_args__ = (
        # Ann@x.org and ann@x.org are one mailbox. UNIQUE (email) would take both.
        Index("uq_users_email_lower", func.lower(text("email")), unique=True),
        CheckConstraint("email LIKE '_%@_%'", name="email_format"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    email: Mapped[str]
    full_name: Mapped[str]
    # In no result unless asked for by undefer(), and never loaded by accident.
    password_hash: Mapped[str] = mapped_column(deferred=True, deferred_raiseload=True)
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    is_staff: Mapped[bool] = mapped_column(server_default=text("false"))
    last_login: Mapped[datetime | None]
    organization_id: Mapped[int | None] = mapped_column(
        ForeignKey("organizations.id", ondelete="RESTRICT"), index=True
    )

    organization: Mapped[Organization | None] = relationship(back_populates="users", lazy="raise")
    tickets_created: WriteOnlyMapped[Ticket] = relationship(
        back_populates="creator", foreign_keys="Ticket.creator_id", passive_deletes="all"
    )
    tickets_assigned: WriteOnlyMapped[Ticket] = relationship(
        back_populates="assignee", foreign_keys="Ticket.assignee_id", passive_deletes=True
    )
    comments: WriteOnlyMapped[Comment] = relationship(
        back_populates="author", passive_deletes="all"
    )


ticket_numbers = Sequence("ticket_numbers", metadata=Base.metadata)


class Ticket(Timestamps, Base):
    """A customer's request.  ``deleted_at`` hides it; ``version`` refuses a lost update."""

    __tablename__ = "tickets"
    __table_args__ = (
        CheckConstraint("btrim(title) <> '' AND length(title) <= 500", name="title_length"),
        CheckConstraint("duplicate_of_id <> id", name="not_its_own_duplicate"),
        CheckConstraint(
            "(resolved_at IS NOT NULL) = (status IN ('resolved', 'closed'))",
            name="resolved_at_matches_status",
        ),
        # A number is free again once its ticket is deleted.
        Index(
            "uq_tickets_ticket_number_live",
            "ticket_number",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
        # The desk's list: one tenant's tickets, newest first, the id as tie-breaker for keysets.
        Index(
            "ix_tickets_organization_id_created_at_id",
            "organization_id",
            text("created_at DESC"),
            text("id DESC"),
        ),
        # The agent's queue: what is open, oldest first. Small: most tickets are done.
        Index(
            "ix_tickets_open_queue",
            "assignee_id",
            "created_at",
            postgresql_where=text("deleted_at IS NULL AND resolved_at IS NULL"),
        ),
        Index("ix_tickets_created_at_id", text("created_at DESC"), text("id DESC")),
        Index("ix_tickets_search_vector", "search_vector", postgresql_using="gin"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    ticket_number: Mapped[str] = mapped_column(
        # Six digits and up. lpad() would cut the millionth to TCK-100000, which is taken.
        server_default=text("'TCK-' || to_char(nextval('ticket_numbers'), 'FM9999999999999000000')")
    )
    title: Mapped[str]
    description: Mapped[str]
    status: Mapped[TicketStatus] = mapped_column(server_default=TicketStatus.OPEN.value)
    priority: Mapped[TicketPriority] = mapped_column(server_default=TicketPriority.MEDIUM.value)
    organization_id: Mapped[int] = mapped_column(
        ForeignKey("organizations.id", ondelete="RESTRICT")
    )
    creator_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), index=True)
    assignee_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
    created_by_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
    updated_by_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
    duplicate_of_id: Mapped[int | None] = mapped_column(
        ForeignKey("tickets.id", ondelete="SET NULL"), index=True
    )
    resolved_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    # persisted=True: without it, 2.1 on PostgreSQL 18 makes a virtual column, which takes no index.
    # left(): a tsvector stays below 1 MB, or its row is refused; so much text always does.
    search_vector: Mapped[str] = mapped_column(
        TSVECTOR,
        Computed(
            "setweight(to_tsvector('english', title), 'A') || "
            "setweight(to_tsvector('english', left(description, 100000)), 'B')",
            persisted=True,
        ),
        deferred=True,
        deferred_raiseload=True,
    )

    organization: Mapped[Organization] = relationship(back_populates="tickets", lazy="raise")
    creator: Mapped[User] = relationship(
        back_populates="tickets_created", foreign_keys=creator_id, lazy="raise"
    )
    assignee: Mapped[User | None] = relationship(
        back_populates="tickets_assigned", foreign_keys=assignee_id, lazy="raise"
    )
    created_by: Mapped[User | None] = relationship(foreign_keys=created_by_id, lazy="raise")
    updated_by: Mapped[User | None] = relationship(foreign_keys=updated_by_id, lazy="raise")
    duplicate_of: Mapped[Ticket | None] = relationship(
        back_populates="duplicates", remote_side=id, lazy="raise"
    )
    duplicates: Mapped[list[Ticket]] = relationship(
        back_populates="duplicate_of", passive_deletes=True, lazy="raise", order_by=id
    )
    # created_at is the transaction's time: equal for all that one transaction adds. Then the id.
    comments: Mapped[list[Comment]] = relationship(
        back_populates="ticket",
        cascade="all, delete-orphan",
        passive_deletes=True,
        lazy="raise",
        order_by="(Comment.created_at, Comment.id)",
    )
    attachments: Mapped[list[Attachment]] = relationship(
        back_populates="ticket",
        cascade="all, delete-orphan",
        passive_deletes=True,
        lazy="raise",
        order_by="Attachment.id",
    )
    tag_links: Mapped[list[TicketTag]] = relationship(
        back_populates="ticket", cascade="all, delete-orphan", passive_deletes=True, lazy="raise"
    )
    # For reading and for any(); rows are written through tag_links, which has its own columns.
    tags: Mapped[list[Tag]] = relationship(
        secondary="ticket_tags", viewonly=True, lazy="raise", order_by="Tag.name"
    )
    status_history: WriteOnlyMapped[TicketStatusHistory] = relationship(
        back_populates="ticket",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="(TicketStatusHistory.changed_at, TicketStatusHistory.id)",
    )

    __mapper_args__ = {"eager_defaults": True, "version_id_col": version}  # noqa: RUF012


class TicketStatusHistory(Base):
    """One change of a ticket's status; ``old_status`` is NULL for the first."""

    __tablename__ = "ticket_status_history"
    __table_args__ = (Index(None, "ticket_id", "changed_at", "id"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"))
    old_status: Mapped[TicketStatus | None] = mapped_column(
        checked_text(TicketStatus, "old_status")
    )
    new_status: Mapped[TicketStatus] = mapped_column(checked_text(TicketStatus, "new_status"))
    changed_by_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
    changed_at: Mapped[datetime] = mapped_column(server_default=func.now())

    ticket: Mapped[Ticket] = relationship(back_populates="status_history", lazy="raise")


class Comment(Timestamps, Base):
    """A note on a ticket: public, or internal to the desk."""

    __tablename__ = "comments"
    __table_args__ = (
        Index(None, "ticket_id", "created_at", "id"),
        CheckConstraint("btrim(content) <> ''", name="content_not_blank"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"))
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), index=True)
    content: Mapped[str]
    is_internal: Mapped[bool] = mapped_column(server_default=text("false"))

    ticket: Mapped[Ticket] = relationship(back_populates="comments", lazy="raise")
    author: Mapped[User] = relationship(back_populates="comments", lazy="raise")


class Attachment(CreatedAt, Base):
    """A file of a ticket: what it is and where it lies; the bytes are kept elsewhere."""

    __tablename__ = "attachments"
    __table_args__ = (
        CheckConstraint("size_bytes BETWEEN 1 AND 26214400", name="size_limit"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256_format"),
        CheckConstraint("filename <> '' AND filename !~ '[/\\\\]'", name="filename_is_no_path"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), index=True)
    uploaded_by_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
    filename: Mapped[str]
    content_type: Mapped[str] = mapped_column(server_default="application/octet-stream")
    size_bytes: Mapped[int]
    sha256: Mapped[str]
    storage_key: Mapped[str] = mapped_column(unique=True)

    ticket: Mapped[Ticket] = relationship(back_populates="attachments", lazy="raise")


class Tag(CreatedAt, Base):
    """A label of the desk."""

    __tablename__ = "tags"
    __table_args__ = (
        CheckConstraint("color ~ '^#[0-9a-f]{6}$'", name="color_format"),
        Index("uq_tags_name_lower", func.lower(text("name")), unique=True),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str]
    color: Mapped[str] = mapped_column(server_default="#808080")
    description: Mapped[str | None]

    ticket_links: WriteOnlyMapped[TicketTag] = relationship(
        back_populates="tag", cascade="all, delete-orphan", passive_deletes=True
    )


class TicketTag(CreatedAt, Base):
    """That a ticket bears a tag, since when, and who said so."""

    __tablename__ = "ticket_tags"

    ticket_id: Mapped[int] = mapped_column(
        ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True
    )
    # The key serves "tags of a ticket"; "tickets of a tag" needs an index of its own.
    tag_id: Mapped[int] = mapped_column(
        ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    added_by_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )

    ticket: Mapped[Ticket] = relationship(back_populates="tag_links", lazy="raise")
    tag: Mapped[Tag] = relationship(back_populates="ticket_links", lazy="raise")


class AuditLog(Base):
    """Who changed what; partitioned by month, so that old months can be detached and archived.

    No foreign key: the log outlives the rows and the users that it tells of.
    """

    __tablename__ = "audit_log"
    __table_args__ = (
        CheckConstraint("action IN ('INSERT', 'UPDATE', 'DELETE')", name="action"),
        Index(None, "table_name", "record_id", "created_at"),
        Index(None, "user_id", "created_at"),
        {"postgresql_partition_by": "RANGE (created_at)"},
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    # A partitioned table's key must contain the column that it is partitioned by.
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), primary_key=True)
    table_name: Mapped[str]
    record_id: Mapped[int]
    action: Mapped[str]
    user_id: Mapped[int | None]
    changes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))


def audit_partition_ddl(month: date) -> str:
    """The statement that makes the partition of *month*, its first day included (UTC)."""
    first = month.replace(day=1)
    following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return (
        f"CREATE TABLE IF NOT EXISTS audit_log_{first:%Y_%m} PARTITION OF audit_log "
        f"FOR VALUES FROM ('{first} 00:00:00+00') TO ('{following} 00:00:00+00')"
    )


def make_default_partition(table: Table) -> None:
    """Catch the rows of months that nobody made a partition for: an audit must not be refused."""
    event.listen(
        table,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]
            "CREATE TABLE IF NOT EXISTS audit_log_default PARTITION OF %(fullname)s DEFAULT"
        ),
    )


make_default_partition(Base.metadata.tables["audit_log"])


class OutboxMessage(CreatedAt, Base):
    """A message written in the transaction of its cause, and sent after the commit."""

    __tablename__ = "outbox_messages"
    __table_args__ = (
        CheckConstraint("attempts >= 0", name="attempts_not_negative"),
        # The relay looks for what is due and not sent: a handful of rows out of many.
        Index(
            "ix_outbox_messages_pending",
            "available_at",
            "id",
            postgresql_where=text("processed_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    topic: Mapped[str]
    payload: Mapped[dict[str, Any]]
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    processed_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    last_error: Mapped[str | None]


class ImportCheckpoint(Timestamps, Base):
    """How far an import came, so that it can go on after a crash instead of starting over."""

    __tablename__ = "import_checkpoints"
    __table_args__ = (CheckConstraint("rows_done >= 0", name="rows_done_not_negative"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    source: Mapped[str] = mapped_column(unique=True)
    position: Mapped[str] = mapped_column(server_default="")
    rows_done: Mapped[int] = mapped_column(server_default="0")
    finished_at: Mapped[datetime | None]
