"""Add to a class where it stands; do not declare its table again

A second class for the table is refused, in a later file as in a notebook's cell. A file that is
imported by two names, `models` and `app.models`, does it over one Base, too.
"""

from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ._symptom import Raises

FAMILY = "mapping"
SYMPTOM = Raises(
    InvalidRequestError, "Table 'tickets' is already defined for this MetaData instance"
)
SOURCE = (
    "Composing Mapped Hierarchies with Mixins",
    "https://docs.sqlalchemy.org/en/21/orm/declarative_mixins.html",
)


def broken(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Ticket(Base):
        __tablename__ = "tickets"
        id: Mapped[int] = mapped_column(primary_key=True)

    class TicketWithTitle(Base):
        __tablename__ = "tickets"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]

    return session.get(TicketWithTitle, 1) or session.get(Ticket, 1)


def fixed(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Titled:  # a mixin, in a file of its own
        title: Mapped[str]

    class Ticket(Titled, Base):
        __tablename__ = "tickets"
        id: Mapped[int] = mapped_column(primary_key=True)

    return session.get(Ticket, 1)
