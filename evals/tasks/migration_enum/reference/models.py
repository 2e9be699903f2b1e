"""Tickets and where they stand."""

import enum

from sqlalchemy import Enum, Identity, Index, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Status(enum.StrEnum):
    OPEN = "open"
    ON_HOLD = "on_hold"
    RESOLVED = "resolved"
    CLOSED = "closed"


STATUS = Enum(
    Status, name="ticket_status", values_callable=lambda members: [m.value for m in members]
)


class Base(DeclarativeBase):
    type_annotation_map = {str: Text, Status: STATUS}


class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (
        Index("ix_tickets_open", "id", postgresql_where=text("status = 'open'::ticket_status")),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    title: Mapped[str]
    waiting: Mapped[bool] = mapped_column(server_default=text("false"))
    status: Mapped[Status] = mapped_column(server_default=Status.OPEN.value)
