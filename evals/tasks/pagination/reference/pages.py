"""The feed, page by page."""

from __future__ import annotations

import base64
import json
from datetime import datetime

from models import Ticket
from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

BIGGEST = 2**31 - 1


def encode(ticket: Ticket) -> str:
    time = ticket.last_reply_at and ticket.last_reply_at.isoformat()
    return base64.urlsafe_b64encode(json.dumps([time, ticket.id]).encode()).decode()


def decode(cursor: str) -> tuple[datetime | None, int]:
    try:
        time, key = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
        if type(key) is not int or not -BIGGEST <= key <= BIGGEST:
            raise ValueError("no key")
        if time is None:
            return None, key
        moment = datetime.fromisoformat(time)
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return moment, key
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError("this is not a cursor") from error


def page_after(cursor: str | None, size: int) -> Select[Ticket]:
    query = (
        select(Ticket)
        .order_by(Ticket.last_reply_at.desc().nulls_last(), Ticket.id.desc())
        .limit(size + 1)
    )
    if cursor is None:
        return query
    time, key = decode(cursor)
    if time is None:
        return query.where(Ticket.last_reply_at.is_(None), Ticket.id < key)
    return query.where(
        or_(
            Ticket.last_reply_at < time,
            and_(Ticket.last_reply_at == time, Ticket.id < key),
            Ticket.last_reply_at.is_(None),
        )
    )


def ticket_page(
    session: Session, size: int, cursor: str | None = None
) -> tuple[list[Ticket], str | None]:
    found = list(session.scalars(page_after(cursor, size)))
    page = found[:size]
    return page, encode(page[-1]) if len(found) > size else None
