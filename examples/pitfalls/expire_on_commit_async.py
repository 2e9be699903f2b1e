"""Make asyncio sessions with `expire_on_commit=False`

A commit expires every object, and the next access sends a query without an `await`. The price:
what you hold may be old; `await session.refresh(user)` reads it anew.
"""

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from ..testing_patterns.factories import make_user
from .lazy_load_async import NO_GREENLET

FAMILY = "asyncio"
SYMPTOM = NO_GREENLET
SOURCE = (
    "Preventing Implicit IO when Using AsyncSession",
    "https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html"
    "#preventing-implicit-io-when-using-asyncsession",
)


async def broken(engine: AsyncEngine) -> object:
    async with AsyncSession(engine) as session:
        session.add(user := make_user(full_name="Ann"))
        await session.commit()
        await session.connection()  # else it is the pool's ping that fails
        return user.full_name


async def fixed(engine: AsyncEngine) -> object:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        session.add(user := make_user(full_name="Ann"))
        await session.commit()
        return user.full_name
