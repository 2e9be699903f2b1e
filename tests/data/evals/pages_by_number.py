"""The feed by row_number(): an OFFSET in disguise."""

from __future__ import annotations

from models import Ticket  # type: ignore[import-not-found]
from sqlalchemy import func, select
from sqlalchemy.orm import Session


def ticket_page(
    session: Session, size: int, cursor: str | None = None
) -> tuple[list[Ticket], str | None]:
    skipped = int(cursor or 0)
    order = (Ticket.last_reply_at.desc().nulls_last(), Ticket.id.desc())
    numbered = select(Ticket.id, func.row_number().over(order_by=order).label("n")).subquery()
    query = (
        select(Ticket)
        .join(numbered, numbered.c.id == Ticket.id)
        .where(numbered.c.n.between(skipped + 1, skipped + size + 1))
        .order_by(numbered.c.n)
    )
    found = list(session.scalars(query))
    return found[:size], str(skipped + size) if len(found) > size else None
