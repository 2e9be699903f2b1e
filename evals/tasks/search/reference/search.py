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
    where = [Ticket.organization_id == organization_id, Ticket.deleted_at.is_(None)]
    if text is not None:
        where.append(
            or_(
                Ticket.title.icontains(text, autoescape=True),
                Ticket.description.icontains(text, autoescape=True),
            )
        )
    if statuses is not None:
        where.append(Ticket.status.in_(statuses))
    where += [Ticket.tags.any(Tag.name == name) for name in tags or ()]
    total = session.scalar(select(func.count()).select_from(Ticket).where(*where)) or 0
    page = session.scalars(
        select(Ticket)
        .where(*where)
        .order_by(Ticket.created_at.desc(), Ticket.id.desc())
        .limit(limit)
        .offset(offset)
        .options(selectinload(Ticket.tags))
    )
    return list(page), total
