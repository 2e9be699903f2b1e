"""Set `eager_defaults=True` on your base, under asyncio

After an UPDATE the value of an SQL `onupdate=` is not known, and reading it sends a query. With
`eager_defaults` the UPDATE itself returns it. A class with `__mapper_args__` of its own
(`version_id_col`, `polymorphic_on`) replaces the base's: repeat the flag there.
"""

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from .lazy_load_async import NO_GREENLET

FAMILY = "models"
SYMPTOM = ALSO = NO_GREENLET
RULE = "onupdate-without-eager-defaults"
SOURCE = (
    "Fetching Server-Generated Defaults",
    "https://docs.sqlalchemy.org/en/21/orm/persistence_techniques.html"
    "#fetching-server-generated-defaults",
)


async def broken(session: AsyncSession) -> object:
    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "pitfall_notes"
        __table_args__ = {"prefixes": ["TEMPORARY"]}
        id: Mapped[int] = mapped_column(primary_key=True)
        body: Mapped[str]
        updated_at: Mapped[datetime | None] = mapped_column(onupdate=func.now())

    await session.run_sync(lambda sync: Base.metadata.create_all(sync.connection()))
    session.add(note := Note(body="VPN"))
    await session.flush()
    note.body = "wifi"
    await session.flush()
    return note.updated_at


async def also(session: AsyncSession) -> object:
    class Base(DeclarativeBase):
        __mapper_args__ = {"eager_defaults": True}

    class Note(Base):
        __tablename__ = "pitfall_notes"
        __table_args__ = {"prefixes": ["TEMPORARY"]}
        id: Mapped[int] = mapped_column(primary_key=True)
        body: Mapped[str]
        updated_at: Mapped[datetime | None] = mapped_column(onupdate=func.now())
        version: Mapped[int] = mapped_column()
        __mapper_args__ = {"version_id_col": version}

    await session.run_sync(lambda sync: Base.metadata.create_all(sync.connection()))
    session.add(note := Note(body="VPN"))
    await session.flush()
    note.body = "wifi"
    await session.flush()
    return note.updated_at


async def fixed(session: AsyncSession) -> object:
    class Base(DeclarativeBase):
        __mapper_args__ = {"eager_defaults": True}

    class Note(Base):
        __tablename__ = "pitfall_notes"
        __table_args__ = {"prefixes": ["TEMPORARY"]}
        id: Mapped[int] = mapped_column(primary_key=True)
        body: Mapped[str]
        updated_at: Mapped[datetime | None] = mapped_column(onupdate=func.now())

    await session.run_sync(lambda sync: Base.metadata.create_all(sync.connection()))
    session.add(note := Note(body="VPN"))
    await session.flush()
    note.body = "wifi"
    await session.flush()
    return note.updated_at
