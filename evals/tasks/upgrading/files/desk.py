"""The desk's database code, written for SQLAlchemy 2.0 and psycopg2."""

from __future__ import annotations

import enum
from typing import Any

from sqlalchemy import (
    ARRAY,
    Computed,
    Engine,
    Enum,
    ForeignKey,
    Index,
    Text,
    create_engine,
    insert,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Status(enum.Enum):
    open = "open"
    solved = "solved"


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)


class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (Index("ix_tickets_search", "search", postgresql_using="gin"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(unique=True)
    title: Mapped[str]
    status: Mapped[Status] = mapped_column(Enum(Status, name="ticket_status"), default=Status.open)
    labels: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    creator_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    search: Mapped[str] = mapped_column(TSVECTOR, Computed("to_tsvector('english', title)"))

    @hybrid_property
    def label(self) -> str:
        return f"TCK-{self.number:05d}"


def make_engine(url: str) -> Engine:
    return create_engine(url, executemany_mode="values_plus_batch")


def create_desk(engine: Engine) -> None:
    Base.metadata.create_all(engine)


def drop_desk(engine: Engine) -> None:
    for table in reversed(Base.metadata.sorted_tables):
        table.drop(engine)


def add_user(session: Session, email: str) -> bool:
    """False where the e-mail is taken."""
    try:
        with session.begin_nested():
            session.add(User(email=email))
    except IntegrityError as error:
        if error.orig.pgcode == "23505":
            return False
        raise
    return True


def add_ticket(session: Session, creator_id: int, title: str) -> Ticket:
    """The new ticket, with the next number."""
    ticket = Ticket(title=title, creator_id=creator_id)
    session.add(ticket)
    next_number = text("SELECT coalesce(max(number), 0) + 1 FROM tickets")
    ticket.number = session.execute(next_number).scalar_one()
    session.flush()
    return ticket


def import_tickets(session: Session, rows: list[dict[str, Any]]) -> None:
    """Insert many rows of number, title, creator_id."""
    session.execute(insert(Ticket), rows)


def tickets_of(session: Session, user_id: int) -> list[Ticket]:
    """The user's tickets, by number."""
    query = select(Ticket).join(User, User.id == Ticket.creator_id).filter_by(id=user_id)
    return list(session.scalars(query.order_by(Ticket.number)))


def newest_of_each(session: Session) -> list[Ticket]:
    """The ticket with the highest number of each user, by user."""
    query = select(Ticket).distinct(Ticket.creator_id)
    return list(session.scalars(query.order_by(Ticket.creator_id, Ticket.number.desc())))


def labelled(session: Session, label: str) -> list[Ticket]:
    """The tickets that have the label, by number."""
    query = select(Ticket).where(Ticket.labels.any(label))
    return list(session.scalars(query.order_by(Ticket.number)))
