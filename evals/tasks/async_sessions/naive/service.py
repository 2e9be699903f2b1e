"""What the web handlers call."""

from __future__ import annotations

import asyncio
from typing import Any

from models import Tag, Ticket
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import selectinload


def make_factory(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(engine, expire_on_commit=False)


async def create_ticket(
    session: AsyncSession, title: str, creator_id: int, tag_names: list[str]
) -> Ticket:
    ticket = Ticket(title=title, creator_id=creator_id)
    for name in tag_names:
        tag = await session.scalar(select(Tag).where(Tag.name == name))
        ticket.tags.append(tag or Tag(name=name))
    session.add(ticket)
    await session.flush()
    return ticket


async def rename_ticket(session: AsyncSession, ticket_id: int, title: str) -> dict[str, Any]:
    ticket = await session.get_one(Ticket, ticket_id)
    ticket.title = title
    await session.flush()
    return {"id": ticket.id, "title": ticket.title, "updated_at": ticket.updated_at}


async def ticket_detail(session: AsyncSession, ticket_id: int) -> dict[str, Any] | None:
    ticket = await session.get(
        Ticket,
        ticket_id,
        options=[
            selectinload(Ticket.creator),
            selectinload(Ticket.tags),
            selectinload(Ticket.comments),
        ],
    )
    if ticket is None:
        return None
    return {
        "id": ticket.id,
        "title": ticket.title,
        "creator": ticket.creator.name,
        "tags": sorted(tag.name for tag in ticket.tags),
        "comments": [comment.body for comment in ticket.comments],
    }


async def load_details(engine: AsyncEngine, ticket_ids: list[int]) -> list[dict[str, Any] | None]:
    async with make_factory(engine)() as session:
        return list(
            await asyncio.gather(*(ticket_detail(session, ticket_id) for ticket_id in ticket_ids))
        )
