"""Leave `poolclass` out under asyncio

The one that fits is taken by itself: `AsyncAdaptedQueuePool`. Name `NullPool` behind PgBouncer, and
where each test has an event loop of its own.
"""

from sqlalchemy import QueuePool
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import create_async_engine

from ._symptom import Raises

FAMILY = "connecting"
SYMPTOM = Raises(ArgumentError, "Pool class QueuePool cannot be used with asyncio engine")
SOURCE = (
    "Pool class cannot be used with asyncio engine",
    "https://docs.sqlalchemy.org/en/21/errors.html#error-pcls",
)


async def broken(url: str) -> object:
    return create_async_engine(url, poolclass=QueuePool, pool_size=5)


async def fixed(url: str) -> object:
    engine = create_async_engine(url, pool_size=5)
    await engine.dispose()
    return None
