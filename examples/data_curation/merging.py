"""Merge duplicate users, tickets and tags: every reference follows, in the caller's transaction.

Rows are locked in the order of their keys, tables in the order of their dependence: two mergers
wait for each other's end, not for each other.  READ COMMITTED: after a wait the next statement must
see what was committed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, Table, Update, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, aliased

from ..models import AuditLog, Base, TicketStatus, User
from .held import reread
from .references import Moved, image_of, one_of, references_to, repoint

USERS, TICKETS, TAGS = (Base.metadata.tables[name] for name in ("users", "tickets", "tags"))


@dataclass(frozen=True)
class Merge:
    """The survivor's id, the ids of those that it stands for, and what was done to their rows."""

    keeper: int
    losers: tuple[int, ...]
    done: Moved


# --- Statements -----------------------------------------------------------------------------------


def lock_group(table: Table, ids: Iterable[int]) -> Select[*tuple[Any, ...]]:
    """``(id, image)`` of the rows to be merged, locked in the order of their ids.

    FOR UPDATE, and not NO KEY: nobody may begin to refer to one of them meanwhile.  What refers to
    them from the table itself is locked here as well, or two mergers could cross.
    """
    ids = list(ids)
    own = [one_of(each, ids) for each in references_to(table) if each.table is table]
    return (
        select(table.c.id, image_of(table))
        .where(or_(one_of(table.c.id, ids), *own))
        .order_by(table.c.id)
        .with_for_update()
    )


def inherit(keeper: int, losers: Iterable[int]) -> Update:
    """The surviving user has the latest sign-in of all, and an organization if one had any."""
    group = aliased(User)
    known = group.id.in_([keeper, *losers])
    last_login = select(func.max(group.last_login)).where(known).scalar_subquery()
    # All that have one have the same.
    organization_id = select(func.max(group.organization_id)).where(known).scalar_subquery()
    return (
        update(USERS)
        .where(USERS.c.id == keeper)
        .values(last_login=last_login, organization_id=organization_id)
    )


def bury(keeper: int, losers: Iterable[int], merged_by_id: int | None) -> Update:
    """The merged tickets stay as deleted duplicates: customers know their numbers."""
    return (
        update(TICKETS)
        .where(one_of(TICKETS.c.id, losers))
        .values(
            status=TicketStatus.CLOSED,
            resolved_at=func.coalesce(TICKETS.c.resolved_at, func.now()),
            deleted_at=func.coalesce(TICKETS.c.deleted_at, func.now()),
            duplicate_of_id=keeper,
            updated_by_id=merged_by_id,
            version=TICKETS.c.version + 1,
        )
    )


def entries(
    table: Table, merge: Merge, images: Mapping[int, Any], gone: bool, merged_by_id: int | None
) -> list[dict[str, Any]]:
    """The audit trail: what came to the survivor, and what each of the others was."""
    about: dict[str, Any] = {"table_name": table.name, "user_id": merged_by_id}
    told = {"merged": list(merge.losers), "moved": merge.done.moved, "dropped": merge.done.dropped}
    # With "old" and "new", as in every other entry, whoever replays the trail can read them.
    survivor = {"old": {}, "new": {}, **told}
    action = "DELETE" if gone else "UPDATE"
    others = {
        each: {"old": images[each], "new": {}, "merged_into": merge.keeper} for each in merge.losers
    }
    return [
        about | {"record_id": merge.keeper, "action": "UPDATE", "changes": survivor},
        *(
            about | {"record_id": each, "action": action, "changes": changes}
            for each, changes in others.items()
        ),
    ]


# --- At the edge ----------------------------------------------------------------------------------


def lock_and_check(
    session: Session, table: Table, keeper: int, losers: Iterable[int]
) -> tuple[list[int], dict[int, Any]]:
    """The losers, ascending, and the image of each row.  Raises ``ValueError``."""
    session.flush()
    ids = sorted(set(losers))
    if not ids or keeper in ids:
        raise ValueError(f"received {keeper} and {ids}; expected others to merge into it")
    images = {row[0]: row[1] for row in session.execute(lock_group(table, [keeper, *ids]))}
    if missing := {keeper, *ids} - images.keys():
        raise ValueError(f"received {table.name} {sorted(missing)}, which are not there")
    return ids, images


def same(images: Mapping[int, Any], ids: Iterable[int], name: str, *, or_none: bool) -> None:
    """Raise ``ValueError`` unless the rows agree in column *name*."""
    values = {images[each][name] for each in ids} - ({None} if or_none else set())
    if len(values) > 1:
        raise ValueError(f"received rows of different {name}: {sorted(values)}; expected one")


def merge_users(
    session: Session, keeper_id: int, loser_ids: Iterable[int], *, merged_by_id: int | None = None
) -> Merge:
    """Let one user stand for several, and delete the others.

    Raises ``ValueError`` for one who is not there, and for customers of different organizations or
    customers and staff: who signs in as the survivor would see what is not theirs.
    """
    losers, images = lock_and_check(session, USERS, keeper_id, loser_ids)
    same(images, [keeper_id, *losers], "organization_id", or_none=True)
    same(images, [keeper_id, *losers], "is_staff", or_none=False)
    merge = Merge(keeper_id, tuple(losers), repoint(session, USERS, keeper_id, losers))
    session.execute(inherit(keeper_id, losers))
    session.execute(delete(USERS).where(one_of(USERS.c.id, losers)))
    session.execute(insert(AuditLog), entries(USERS, merge, images, True, merged_by_id))
    reread(session)
    return merge


def merge_tickets(
    session: Session,
    keeper_id: int,
    loser_ids: Iterable[int],
    *,
    merged_by_id: int | None = None,
    stay: Collection[str] = (),
) -> Merge:
    """Let one ticket stand for several; the others stay as deleted duplicates, with nothing.

    Merge again what is merged into it already: a comment that came late follows.  With
    ``stay={"ticket_status_history.ticket_id"}`` each keeps its own history.  Raises ``ValueError``
    for a ticket that is not there, deleted, or of another organization.
    """
    losers, images = lock_and_check(session, TICKETS, keeper_id, loser_ids)
    same(images, [keeper_id, *losers], "organization_id", or_none=False)
    gone = [
        each
        for each in (keeper_id, *losers)
        if images[each]["deleted_at"]
        and (each == keeper_id or images[each]["duplicate_of_id"] != keeper_id)
    ]
    if gone:
        raise ValueError(f"received tickets {gone}, which are deleted; expected live ones")
    done = repoint(session, TICKETS, keeper_id, losers, stay=stay)
    merge = Merge(keeper_id, tuple(losers), done)
    session.execute(bury(keeper_id, losers, merged_by_id))
    # Who has read the survivor before has not seen what came to it.
    session.execute(
        update(TICKETS).where(TICKETS.c.id == keeper_id).values(version=TICKETS.c.version + 1)
    )
    session.execute(insert(AuditLog), entries(TICKETS, merge, images, False, merged_by_id))
    reread(session)
    return merge


def merge_tags(
    session: Session, keeper_id: int, loser_ids: Iterable[int], *, merged_by_id: int | None = None
) -> Merge:
    """Let one tag stand for several, and delete the others.  Raises ``ValueError``."""
    losers, images = lock_and_check(session, TAGS, keeper_id, loser_ids)
    merge = Merge(keeper_id, tuple(losers), repoint(session, TAGS, keeper_id, losers))
    session.execute(delete(TAGS).where(one_of(TAGS.c.id, losers)))
    session.execute(insert(AuditLog), entries(TAGS, merge, images, True, merged_by_id))
    reread(session)
    return merge


async def async_merge_users(
    session: AsyncSession,
    keeper_id: int,
    loser_ids: Iterable[int],
    *,
    merged_by_id: int | None = None,
) -> Merge:
    """The same for asyncio."""
    return await session.run_sync(
        lambda sync: merge_users(sync, keeper_id, loser_ids, merged_by_id=merged_by_id)
    )


async def async_merge_tickets(
    session: AsyncSession,
    keeper_id: int,
    loser_ids: Iterable[int],
    *,
    merged_by_id: int | None = None,
    stay: Collection[str] = (),
) -> Merge:
    """The same for asyncio."""
    return await session.run_sync(
        lambda sync: merge_tickets(sync, keeper_id, loser_ids, merged_by_id=merged_by_id, stay=stay)
    )


async def async_merge_tags(
    session: AsyncSession,
    keeper_id: int,
    loser_ids: Iterable[int],
    *,
    merged_by_id: int | None = None,
) -> Merge:
    """The same for asyncio."""
    return await session.run_sync(
        lambda sync: merge_tags(sync, keeper_id, loser_ids, merged_by_id=merged_by_id)
    )
