"""Figures for the chart."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from models import Comment, Ticket
from sqlalchemy import Date, case, cast, func, select
from sqlalchemy.orm import Session


def per_day(session: Session, first: date, last: date, zone: str) -> list[tuple[date, int, int]]:
    day = cast(func.timezone(zone, Ticket.opened_at), Date)
    rows = session.execute(
        select(day, func.count(), func.sum(case((Ticket.solved_at.is_not(None), 1), else_=0)))
        .where(day.between(first, last), Ticket.deleted_at.is_(None))
        .group_by(day)
        .order_by(day)
    ).all()
    found = {row[0]: (row[1], int(row[2])) for row in rows}
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [(one, *found.get(one, (0, 0))) for one in days]


def per_team(
    session: Session, first: date, last: date, zone: str
) -> dict[str | None, dict[str, Any]]:
    day = cast(func.timezone(zone, Ticket.opened_at), Date)
    hours = func.extract("epoch", Ticket.solved_at - Ticket.opened_at) / 3600
    rows = session.execute(
        select(
            Ticket.team,
            func.count(Ticket.id.distinct()),
            func.count(Comment.id),
            func.percentile_cont(0.5).within_group(hours),
        )
        .outerjoin(Comment, Comment.ticket_id == Ticket.id)
        .where(day.between(first, last), Ticket.deleted_at.is_(None))
        .group_by(Ticket.team)
    )
    return {
        row[0]: {"tickets": row[1], "comments": row[2], "median_hours": row[3]} for row in rows
    }
