"""Do not let two tasks share a transaction

Once a shared session has its connection, tasks take turns: no time is saved, and seldom is
anything raised (`This session is in 'prepared' state`, when one commits). But there is one
transaction, and the rollback of one task undoes what the other has written.
"""

import asyncio

from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from ..models import Organization
from ._symptom import Returns

FAMILY = "asyncio"
SYMPTOM = Returns(wrong=0, right=1, meaning="rows stored when one of two is refused")
SOURCE = (
    "Using AsyncSession with Concurrent Tasks",
    "https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html"
    "#using-asyncsession-with-concurrent-tasks",
)


async def broken(engine: AsyncEngine) -> object:
    async def store(session: AsyncSession, slug: str) -> None:
        try:
            await session.execute(insert(Organization).values(name="Acme", slug=slug))
        except IntegrityError:
            await session.rollback()

    async with AsyncSession(engine) as session:
        await session.connection()
        await asyncio.gather(store(session, "acme"), store(session, "Not a slug"))
        await session.commit()
    return await stored(engine)


async def fixed(engine: AsyncEngine) -> object:
    async def store(slug: str) -> None:
        async with AsyncSession(engine) as session:
            try:
                await session.execute(insert(Organization).values(name="Acme", slug=slug))
                await session.commit()
            except IntegrityError:
                await session.rollback()

    await asyncio.gather(store("acme"), store("Not a slug"))
    return await stored(engine)


async def stored(engine: AsyncEngine) -> int:
    """How many organizations another session sees."""
    async with AsyncSession(engine) as session:
        return (await session.scalars(select(func.count()).select_from(Organization))).one()
