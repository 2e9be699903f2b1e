"""Recognize a deadlock by its SQLSTATE, not by its class

psycopg raises `OperationalError` for a deadlock (here: raised by hand) and for a serialization
failure. asyncpg raises a plain `DBAPIError`, so the retry never comes. psycopg2 says `pgcode`. What
you repeat is the whole transaction. See `references/error-handling.md`.
"""

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from ._symptom import Raises

FAMILY = "sessions"
SYMPTOM = Raises(DBAPIError, "deadlock detected", drivers=("asyncpg",))
SOURCE = (
    "Serialization Failure Handling",
    "https://www.postgresql.org/docs/18/mvcc-serialization-failure-handling.html",
)
DEADLOCK = text("DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$")


async def broken(session: AsyncSession) -> object:
    try:
        await session.execute(DEADLOCK)
    except OperationalError:
        return "try again"
    return None


async def fixed(session: AsyncSession) -> object:
    try:
        await session.execute(DEADLOCK)
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
        if state not in {"40001", "40P01"}:
            raise
        return "try again"
    return None
