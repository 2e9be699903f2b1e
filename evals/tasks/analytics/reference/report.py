"""Figures for the chart."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from models import Comment, Ticket
from sqlalchemy import Date, Select, cast, func, select
from sqlalchemy.orm import Session


def bounds(first: date, last: date, zone: str) -> tuple[datetime, datetime]:
    if zone not in available_timezones():
        raise ValueError(f"there is no time zone {zone!r}")
    local = ZoneInfo(zone)
    start = datetime.combine(first, time.min, local)
    return start, datetime.combine(last + timedelta(days=1), time.min, local)


def by_day(column: Any, start: datetime, end: datetime, zone: str) -> Select[date, int]:
    day = cast(func.timezone(zone, column), Date).label("day")
    return (
        select(day, func.count())
        .where(column >= start, column < end, Ticket.deleted_at.is_(None))
        .group_by(day)
    )


def per_day(session: Session, first: date, last: date, zone: str) -> list[tuple[date, int, int]]:
    start, end = bounds(first, last, zone)
    opened, solved = (
        dict(session.execute(by_day(column, start, end, zone)).tuples().all())
        for column in (Ticket.opened_at, Ticket.solved_at)
    )
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [(day, opened.get(day, 0), solved.get(day, 0)) for day in days]


def per_team(
    session: Session, first: date, last: date, zone: str
) -> dict[str | None, dict[str, Any]]:
    start, end = bounds(first, last, zone)
    comments = (
        select(func.count()).where(Comment.ticket_id == Ticket.id).correlate(Ticket)
    ).scalar_subquery()
    one = (
        select(
            Ticket.team,
            comments.label("comments"),
            (func.extract("epoch", Ticket.solved_at - Ticket.opened_at) / 3600).label("hours"),
        )
        .where(Ticket.opened_at >= start, Ticket.opened_at < end, Ticket.deleted_at.is_(None))
        .subquery()
    )
    rows = session.execute(
        select(
            one.c.team,
            func.count(),
            func.sum(one.c.comments),
            func.percentile_cont(0.5).within_group(one.c.hours),
        ).group_by(one.c.team)
    )
    return {
        team: {
            "tickets": tickets,
            "comments": int(written),
            "median_hours": None if median is None else float(median),
        }
        for team, tickets, written, median in rows
    }
