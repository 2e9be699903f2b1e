"""Give each task a session of its own

Of two tasks that share a new session, the second fails while the first waits for the connection.
Under `gather()` you may see `IllegalStateChangeError` instead: the session is closed too early.
"""

import asyncio

from sqlalchemy import text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from ._symptom import Raises

FAMILY = "asyncio"
SYMPTOM = Raises(InvalidRequestError, "This session is provisioning a new connection")
SOURCE = (
    "Using AsyncSession with Concurrent Tasks",
    "https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html"
    "#using-asyncsession-with-concurrent-tasks",
)


async def broken(engine: AsyncEngine) -> object:
    async with AsyncSession(engine) as session:

        async def ask(number: int) -> object:
            return await session.scalar(text(f"SELECT {number}"))

        tasks = [asyncio.create_task(ask(number)) for number in (1, 2)]
        await asyncio.wait(tasks)
        return [task.result() for task in tasks]


async def fixed(engine: AsyncEngine) -> object:
    async def ask(number: int) -> object:
        async with AsyncSession(engine) as session:
            return await session.scalar(text(f"SELECT {number}"))

    tasks = [asyncio.create_task(ask(number)) for number in (1, 2)]
    await asyncio.wait(tasks)
    return [task.result() for task in tasks]
