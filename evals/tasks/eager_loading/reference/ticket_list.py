"""The list of tickets that the front page shows."""

from __future__ import annotations

from typing import Any

from models import Comment, Ticket, User
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload, selectinload


def ticket_list(session: Session, limit: int, offset: int = 0) -> list[dict[str, Any]]:
    comments = (
        select(func.count())
        .where(Comment.ticket_id == Ticket.id)
        .correlate(Ticket)
        .scalar_subquery()
    )
    last_author = (
        select(User.name)
        .join(Comment, Comment.author_id == User.id)
        .where(Comment.ticket_id == Ticket.id)
        .order_by(Comment.created_at.desc(), Comment.id.desc())
        .limit(1)
        .correlate(Ticket)
        .scalar_subquery()
    )
    query = (
        select(Ticket, comments, last_author)
        .order_by(Ticket.created_at.desc(), Ticket.id.desc())
        .limit(limit)
        .offset(offset)
        .options(
            joinedload(Ticket.creator), joinedload(Ticket.assignee), selectinload(Ticket.tags)
        )
    )
    return [
        {
            "id": ticket.id,
            "title": ticket.title,
            "creator": ticket.creator.name,
            "assignee": ticket.assignee.name if ticket.assignee else None,
            "tags": sorted(tag.name for tag in ticket.tags),
            "comments": number,
            "last_author": author,
        }
        for ticket, number, author in session.execute(query)
    ]
