"""Store enumerations by value

`Mapped[Status]` alone stores the member's name, for a StrEnum, too. Plain SQL, reports and other
services know the value: they get an error, or find nothing. `checked_text` is in `models.py`. See
`references/models.md`.
"""

import enum

from sqlalchemy import text
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ..models import checked_text
from ._symptom import Raises

FAMILY = "enums"
SYMPTOM = Raises(DataError, 'invalid input value for enum mood: "glad"', on_asyncpg=DBAPIError)
RULE = "enum-by-name"
SOURCE = (
    "Enum",
    "https://docs.sqlalchemy.org/en/21/core/type_basics.html#sqlalchemy.types.Enum",
)


def broken(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Mood(enum.StrEnum):
        GLAD = "glad"

    class Rating(Base):
        __tablename__ = "ratings"
        id: Mapped[int] = mapped_column(primary_key=True)
        mood: Mapped[Mood]

    Base.metadata.create_all(session.connection())
    session.add(Rating(mood=Mood.GLAD))
    return session.scalars(text("SELECT id FROM ratings WHERE mood = 'glad'")).all()


def fixed(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Mood(enum.StrEnum):
        GLAD = "glad"

    class Rating(Base):
        __tablename__ = "ratings"
        id: Mapped[int] = mapped_column(primary_key=True)
        mood: Mapped[Mood] = mapped_column(checked_text(Mood, "mood"))

    Base.metadata.create_all(session.connection())
    session.add(Rating(mood=Mood.GLAD))
    return session.scalars(text("SELECT id FROM ratings WHERE mood = 'glad'")).all()
