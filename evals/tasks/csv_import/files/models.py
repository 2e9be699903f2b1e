"""Tickets, as the old system exports them."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import DateTime, Identity, Numeric, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    type_annotation_map = {
        str: Text,
        datetime: DateTime(timezone=True),
        Decimal: Numeric(8, 2),
    }


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    number: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    hours: Mapped[Decimal | None]
    opened_at: Mapped[datetime]
