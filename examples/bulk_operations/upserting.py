"""Upsert and update of many rows, with what became of each row of the input.

``INSERT … ON CONFLICT`` and not MERGE: of two MERGEs that bring the same new key at once, one fails
with a duplicate key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Select,
    Subquery,
    Table,
    and_,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from ..models import Base, Tag, Ticket, User
from .copying import table_of
from .identity import refresh_held
from .staging import POSITION, moved_by_itself, positions_of, staged

Rows: TypeAlias = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Target:
    """What makes a row of *model* the same, in the words of a unique index of its own.

    ``key`` gives the index's expressions for the columns of a table, never NULL; ``live`` is its
    condition.  What is in ``insert_only`` is written to a new row and never changed after.
    """

    model: type[Base]
    key: Callable[[Any], Sequence[ColumnElement[Any]]]
    live: ColumnElement[bool] | None = None
    insert_only: frozenset[str] = frozenset()


TICKETS = Target(
    Ticket,
    lambda c: [c.ticket_number],
    live=Ticket.__table__.c.deleted_at.is_(None),
    # A status has a history and rules of its own: bulk_update_ticket_status.
    insert_only=frozenset({"status", "resolved_at", "organization_id", "creator_id", "created_at"}),
)
USERS = Target(User, lambda c: [func.lower(c.email)], insert_only=frozenset({"password_hash"}))
TAGS = Target(Tag, lambda c: [func.lower(c.name)])
RANK = "staged_rank"


class Upserted(NamedTuple):
    """What became of one row of the input; rows with the same key share it."""

    id: int
    outcome: Literal["inserted", "updated", "unchanged"]


def upsert(target: Target, rows: Table) -> Select[int, int | None, bool | None]:
    """Write the staged *rows*: ``(position, id, inserted)``; NULLs for what was as it should be.

    The last of several with one key wins.  In the order of the key: two that bring the same keys
    wait for each other's end, and never for each other.  A row that is not changed is locked, and
    nothing of it is written: no version, no ``updated_at``, no trigger of UPDATE.
    """
    table = table_of(target.model)
    columns = [column.name for column in rows.columns if column.name != POSITION]
    # Not the key: it is equal, and in SET it would lock out who inserts a child of the row.
    keys = {each.name for each in target.key(table.c) if isinstance(each, Column)}
    fixed = target.insert_only | keys
    if not (changing := [name for name in columns if name not in fixed]):
        raise ValueError(f"received only {', '.join(columns)}; expected something that may change")
    newest = last_of_each(rows, target.key(rows.c))
    last = select(*(newest.c[name] for name in columns)).order_by(*target.key(newest.c))
    last = last.where(newest.c[RANK] == 1)
    statement = insert(table).from_select(columns, last)
    new = statement.excluded
    labelled = [key.label(f"key_{place}") for place, key in enumerate(target.key(table.c))]
    written = (
        statement.on_conflict_do_update(
            index_elements=target.key(table.c),
            index_where=target.live,
            set_={name: new[name] for name in changing} | moved_by_itself(target.model),
            where=or_(*(table.c[name].is_distinct_from(new[name]) for name in changing)),
        )
        # A row just inserted has no locker; an updated one was locked by this statement before.
        .returning(table.c.id, just_inserted(table).label("inserted"), *labelled)
        .cte("written")
    )
    same = [key == written.c[f"key_{place}"] for place, key in enumerate(target.key(rows.c))]
    return (
        select(rows.c[POSITION], written.c.id, written.c.inserted)
        .outerjoin_from(rows, written, and_(*same))
        .order_by(rows.c[POSITION])
    )


def last_of_each(rows: Table, key: Sequence[ColumnElement[Any]]) -> Subquery:
    """The staged *rows* with their ``RANK``: 1 for the last of those with one *key*.

    Not ``distinct(…)``: 2.1 deprecates it for ``distinct_on()``, which 2.0 does not have.
    """
    newest = func.row_number().over(partition_by=key, order_by=rows.c[POSITION].desc())
    return select(rows, newest.label(RANK)).subquery()


def just_inserted(table: Table) -> ColumnElement[bool]:
    """Within RETURNING of ON CONFLICT: whether the row is new.  PostgreSQL 18 has OLD for it."""
    return literal_column(f"{table.name}.xmax = 0", Boolean)


def ids_of(target: Target, rows: Table, positions: Sequence[int]) -> Select[int, int]:
    """``(position, id)`` of staged *rows* that are in the table: those of *positions*."""
    table = table_of(target.model)
    # Not position = ANY(…): it may compare each row with each number.
    wanted = positions_of(literal(positions, ARRAY(BigInteger)))
    keys = zip(target.key(table.c), target.key(rows.c), strict=True)
    same = [ours == theirs for ours, theirs in keys]
    live = true() if target.live is None else target.live
    return (
        select(rows.c[POSITION], table.c.id)
        .join_from(rows, wanted, wanted.c[POSITION] == rows.c[POSITION])
        .join(table, and_(live, *same))
    )


def upsert_rows(session: Session, target: Target, rows: Rows) -> list[Upserted]:
    """Insert or update *rows*, of any number: what became of each, in the order of the input.

    All rows have the same columns.  Safe beside writers of the same keys, in READ COMMITTED; in a
    stricter level a key committed meanwhile is a serialization failure (40001).  Conflicts use up
    values of the identity, too.  What the session holds is read again.
    """
    session.flush()
    connection = session.connection()
    with staged(connection, table_of(target.model), rows) as made:
        if made is None:
            return []
        table, _ = made
        found = connection.execute(upsert(target, table)).all()
        outcomes = {
            position: Upserted(key, "inserted" if inserted else "updated")
            for position, key, inserted in found
            if key is not None
        }
        same = [position for position, key, _ in found if key is None]
        if same:
            # A later statement: it also sees what another transaction has inserted meanwhile.
            for position, key in connection.execute(ids_of(target, table, same)):
                outcomes[position] = Upserted(key, "unchanged")
    result = [outcomes[position] for position in range(len(found))]
    refresh_held(session, target.model, {row.id for row in result if row.outcome == "updated"})
    return result


async def async_upsert_rows(session: AsyncSession, target: Target, rows: Rows) -> list[Upserted]:
    """The same for asyncio."""
    return await session.run_sync(upsert_rows, target, rows)


# --- Update by id ---------------------------------------------------------------------------------

Outcome = Literal["updated", "unchanged", "changed meanwhile", "missing"]


def lock_staged(model: type[Base], rows: Table, live: ColumnElement[bool]) -> Select[int]:
    """Lock the rows that are staged, in the order of the key: how many.

    A statement of its own: the one after it decides by what is true when all locks are held.
    """
    table = table_of(model)
    locked = (
        select(table.c.id)
        .where(table.c.id.in_(select(rows.c.id)), live)
        .order_by(table.c.id)
        .with_for_update(key_share=True, of=table)
        .subquery()
    )
    return select(func.count()).select_from(locked)


def update_staged(
    model: type[Base], rows: Table, live: ColumnElement[bool]
) -> Select[int | None, bool, bool]:
    """Update what differs: ``(id, version as expected, updated)`` a row; the id of none is NULL."""
    table, versioned = table_of(model), "version" in rows.c
    changing = [c.name for c in rows.columns if c.name not in {POSITION, "id", "version"}]
    if not changing:
        raise ValueError("received rows of nothing but keys; expected something to change")
    last = last_of_each(rows, [rows.c.id])
    changed = (
        update(table)
        .where(
            table.c.id == last.c.id,
            last.c[RANK] == 1,
            live,
            table.c.version == last.c.version if versioned else true(),
            or_(*(table.c[name].is_distinct_from(last.c[name]) for name in changing)),
        )
        .values({name: last.c[name] for name in changing} | moved_by_itself(model))
        .returning(table.c.id)
        .cte("changed")
    )
    return (
        # The tables as they were before the CTE: a statement does not see what its parts write.
        select(
            table.c.id,
            (table.c.version == rows.c.version if versioned else true()).label("expected"),
            changed.c.id.is_not(None).label("updated"),
        )
        .select_from(rows)
        .outerjoin(table, and_(table.c.id == rows.c.id, live))
        .outerjoin(changed, changed.c.id == rows.c.id)
        .order_by(rows.c[POSITION])
    )


def update_rows(
    session: Session,
    model: type[Base],
    rows: Rows,
    *,
    live: ColumnElement[bool] | None = None,
) -> list[Outcome]:
    """Give each row, found by its ``id``, values of its own: what became of it, in input order.

    With a ``version`` in the rows, one that is at another version is left alone.  *live* is what
    must be true of a row to be found; the last of several with one id wins.  A ticket's status has
    a function of its own.  Raises ``ValueError`` where rows bring nothing but keys.
    """
    session.flush()
    connection, condition = session.connection(), true() if live is None else live
    with staged(connection, table_of(model), rows) as made:
        if made is None:
            return []
        table, _ = made
        connection.execute(lock_staged(model, table, condition)).all()
        found = connection.execute(update_staged(model, table, condition)).all()
    refresh_held(session, model, {key for key, _, updated in found if updated and key is not None})
    return [outcome_of(*row) for row in found]


def outcome_of(key: int | None, expected: bool, updated: bool) -> Outcome:
    """What became of a row."""
    if key is None:
        return "missing"
    if updated:
        return "updated"
    return "unchanged" if expected else "changed meanwhile"


async def async_update_rows(
    session: AsyncSession,
    model: type[Base],
    rows: Rows,
    *,
    live: ColumnElement[bool] | None = None,
) -> list[Outcome]:
    """The same for asyncio."""
    return await session.run_sync(lambda sync: update_rows(sync, model, rows, live=live))
