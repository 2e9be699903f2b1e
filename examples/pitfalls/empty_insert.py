"""Do not send an INSERT for an empty list

`session.execute(insert(Visit), [])` means *no values given*: it stores one row of defaults. Where
a required column has no default, it is an IntegrityError.
"""

from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ._symptom import Returns

FAMILY = "writing"
SYMPTOM = Returns(wrong=1, right=0, meaning="rows stored by an INSERT of an empty list")
SOURCE = (
    "ORM Bulk INSERT Statements",
    "https://docs.sqlalchemy.org/en/21/orm/queryguide/dml.html#orm-bulk-insert-statements",
)


def broken(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Visit(Base):
        __tablename__ = "pitfall_visits"
        __table_args__ = {"prefixes": ["TEMPORARY"]}
        id: Mapped[int] = mapped_column(primary_key=True)
        at: Mapped[datetime] = mapped_column(server_default=func.now())

    Base.metadata.create_all(session.connection())
    rows: list[dict[str, datetime]] = []
    session.execute(insert(Visit), rows)
    return session.scalar(select(func.count()).select_from(Visit))


def fixed(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Visit(Base):
        __tablename__ = "pitfall_visits"
        __table_args__ = {"prefixes": ["TEMPORARY"]}
        id: Mapped[int] = mapped_column(primary_key=True)
        at: Mapped[datetime] = mapped_column(server_default=func.now())

    Base.metadata.create_all(session.connection())
    rows: list[dict[str, datetime]] = []
    if rows:
        session.execute(insert(Visit), rows)
    return session.scalar(select(func.count()).select_from(Visit))
