"""Do not let the machine's time zone decide

asyncpg reads a time without a zone in the zone of the client's process, whatever the session's is:
right in a container that runs on UTC, and hours off on a laptop.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from ..models import ImportCheckpoint
from ._symptom import Returns

FAMILY = "types"
SYMPTOM = Returns(
    wrong="03:00",
    right="12:00",
    meaning="the time stored for 12:00 UTC, given without a zone",
    drivers=("asyncpg",),
)
SOURCE = (
    "asyncpg: Type Conversion",
    "https://magicstack.github.io/asyncpg/current/usage.html#type-conversion",
)
STORED = select(func.to_char(func.timezone("UTC", ImportCheckpoint.finished_at), "HH24:MI"))


async def broken(session: AsyncSession) -> object:
    await session.execute(text("SET LOCAL timezone = 'UTC'"))
    with a_client_in_tokyo():
        noon = datetime(2026, 1, 15, 12)
        session.add(ImportCheckpoint(source="crm", finished_at=noon))
        await session.flush()
    return await session.scalar(STORED)


async def fixed(session: AsyncSession) -> object:
    await session.execute(text("SET LOCAL timezone = 'UTC'"))
    with a_client_in_tokyo():
        noon = datetime(2026, 1, 15, 12, tzinfo=UTC)
        session.add(ImportCheckpoint(source="crm", finished_at=noon))
        await session.flush()
    return await session.scalar(STORED)


@contextmanager
def a_client_in_tokyo() -> Iterator[None]:
    """This process on Tokyo's time."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    try:
        yield
    finally:
        del os.environ["TZ"]
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()
