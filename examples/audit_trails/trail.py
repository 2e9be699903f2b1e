"""Reading the trail: the history of a record, its state as of an instant, who changed what.

Entries of one record are ordered by ``id``: rows are locked while they change, so that ids follow
the changes.  ``changes`` holds ``old`` and ``new`` values of the columns that changed, and where
there is cause ``cut`` (names of values that are not whole), ``redacted`` (names of secrets that
changed), ``key`` (the rest of a key of several columns), ``request_id``, and ``db_user`` where no
user was named.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Select,
    Table,
    Text,
    case,
    cast,
    column,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from ..models import AuditLog
from .tables import audited, is_json


def history_of(table_name: str, record_id: int) -> Select[AuditLog]:
    """All that became of a record, oldest first."""
    return (
        select(AuditLog)
        .where(AuditLog.table_name == table_name, AuditLog.record_id == record_id)
        .order_by(AuditLog.id)
    )


def changes_of(table_name: str, record_id: int, column_name: str) -> Select[AuditLog]:
    """Who set one column of a record, and when, a secret column too, whose values are not told."""
    return history_of(table_name, record_id).where(
        or_(
            AuditLog.changes["new"].has_key(column_name),
            AuditLog.changes["redacted"].has_key(column_name),
        )
    )


def changes_by(user_id: int, begin: datetime, end: datetime) -> Select[AuditLog]:
    """What a user changed from *begin* until before *end*; other months are not even looked at."""
    return (
        select(AuditLog)
        .where(AuditLog.user_id == user_id, AuditLog.created_at >= begin, AuditLog.created_at < end)
        .order_by(AuditLog.id)
    )


def changes_in_request(request_id: str, begin: datetime, end: datetime) -> Select[AuditLog]:
    """What one request changed.  No index knows it: give the minutes in which it ran."""
    return (
        select(AuditLog)
        .where(
            AuditLog.changes["request_id"].as_string() == request_id,
            AuditLog.created_at >= begin,
            AuditLog.created_at < end,
        )
        .order_by(AuditLog.id)
    )


def replay(entries: Iterable[AuditLog]) -> dict[str, Any] | None:
    """The values after *entries*, a record's history from its INSERT on; None once deleted.

    As JSON, without secrets; those that any entry calls ``cut`` are not whole.
    """
    state: dict[str, Any] | None = None
    for entry in entries:
        state = None if entry.action == "DELETE" else (state or {}) | entry.changes["new"]
    return state


def state_as_of(table: Table, record_id: int, instant: datetime) -> Select[Any]:
    """One row of *table*'s recorded columns as it was at *instant*, or none if there was none.

    It takes today's row and undoes what came later, so that it also knows records that are older
    than the trail; *instant* must not be.  Values have their types again; what was cut is cut, or
    NULL unless it is text.  For tables with a key of one column.
    """
    columns = [table.c[name] for name in audited(table).columns]
    present = table.alias("present")
    later = (
        select(AuditLog.id, AuditLog.action, AuditLog.changes)
        .where(
            AuditLog.table_name == table.name,
            AuditLog.record_id == record_id,
            AuditLog.created_at > instant,
        )
        .cte("later")
    )
    # Of each column the first value that was overwritten later: the one that it had.  Of equal keys
    # jsonb keeps the last, hence the order.
    old = func.jsonb_each(later.c.changes["old"]).table_valued("key", "value", name="old")
    newest_first = aggregate_order_by(old.c.value, later.c.id.desc())
    overwritten = (
        select(func.jsonb_object_agg(old.c.key, newest_first))
        .select_from(later)
        .join(old, true())
        .scalar_subquery()
    )
    next_action = (
        select(later.c.action).order_by(later.c.id).limit(1).scalar_subquery().label("next_action")
    )
    undone = select(
        func.coalesce(overwritten, literal_column("'{}'::jsonb"), type_=JSONB).label("values"),
        next_action,
    ).subquery("undone")
    then = (
        func.jsonb_populate_record(literal_column("present"), undone.c["values"])
        .table_valued(*(column(each.name, each.type) for each in columns), name="as_it_was")
        .lateral("as_it_was")
    )
    (key,) = present.primary_key
    # Recorded as text, and as json that is a string.
    unwrapped = {
        each.name: case(
            (
                undone.c["values"].has_key(literal(each.name, Text)),
                cast(then.c[each.name].op("#>>")(literal_column("'{}'")), each.type),
            ),
            else_=then.c[each.name],
        ).label(each.name)
        for each in columns
        if is_json(each.type)
    }
    return (
        select(*(unwrapped.get(each.name, each) for each in then.c))
        .select_from(undone)
        .outerjoin(present, key == record_id)
        .join(then, true())
        .where(
            case(
                (undone.c.next_action.is_(None), key.is_not(None)),
                else_=undone.c.next_action != "INSERT",
            )
        )
    )


def load_history(session: Session, table_name: str, record_id: int) -> list[AuditLog]:
    """The entries of ``history_of``."""
    return list(session.scalars(history_of(table_name, record_id)))


async def async_load_history(
    session: AsyncSession, table_name: str, record_id: int
) -> list[AuditLog]:
    """The same for asyncio."""
    return list(await session.scalars(history_of(table_name, record_id)))


def row_as_of(
    session: Session, table: Table, record_id: int, instant: datetime
) -> dict[str, Any] | None:
    """The row of ``state_as_of`` by column, or None."""
    row = session.execute(state_as_of(table, record_id, instant)).mappings().one_or_none()
    return None if row is None else dict(row)


async def async_row_as_of(
    session: AsyncSession, table: Table, record_id: int, instant: datetime
) -> dict[str, Any] | None:
    """The same for asyncio."""
    return await session.run_sync(row_as_of, table, record_id, instant)
