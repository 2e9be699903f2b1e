"""Import every module with models before the first query

The first query configures all mappers of the registry. One relationship to a class that is missing,
or whose module nobody has imported yet, fails every query, of other classes too.
"""

from typing import Any

from sqlalchemy import ForeignKey, select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from ._symptom import Raises

FAMILY = "mapping"
SYMPTOM = Raises(InvalidRequestError, "expression 'Attachment' failed to locate a name")
RULE = "broken-mapper"
SOURCE = (
    "Late-Evaluation of Relationship Arguments",
    "https://docs.sqlalchemy.org/en/21/orm/basic_relationships.html"
    "#late-evaluation-of-relationship-arguments",
)


def broken(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Ticket(Base):
        __tablename__ = "tickets"
        id: Mapped[int] = mapped_column(primary_key=True)
        attachments: Mapped[list[Any]] = relationship("Attachment")

    try:
        return session.scalars(select(Ticket.id)).all()
    finally:
        Base.registry.dispose()


def fixed(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Ticket(Base):
        __tablename__ = "tickets"
        id: Mapped[int] = mapped_column(primary_key=True)
        attachments: Mapped[list[Any]] = relationship("Attachment")

    class Attachment(Base):  # in a module that models/__init__.py imports
        __tablename__ = "attachments"
        id: Mapped[int] = mapped_column(primary_key=True)
        ticket_id: Mapped[int] = mapped_column(ForeignKey(Ticket.id))

    return session.scalars(select(Ticket.id)).all()
