"""The feed, page by page."""

from __future__ import annotations

import base64
from datetime import datetime

from models import Ticket
from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session


def ticket_page(
    session: Session, size: int, cursor: str | None = None
) -> tuple[list[Ticket], str | None]:
    query = select(Ticket).order_by(Ticket.last_reply_at.desc().nulls_last(), Ticket.id.desc())
    if cursor:
        time, key = base64.urlsafe_b64decode(cursor).decode().split("|")
        query = query.where(
            tuple_(Ticket.last_reply_at, Ticket.id) < (datetime.fromisoformat(time), int(key))
        )
    page = list(session.scalars(query.limit(size)))
    if len(page) < size:
        return page, None
    last = page[-1]
    token = f"{last.last_reply_at.isoformat() if last.last_reply_at else ''}|{last.id}"
    return page, base64.urlsafe_b64encode(token.encode()).decode()
