"""Close a generator that streams: `aclosing()`

A `break`, an error or a cancellation in the loop over an asynchronous generator does not close it:
the `async with` inside holds the connection until Python collects the generator. `aclosing()`
closes it with the loop.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.pool import QueuePool

from ._symptom import Returns

FAMILY = "asyncio"
SYMPTOM = Returns(wrong=1, right=0, meaning="connections in use after a stream was left half way")
SOURCE = (
    "contextlib.aclosing",
    "https://docs.python.org/3/library/contextlib.html#contextlib.aclosing",
)


async def broken(engine: AsyncEngine) -> object:
    async def numbers() -> AsyncGenerator[int, None]:
        async with AsyncSession(engine) as session:
            found = await session.stream_scalars(text("SELECT generate_series(1, 1000)"))
            try:
                async for number in found:
                    yield number
            finally:
                await found.close()

    rows = numbers()
    async for number in rows:
        if number == 2:
            break
    return await in_use(engine, rows)


async def fixed(engine: AsyncEngine) -> object:
    async def numbers() -> AsyncGenerator[int, None]:
        async with AsyncSession(engine) as session:
            found = await session.stream_scalars(text("SELECT generate_series(1, 1000)"))
            try:
                async for number in found:
                    yield number
            finally:
                await found.close()

    async with aclosing(numbers()) as rows:
        async for number in rows:
            if number == 2:
                break
    return await in_use(engine, rows)


async def in_use(engine: AsyncEngine, rows: AsyncGenerator[int, None]) -> int:
    """The connections in use; then *rows* is closed, whatever the reader did."""
    assert isinstance(engine.pool, QueuePool)
    try:
        return engine.pool.checkedout()
    finally:
        await rows.aclose()
