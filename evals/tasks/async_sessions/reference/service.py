"""What the web handlers call."""

from __future__ import annotations

import asyncio
from typing import Any

from models import Tag, Ticket
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import joinedload, selectinload


def make_factory(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(engine, expire_on_commit=False)


async def tags_named(session: AsyncSession, names: list[str]) -> list[Tag]:
    wanted = sorted(set(names))
    if not wanted:
        return []
    await session.execute(
        insert(Tag).values([{"name": name} for name in wanted]).on_conflict_do_nothing()
    )
    found = await session.scalars(select(Tag).where(Tag.name.in_(wanted)).order_by(Tag.name))
    return list(found)


async def create_ticket(
    session: AsyncSession, title: str, creator_id: int, tag_names: list[str]
) -> Ticket:
    tags = await tags_named(session, tag_names)
    ticket = Ticket(title=title, creator_id=creator_id, tags=tags, comments=[])
    session.add(ticket)
    await session.flush()
    await session.refresh(ticket, ["created_at", "updated_at", "creator"])
    return ticket


async def rename_ticket(session: AsyncSession, ticket_id: int, title: str) -> dict[str, Any]:
    ticket = await session.get_one(Ticket, ticket_id)
    ticket.title = title
    await session.flush()
    await session.refresh(ticket, ["title", "updated_at"])
    return {"id": ticket.id, "title": ticket.title, "updated_at": ticket.updated_at}


async def ticket_detail(session: AsyncSession, ticket_id: int) -> dict[str, Any] | None:
    ticket = await session.scalar(
        select(Ticket)
        .where(Ticket.id == ticket_id)
        .options(
            joinedload(Ticket.creator), selectinload(Ticket.tags), selectinload(Ticket.comments)
        )
        .execution_options(populate_existing=True)
    )
    if ticket is None:
        return None
    comments = sorted(ticket.comments, key=lambda comment: (comment.created_at, comment.id))
    return {
        "id": ticket.id,
        "title": ticket.title,
        "creator": ticket.creator.name,
        "tags": sorted(tag.name for tag in ticket.tags),
        "comments": [comment.body for comment in comments],
    }


async def load_details(engine: AsyncEngine, ticket_ids: list[int]) -> list[dict[str, Any] | None]:
    factory = make_factory(engine)

    async def load(ticket_id: int) -> dict[str, Any] | None:
        async with factory() as session:
            return await ticket_detail(session, ticket_id)

    return list(await asyncio.gather(*(load(ticket_id) for ticket_id in ticket_ids)))
