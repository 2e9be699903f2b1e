"""Give a relationship its foreign key

A column that holds a user's id is a number until `ForeignKey` says whose. Where the database has no
such constraint, say the condition: `primaryjoin` with `foreign()`.
"""

from sqlalchemy import ForeignKey, select
from sqlalchemy.exc import NoForeignKeysError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from ..models import User
from ._symptom import Raises

FAMILY = "mapping"
SYMPTOM = Raises(NoForeignKeysError, "Could not determine join condition between parent/child")
RULE = "broken-mapper"
SOURCE = (
    "Creating Custom Foreign Conditions",
    "https://docs.sqlalchemy.org/en/21/orm/join_conditions.html#creating-custom-foreign-conditions",
)


def broken(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Ticket(Base):
        __tablename__ = "tickets"
        id: Mapped[int] = mapped_column(primary_key=True)
        creator_id: Mapped[int]
        creator: Mapped[User] = relationship()

    try:
        return session.scalars(select(Ticket)).all()
    finally:
        Base.registry.dispose()


def fixed(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Ticket(Base):
        __tablename__ = "tickets"
        id: Mapped[int] = mapped_column(primary_key=True)
        creator_id: Mapped[int] = mapped_column(ForeignKey(User.id))
        creator: Mapped[User] = relationship()

    return session.scalars(select(Ticket)).all()
