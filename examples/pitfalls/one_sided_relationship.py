"""Name the other side of a relationship by `back_populates`

Else two relationships over one foreign key know nothing of each other: a comment that is put into
a ticket's list has no ticket until it is loaded again.
"""

from sqlalchemy import ForeignKey
from sqlalchemy.exc import SAWarning
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from ._symptom import Warns

FAMILY = "mapping"
SYMPTOM = Warns(SAWarning, "which conflicts with relationship(s)")
RULE = "overlapping-relationships"
SOURCE = (
    "relationship X will copy column Q to column P",
    "https://docs.sqlalchemy.org/en/21/errors.html#error-qzyx",
)


def broken(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Ticket(Base):
        __tablename__ = "tickets"
        id: Mapped[int] = mapped_column(primary_key=True)
        comments: Mapped[list["Comment"]] = relationship()

    class Comment(Base):
        __tablename__ = "comments"
        id: Mapped[int] = mapped_column(primary_key=True)
        ticket_id: Mapped[int] = mapped_column(ForeignKey(Ticket.id))
        ticket: Mapped[Ticket] = relationship()

    return Ticket(comments=[comment := Comment()]) and comment.ticket


def fixed(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Ticket(Base):
        __tablename__ = "tickets"
        id: Mapped[int] = mapped_column(primary_key=True)
        comments: Mapped[list["Comment"]] = relationship(back_populates="ticket")

    class Comment(Base):
        __tablename__ = "comments"
        id: Mapped[int] = mapped_column(primary_key=True)
        ticket_id: Mapped[int] = mapped_column(ForeignKey(Ticket.id))
        ticket: Mapped[Ticket] = relationship(back_populates="comments")

    return Ticket(comments=[comment := Comment()]) and comment.ticket
