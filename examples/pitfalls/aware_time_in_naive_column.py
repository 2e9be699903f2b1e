"""Declare `DateTime(timezone=True)`

`Mapped[datetime]` alone is `timestamp without time zone`. asyncpg refuses a time with a zone for
it; psycopg takes it, and the zone is lost. Say it once, in `type_annotation_map`.
"""

from datetime import UTC, datetime

from sqlalchemy import DateTime
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ._symptom import Raises

FAMILY = "types"
SYMPTOM = Raises(
    DBAPIError, "can't subtract offset-naive and offset-aware datetimes", drivers=("asyncpg",)
)
RULE = "naive-timestamp"
SOURCE = (
    "Customizing the Type Map",
    "https://docs.sqlalchemy.org/en/21/orm/declarative_tables.html#customizing-the-type-map",
)


async def broken(session: AsyncSession) -> object:
    class Base(DeclarativeBase):
        pass

    class Visit(Base):
        __tablename__ = "visits"
        id: Mapped[int] = mapped_column(primary_key=True)
        at: Mapped[datetime]

    await (await session.connection()).run_sync(Base.metadata.create_all)
    session.add(Visit(at=datetime.now(UTC)))
    await session.flush()
    return None


async def fixed(session: AsyncSession) -> object:
    class Base(DeclarativeBase):
        type_annotation_map = {datetime: DateTime(timezone=True)}

    class Visit(Base):
        __tablename__ = "visits"
        id: Mapped[int] = mapped_column(primary_key=True)
        at: Mapped[datetime]

    await (await session.connection()).run_sync(Base.metadata.create_all)
    session.add(Visit(at=datetime.now(UTC)))
    await session.flush()
    return None
