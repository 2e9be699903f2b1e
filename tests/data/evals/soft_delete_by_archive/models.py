"""Users, their tickets and the comments: live ones in the tables, deleted ones in an archive.

The schema ``archive`` holds tables of the same form, without constraints; the views of ``whole``
hold both.
"""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import DDL, DateTime, Identity, Text, UniqueConstraint, event, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {str: Text, datetime: DateTime(timezone=True)}


class User(Base):
    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("email", name="uq_users_email"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    email: Mapped[str]
    full_name: Mapped[str]
    tickets: Mapped[list["Ticket"]] = relationship(
        back_populates="creator",
        order_by="Ticket.id",
        primaryjoin="User.id == foreign(Ticket.creator_id)",
    )


class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (UniqueConstraint("number", name="uq_tickets_number"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    number: Mapped[str]
    title: Mapped[str]
    creator_id: Mapped[int] = mapped_column(index=True)  # live or not
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    creator: Mapped[User | None] = relationship(
        back_populates="tickets", primaryjoin="User.id == foreign(Ticket.creator_id)"
    )
    comments: Mapped[list["Comment"]] = relationship(
        back_populates="ticket",
        order_by="Comment.id",
        primaryjoin="Ticket.id == foreign(Comment.ticket_id)",
    )


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    body: Mapped[str]
    ticket_id: Mapped[int] = mapped_column(index=True)
    ticket: Mapped[Ticket] = relationship(
        back_populates="comments", primaryjoin="Ticket.id == foreign(Comment.ticket_id)"
    )


TWICE = "; ".join(
    ["CREATE SCHEMA archive; CREATE SCHEMA whole"]
    + [
        f"CREATE TABLE archive.{name} (LIKE public.{name}); CREATE VIEW whole.{name} AS"
        f" SELECT * FROM public.{name} UNION ALL SELECT * FROM archive.{name}"
        for name in Base.metadata.tables
    ]
)
event.listen(Base.metadata, "after_create", DDL(TWICE))  # type: ignore[no-untyped-call]
