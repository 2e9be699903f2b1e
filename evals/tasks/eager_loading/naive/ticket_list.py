"""The list of tickets that the front page shows."""

from __future__ import annotations

from typing import Any

from models import Comment, Ticket
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload


def ticket_list(session: Session, limit: int, offset: int = 0) -> list[dict[str, Any]]:
    query = (
        select(Ticket)
        .order_by(Ticket.created_at.desc())
        .limit(limit)
        .offset(offset)
        .options(
            joinedload(Ticket.creator),
            joinedload(Ticket.assignee),
            selectinload(Ticket.tags),
            selectinload(Ticket.comments).joinedload(Comment.author),
        )
    )
    return [
        {
            "id": ticket.id,
            "title": ticket.title,
            "creator": ticket.creator.name,
            "assignee": ticket.assignee.name if ticket.assignee else None,
            "tags": sorted(tag.name for tag in ticket.tags),
            "comments": len(ticket.comments),
            "last_author": ticket.comments[-1].author.name if ticket.comments else None,
        }
        for ticket in session.scalars(query)
    ]
