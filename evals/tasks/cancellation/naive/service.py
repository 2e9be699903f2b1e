"""What our handlers call; each gets the engine of the process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from models import Agent, Ticket
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession


async def titles(engine: AsyncEngine) -> AsyncIterator[str]:
    session = AsyncSession(engine)
    try:
        result = await session.stream_scalars(select(Ticket.title).order_by(Ticket.id))
        async for title in result:
            yield title
    except Exception:
        await session.rollback()
        raise
    await session.close()


async def slow_report(engine: AsyncEngine, seconds: float) -> int:
    session = AsyncSession(engine)
    try:
        await session.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})
        count = await session.scalar(select(func.count()).select_from(Ticket))
    except Exception:
        await session.close()
        raise
    await session.close()
    return count


async def assign(
    engine: AsyncEngine, ticket_id: int, agent_id: int, notify: Callable[[], Awaitable[None]]
) -> None:
    async with AsyncSession(engine) as session:
        ticket = await session.get_one(Ticket, ticket_id)
        ticket.agent_id = agent_id
        await session.flush()
        await notify()
        agent = await session.get_one(Agent, agent_id)
        agent.open_tickets += 1
        await session.commit()


async def dashboard(engine: AsyncEngine) -> dict[str, int]:
    async with AsyncSession(engine) as session:
        tickets, agents = await asyncio.gather(
            session.scalar(select(func.count()).select_from(Ticket)),
            session.scalar(select(func.count()).select_from(Agent)),
        )
    return {"tickets": tickets, "agents": agents}
