"""Tickets, 80 million of them."""

from sqlalchemy import Identity, Index, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    type_annotation_map = {str: Text}


class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (Index("ix_tickets_source", "source"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    title: Mapped[str]
    source: Mapped[str]
    channel: Mapped[str]
