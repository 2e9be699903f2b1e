"""What the web handlers call."""

from __future__ import annotations

from models import Ticket
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker


def make_factory(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(engine)


async def create_ticket(
    session: AsyncSession, title: str, creator_id: int, tag_names: list[str]
) -> Ticket:
    ticket = Ticket(title=title, creator_id=creator_id)
    session.add(ticket)
    return ticket


async def ticket_detail(session: AsyncSession, ticket_id: int) -> dict | None:
    ticket = await session.get(Ticket, ticket_id)
    return {"id": ticket.id, "tags": [tag.name for tag in ticket.tags]}
