"""Read what an error message needs before the statement that may fail

A failed flush expires every object, as any rollback does, whatever `expire_on_commit` says. A
handler that then names the user raises an error of its own, which hides the first one.
"""

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from ..testing_patterns.factories import make_user
from .lazy_load_async import NO_GREENLET

FAMILY = "asyncio"
SYMPTOM = NO_GREENLET
SOURCE = (
    "Rolling Back",
    "https://docs.sqlalchemy.org/en/21/orm/session_basics.html#rolling-back",
)


async def broken(engine: AsyncEngine) -> object:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        session.add(user := make_user(full_name="Ann"))
        await session.commit()
        try:
            user.email = "no address"  # a CHECK refuses it
            await session.commit()
        except IntegrityError:
            await session.rollback()
            await session.connection()  # else it is the pool's ping that fails
            return f"refused for {user.full_name}"
        return None


async def fixed(engine: AsyncEngine) -> object:
    async with AsyncSession(engine, expire_on_commit=False) as session:
        session.add(user := make_user(full_name="Ann"))
        await session.commit()
        name = user.full_name
        try:
            user.email = "no address"
            await session.commit()
        except IntegrityError:
            await session.rollback()
            return f"refused for {name}"
        return None
