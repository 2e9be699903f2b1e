"""Customers and their tickets."""

from datetime import datetime

from sqlalchemy import DateTime, ForeignKey, Identity, Text
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
