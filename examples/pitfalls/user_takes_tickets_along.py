"""Let no delete cascade start at a user

`cascade="all, delete-orphan"` is for what a row owns. From a user it deletes everybody's tickets
with their comments, past any soft delete. Deactivate users, and let ON DELETE RESTRICT refuse the
rest. See `references/relationships.md`.
"""

from sqlalchemy import ForeignKey, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from ..models import Ticket as DeskTicket
from ..models import User as DeskUser
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "mapping"
SYMPTOM = Returns(
    wrong=0, right=1, meaning="how many tickets are left when their creator is removed"
)
SOURCE = ("Cascades", "https://docs.sqlalchemy.org/en/21/orm/cascades.html")
TICKETS = select(func.count()).select_from(DeskTicket)


def broken(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Ticket(Base):
        __tablename__ = "tickets"
        id: Mapped[int] = mapped_column(primary_key=True)
        creator_id: Mapped[int] = mapped_column(ForeignKey("users.id"))

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        tickets: Mapped[list[Ticket]] = relationship(cascade="all, delete-orphan")

    creator_id = a_ticket(session).creator_id
    session.delete(session.get_one(User, creator_id))
    session.flush()
    return session.scalar(TICKETS)


def fixed(session: Session) -> object:
    creator_id = a_ticket(session).creator_id
    session.get_one(DeskUser, creator_id).is_active = False
    session.flush()
    return session.scalar(TICKETS)


def a_ticket(session: Session) -> DeskTicket:
    """A new ticket, flushed."""
    ticket = make_ticket()
    session.add(ticket)
    session.flush()
    return ticket
