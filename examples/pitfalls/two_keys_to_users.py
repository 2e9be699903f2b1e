"""Say `foreign_keys` where two columns refer to one table

A ticket with a creator and an assignee, or a mixin that adds `created_by_id`, has two ways to the
users. No query runs until each relationship says which one it takes.
"""

from sqlalchemy import ForeignKey, select
from sqlalchemy.exc import AmbiguousForeignKeysError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from ..models import User
from ._symptom import Raises

FAMILY = "mapping"
SYMPTOM = Raises(AmbiguousForeignKeysError, "there are multiple foreign key paths")
RULE = "broken-mapper"
SOURCE = (
    "Handling Multiple Join Paths",
    "https://docs.sqlalchemy.org/en/21/orm/join_conditions.html#handling-multiple-join-paths",
)


def broken(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Ticket(Base):
        __tablename__ = "tickets"
        id: Mapped[int] = mapped_column(primary_key=True)
        creator_id: Mapped[int] = mapped_column(ForeignKey(User.id))
        assignee_id: Mapped[int | None] = mapped_column(ForeignKey(User.id))
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
        assignee_id: Mapped[int | None] = mapped_column(ForeignKey(User.id))
        creator: Mapped[User] = relationship(foreign_keys=creator_id)

    return session.scalars(select(Ticket)).all()
