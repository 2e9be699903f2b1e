"""The feed by OFFSET: each page costs what all before it cost."""

from __future__ import annotations

from models import Ticket  # type: ignore[import-not-found]
from sqlalchemy import select
from sqlalchemy.orm import Session


def ticket_page(
    session: Session, size: int, cursor: str | None = None
) -> tuple[list[Ticket], str | None]:
    skipped = int(cursor or 0)
    query = select(Ticket).order_by(Ticket.last_reply_at.desc().nulls_last(), Ticket.id.desc())
    found = list(session.scalars(query.offset(skipped).limit(size + 1)))
    return found[:size], str(skipped + size) if len(found) > size else None
