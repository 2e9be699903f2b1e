"""Give each event loop its own engine, or all tests one loop

A pooled asyncpg connection belongs to the loop that opened it. A session-wide engine with a loop
for each test fails in the second test, with a `command_timeout` as `Event loop is closed`; later
tests say `another operation is in progress`. With pytest-asyncio set both
`asyncio_default_fixture_loop_scope` and `asyncio_default_test_loop_scope` to `session`.
"""

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ._symptom import Raises
from .async_fixture import run_pytest

FAMILY = "testing"
SYMPTOM = Raises(RuntimeError, "attached to a different loop", drivers=("asyncpg",))
SAYS = ("another operation is in progress", "Event loop is closed")
SOURCE = (
    "Using multiple asyncio event loops",
    "https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html#using-multiple-asyncio-event-loops",
)


def broken(url: str) -> object:
    engine = create_async_engine(url)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        first.run_until_complete(ask(engine))
        return second.run_until_complete(ask(engine))
    finally:
        first.run_until_complete(engine.dispose())
        first.close()
        second.close()


def fixed(url: str) -> object:
    engine = create_async_engine(url)
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(ask(engine))
        return loop.run_until_complete(ask(engine))
    finally:
        loop.run_until_complete(engine.dispose())
        loop.close()


async def ask(engine: AsyncEngine) -> object:
    """What a test does."""
    async with engine.connect() as connection:
        return await connection.scalar(text("SELECT 1"))


def said(url: str, *options: str) -> str:
    """What pytest prints of tests that take two engines in turn; *options* set their loops."""
    return run_pytest(
        f"""
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
PATIENT = create_async_engine({url!r})
HASTY = create_async_engine({url!r}, connect_args={{"command_timeout": 60}})
@pytest.mark.asyncio
@pytest.mark.parametrize("engine", [PATIENT, HASTY] * 3)
async def test_it(engine):
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
""",
        *options,
    )
