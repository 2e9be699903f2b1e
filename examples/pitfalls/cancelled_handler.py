"""Close sessions by `async with`: `except Exception` sees no cancellation

`CancelledError` is a `BaseException`. A client that hangs up, `wait_for()` and `asyncio.timeout()`
raise it at any `await`, and the clean-up in the handler is not run: the connection stays in use,
its transaction and locks with it. Never go on with a session whose statement was cancelled: put
`wait_for()` around its `async with`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from sqlalchemy import text
from sqlalchemy.exc import PendingRollbackError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.pool import QueuePool

from ._symptom import Raises, Returns

FAMILY = "asyncio"
SYMPTOM = Returns(wrong=1, right=0, meaning="connections in use after the task was cancelled")
ALSO = Raises(PendingRollbackError, "Can't reconnect until invalid transaction is rolled back")
SOURCE = (
    "Task Cancellation",
    "https://docs.python.org/3/library/asyncio-task.html#task-cancellation",
)
Call = Callable[[], Awaitable[None]]


async def broken(engine: AsyncEngine) -> object:
    session = AsyncSession(engine)

    async def handle(ask_web_service: Call) -> None:
        try:
            await session.execute(text("SELECT 1"))
            await ask_web_service()
        except Exception:
            await session.rollback()
            raise
        await session.commit()

    return await in_use_when_cancelled(engine, session, handle)


async def also(engine: AsyncEngine) -> object:
    async with AsyncSession(engine) as session:
        await session.connection()
        with suppress(TimeoutError):
            await asyncio.wait_for(session.execute(text("SELECT pg_sleep(60)")), 0.5)
        return await session.scalar(text("SELECT 1"))


async def fixed(engine: AsyncEngine) -> object:
    session = AsyncSession(engine)

    async def handle(ask_web_service: Call) -> None:
        async with session, session.begin():
            await session.execute(text("SELECT 1"))
            await ask_web_service()

    return await in_use_when_cancelled(engine, session, handle)


async def in_use_when_cancelled(
    engine: AsyncEngine, session: AsyncSession, handle: Callable[[Call], Awaitable[None]]
) -> int:
    """Cancel *handle* in its web service; close *session* only after the count."""
    waiting = asyncio.Event()

    async def never_answers() -> None:
        waiting.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(handle(never_answers))
    await waiting.wait()
    task.cancel()
    await asyncio.wait([task])
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    assert task.cancelled()
    try:
        return pool.checkedout()
    finally:
        await session.close()
