"""What our handlers call; each gets the engine of the process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from models import Agent, Ticket
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession


async def titles(engine: AsyncEngine) -> AsyncIterator[str]:
    """The titles of all tickets in the order of their keys, as a stream."""
    session = AsyncSession(engine)
    result = await session.stream_scalars(select(Ticket.title).order_by(Ticket.id))
    async for title in result:
        yield title
    await session.close()


async def slow_report(engine: AsyncEngine, seconds: float) -> int:
    """How many tickets there are; takes its time."""
    session = AsyncSession(engine)
    await session.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})
    count = await session.scalar(select(func.count()).select_from(Ticket))
    await session.close()
    return count


async def assign(
    engine: AsyncEngine, ticket_id: int, agent_id: int, notify: Callable[[], Awaitable[None]]
) -> None:
    """Give a ticket to an agent, count it, and tell them; all of it or nothing."""
    session = AsyncSession(engine)
    ticket = await session.get_one(Ticket, ticket_id)
    ticket.agent_id = agent_id
    await session.commit()
    await notify()
    agent = await session.get_one(Agent, agent_id)
    agent.open_tickets += 1
    await session.commit()
    await session.close()


async def dashboard(engine: AsyncEngine) -> dict[str, int]:
    """{"tickets": …, "agents": …}, counted at the same time."""
    session = AsyncSession(engine)
    tickets, agents = await asyncio.gather(
        session.scalar(select(func.count()).select_from(Ticket)),
        session.scalar(select(func.count()).select_from(Agent)),
    )
    await session.close()
    return {"tickets": tickets, "agents": agents}
