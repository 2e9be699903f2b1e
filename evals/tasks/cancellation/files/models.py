"""Agents and tickets."""

from sqlalchemy import ForeignKey, Identity
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Agent(Base):
    __tablename__ = "agents"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str]
    open_tickets: Mapped[int] = mapped_column(server_default="0")


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    title: Mapped[str]
    agent_id: Mapped[int | None] = mapped_column(ForeignKey("agents.id"), index=True)
