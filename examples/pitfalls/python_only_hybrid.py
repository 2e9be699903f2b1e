"""Give a hybrid an SQL side, or make it a plain property

In SQLAlchemy 2.1 an ORM bulk INSERT or UPDATE reads every hybrid of the class. One that works on
instances alone breaks statements that never mention it.
"""

from sqlalchemy import insert
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ._symptom import Raises

FAMILY = "models"
SYMPTOM = Raises(TypeError, "has no len()", lines=("2.1",))
RULE = "python-only-hybrid"
SOURCE = (
    "Hybrid attributes",
    "https://docs.sqlalchemy.org/en/21/orm/extensions/hybrid.html",
)


def broken(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "pitfall_notes"
        __table_args__ = {"prefixes": ["TEMPORARY"]}
        id: Mapped[int] = mapped_column(primary_key=True)
        body: Mapped[str]

        @hybrid_property
        def size(self) -> int:
            return len(self.body)

    Base.metadata.create_all(session.connection())
    session.execute(insert(Note), [{"body": "a"}, {"body": "b"}])
    return None


def fixed(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "pitfall_notes"
        __table_args__ = {"prefixes": ["TEMPORARY"]}
        id: Mapped[int] = mapped_column(primary_key=True)
        body: Mapped[str]

        @property
        def size(self) -> int:
            return len(self.body)

    Base.metadata.create_all(session.connection())
    session.execute(insert(Note), [{"body": "a"}, {"body": "b"}])
    return None
