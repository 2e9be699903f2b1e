"""Load what you touch, under asyncio

Reading a relationship that is not loaded sends a query, and no `await` can stand there. `append()`
reads it, too. With `lazy="raise"` it is an error in every test, even where the row to load is in
the session by chance.
"""

from sqlalchemy import ForeignKey, select
from sqlalchemy.exc import MissingGreenlet, StatementError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload

from ._symptom import Raises

FAMILY = "asyncio"
# In SQLAlchemy 2.1 psycopg asks for a cursor where the statement's errors are wrapped.
SYMPTOM = NO_GREENLET = (
    Raises(MissingGreenlet, "greenlet_spawn has not been called", drivers=("asyncpg",)),
    Raises(
        MissingGreenlet,
        "greenlet_spawn has not been called",
        lines=("2.0",),
        drivers=("psycopg_async",),
    ),
    Raises(
        StatementError,
        "(sqlalchemy.exc.MissingGreenlet) greenlet_spawn",
        lines=("2.1",),
        drivers=("psycopg_async",),
    ),
)
RULE = "implicit-lazy-load"
SOURCE = (
    "Preventing Implicit IO when Using AsyncSession",
    "https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html"
    "#preventing-implicit-io-when-using-asyncsession",
)


async def broken(session: AsyncSession) -> object:
    class Base(DeclarativeBase):
        pass

    class Folder(Base):
        __tablename__ = "pitfall_folders"
        __table_args__ = {"prefixes": ["TEMPORARY"]}
        id: Mapped[int] = mapped_column(primary_key=True)
        parent_id: Mapped[int | None] = mapped_column(ForeignKey(id))
        inner: Mapped[list["Folder"]] = relationship()

    await session.run_sync(lambda sync: Base.metadata.create_all(sync.connection()))
    session.add(Folder())
    folder = (await session.scalars(select(Folder))).one()
    folder.inner.append(Folder())
    return None


async def fixed(session: AsyncSession) -> object:
    class Base(DeclarativeBase):
        pass

    class Folder(Base):
        __tablename__ = "pitfall_folders"
        __table_args__ = {"prefixes": ["TEMPORARY"]}
        id: Mapped[int] = mapped_column(primary_key=True)
        parent_id: Mapped[int | None] = mapped_column(ForeignKey(id))
        inner: Mapped[list["Folder"]] = relationship(lazy="raise")

    await session.run_sync(lambda sync: Base.metadata.create_all(sync.connection()))
    session.add(Folder())
    query = select(Folder).options(selectinload(Folder.inner))
    folder = (await session.scalars(query)).one()
    folder.inner.append(Folder())
    return None
