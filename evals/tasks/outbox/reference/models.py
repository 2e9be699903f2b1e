"""Customers and their tickets."""

from datetime import datetime

from sqlalchemy import DateTime, ForeignKey, Identity, Index, Text, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    type_annotation_map = {str: Text, datetime: DateTime(timezone=True)}


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    title: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="open")
    resolved_at: Mapped[datetime | None]
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"), index=True)
    duplicate_of_id: Mapped[int | None] = mapped_column(
        ForeignKey("tickets.id", deferrable=True, initially="DEFERRED"), index=True
    )
    customer: Mapped[Customer] = relationship()


class Message(Base):
    """An e-mail that is due since its transaction committed."""

    __tablename__ = "outbox_messages"
    __table_args__ = (
        Index("ix_outbox_messages_due", "id", postgresql_where=text("sent_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), index=True)
    recipient: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    sent_at: Mapped[datetime | None]
