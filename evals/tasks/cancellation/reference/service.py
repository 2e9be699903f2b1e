"""What our handlers call; each gets the engine of the process."""

from collections.abc import AsyncIterator, Awaitable, Callable

from models import Agent, Ticket
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession


async def titles(engine: AsyncEngine) -> AsyncIterator[str]:
    """The titles of all tickets in the order of their keys, as a stream."""
    async with AsyncSession(engine) as session:
        result = await session.stream_scalars(select(Ticket.title).order_by(Ticket.id))
        async for title in result:
            yield title


async def slow_report(engine: AsyncEngine, seconds: float) -> int:
    """How many tickets there are; takes its time."""
    async with AsyncSession(engine) as session:
        await session.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})
        return await session.scalar(select(func.count()).select_from(Ticket)) or 0


async def assign(
    engine: AsyncEngine, ticket_id: int, agent_id: int, notify: Callable[[], Awaitable[None]]
) -> None:
    """Give a ticket to an agent, count it, and tell them; all of it or nothing."""
    async with AsyncSession(engine) as session, session.begin():
        ticket = await session.get_one(Ticket, ticket_id)
        ticket.agent_id = agent_id
        await session.flush()
        await notify()
        await session.execute(
            update(Agent)
            .where(Agent.id == agent_id)
            .values(open_tickets=Agent.open_tickets + 1)
            .execution_options(synchronize_session=False)
        )


async def dashboard(engine: AsyncEngine) -> dict[str, int]:
    """{"tickets": …, "agents": …}, counted at the same time, by one statement."""
    tickets = select(func.count()).select_from(Ticket).scalar_subquery()
    agents = select(func.count()).select_from(Agent).scalar_subquery()
    async with AsyncSession(engine) as session:
        row = (await session.execute(select(tickets, agents))).one()
    return {"tickets": row[0], "agents": row[1]}
