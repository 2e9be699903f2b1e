"""Expect asyncpg to lose one statement a connection to a migration

SQLAlchemy's dialect for asyncpg keeps what it has prepared. After a live ALTER COLUMN … TYPE the
next use of it fails. Repeat the transaction, or prepare nothing where such migrations are frequent.
psycopg prepares what it has sent five times, and fails so, too: once a connection where it commits,
at every use in AUTOCOMMIT. See `references/connection-pooling.md`.
"""

from sqlalchemy import make_url, text
from sqlalchemy.exc import NotSupportedError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ._symptom import Raises

FAMILY = "connecting"
SYMPTOM = Raises(NotSupportedError, "cached statement plan is invalid due to a database schema")
SOURCE = (
    "Prepared Statement Cache",
    "https://docs.sqlalchemy.org/en/21/dialects/postgresql.html#prepared-statement-cache",
)


async def broken(url: str) -> object:
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    await read_migrate_read(engine)
    return None


async def fixed(url: str) -> object:
    asyncpg = make_url(url).set(drivername="postgresql+asyncpg")
    unprepared = {"prepared_statement_cache_size": 0}
    await read_migrate_read(create_async_engine(asyncpg, connect_args=unprepared))
    return None


async def read_migrate_read(engine: AsyncEngine) -> None:
    """Read before and after somebody else has changed a column."""
    alter = text("ALTER TABLE tags ALTER COLUMN color TYPE varchar(40)")
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT color FROM tags"))
            await connection.rollback()
            async with engine.begin() as migration:
                await migration.execute(alter)
            await connection.execute(text("SELECT color FROM tags"))
    finally:
        await engine.dispose()
