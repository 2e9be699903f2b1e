"""A report on the data: what should not be there, counted in one statement, hence at one moment.

Constraints keep it out of a new database.  What was loaded before them, with triggers off, or under
NOT VALID, is in an old one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    DateTime,
    Select,
    exists,
    func,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, aliased

from ..models import DONE, Base, Tag, Ticket, TicketTag, User
from .duplicates import PlusTags, duplicate_users

SKEW = timedelta(minutes=5)
"""Clocks differ by so much."""

MAY_BE_LATER = {"outbox_messages.available_at"}
"""Times that are meant to be in the future."""


def orphans() -> Iterator[tuple[str, Select[int]]]:
    """For every foreign key of one column, the rows whose parent is not there."""
    for table in Base.metadata.sorted_tables:
        for key in sorted(table.foreign_keys, key=lambda each: each.parent.name):
            child, parent = table.alias(), key.column.table.alias()
            column = child.c[key.parent.name]
            there = exists().where(parent.c[key.column.name] == column)
            yield (
                f"orphans: {table.name}.{key.parent.name}",
                select(func.count()).select_from(child).where(column.is_not(None), ~there),
            )


def future_times() -> Iterator[tuple[str, Select[int]]]:
    """For every column of times that have been, the rows whose time is yet to come."""
    for table in Base.metadata.sorted_tables:
        for column in table.c:
            name = f"{table.name}.{column.name}"
            if isinstance(column.type, DateTime) and name not in MAY_BE_LATER:
                late = select(func.count()).select_from(table).where(column > func.now() + SKEW)
                yield f"in the future: {name}", late


def naive_times() -> Select[int]:
    """The columns of tables that keep times without a zone: whose noon is it?"""
    return select(
        text(
            "count(*) FROM information_schema.columns JOIN information_schema.tables "
            "USING (table_schema, table_name) WHERE data_type = 'timestamp without time zone' "
            "AND table_type = 'BASE TABLE' "
            "AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        )
    )


def tickets_where(*conditions: Any) -> Select[int]:
    """How many live tickets meet *conditions*."""
    return select(func.count()).select_from(Ticket).where(Ticket.deleted_at.is_(None), *conditions)


def checks(plus_tags: PlusTags = "keep") -> dict[str, Select[int]]:
    """What is counted, by name."""
    shared = duplicate_users(plus_tags).order_by(None).subquery()
    other = aliased(Ticket)
    inactive = exists().where(User.id == Ticket.assignee_id, ~User.is_active)
    repeated = exists().where(
        other.organization_id == Ticket.organization_id,
        func.lower(func.btrim(other.title)) == func.lower(func.btrim(Ticket.title)),
        other.creator_id == Ticket.creator_id,
        other.id < Ticket.id,
        other.deleted_at.is_(None),
        other.status.not_in(DONE),
    )
    used = exists().where(TicketTag.tag_id == Tag.id)
    return {
        # btrim() takes blanks away, not tabs and line breaks.
        "tickets: blank subject": tickets_where(~Ticket.title.regexp_match("[^[:space:]]")),
        "tickets: done without resolved_at": tickets_where(
            Ticket.status.in_(DONE), Ticket.resolved_at.is_(None)
        ),
        "tickets: resolved_at, but not done": tickets_where(
            Ticket.status.not_in(DONE), Ticket.resolved_at.is_not(None)
        ),
        "tickets: resolved before they came": tickets_where(Ticket.resolved_at < Ticket.created_at),
        "tickets: open, of an inactive agent": tickets_where(Ticket.status.not_in(DONE), inactive),
        "tickets: open, sent twice": tickets_where(Ticket.status.not_in(DONE), repeated),
        "users: mailboxes of several": select(func.count()).select_from(shared),
        "users: customers of nobody": select(func.count())
        .select_from(User)
        .where(~User.is_staff, User.is_active, User.organization_id.is_(None)),
        "tags: unused": select(func.count()).select_from(Tag).where(~used),
        "columns: times without a zone": naive_times(),
        **dict(orphans()),
        **dict(future_times()),
    }


def quality_report(plus_tags: PlusTags = "keep") -> Select[*tuple[Any, ...]]:
    """All ``checks`` in one row, in their order."""
    return select(*(each.scalar_subquery() for each in checks(plus_tags).values()))


def data_quality(session: Session, plus_tags: PlusTags = "keep") -> dict[str, int]:
    """What is wrong, and how often, zeros included: one statement."""
    row = session.execute(quality_report(plus_tags)).one()
    return dict(zip(checks(plus_tags), row, strict=True))


async def async_data_quality(session: AsyncSession, plus_tags: PlusTags = "keep") -> dict[str, int]:
    """The same for asyncio."""
    return await session.run_sync(data_quality, plus_tags)
