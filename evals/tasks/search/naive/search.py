"""Search for tickets."""

from __future__ import annotations

from models import Tag, Ticket
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, selectinload


def search_tickets(
    session: Session,
    organization_id: int,
    *,
    text: str | None = None,
    tags: list[str] | None = None,
    statuses: list[str] | None = None,
    limit: int = 20,
    offset: int = 0,
) -> tuple[list[Ticket], int]:
    query = select(Ticket, func.count().over()).where(Ticket.organization_id == organization_id)
    if text:
        query = query.where(
            or_(Ticket.title.ilike(f"%{text}%"), Ticket.description.ilike(f"%{text}%"))
        )
    if statuses:
        query = query.where(Ticket.status.in_(statuses))
    if tags:
        query = query.join(Ticket.tags).where(Tag.name.in_(tags))
    query = (
        query.where(Ticket.deleted_at.is_(None))
        .options(selectinload(Ticket.tags))
        .order_by(Ticket.created_at.desc())
        .limit(limit)
        .offset(offset)
    )
    rows = session.execute(query).all()
    return [row[0] for row in rows], rows[0][1] if rows else 0
