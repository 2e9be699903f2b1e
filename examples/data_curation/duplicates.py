"""Find what is there twice: users by mailbox or name, tickets by subject, tags by spelling.

Problem: ``Ann+desk@x.org`` and ``ann@x.org`` are one person, and "Printer on fire" came in twice.
Pattern: a key computed in SQL, the same in the index and in the query; ``pg_trgm`` for what is only
alike, a few candidates for each new row.  What is found is proposed: a person decides on likeness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    func,
    literal_column,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, aliased

from ..models import Tag, Ticket, TicketTag, User

PlusTags = Literal["keep", "drop"]
"""Whether ann+desk@x.org is a mailbox of its own, or ann's.  Most hosts drop it, not all: keep."""

EMAIL_KEYS: dict[PlusTags, str] = {
    "keep": "lower(btrim(users.email))",
    "drop": r"regexp_replace(lower(btrim(users.email)), '\+[^@]*@', '@')",
}
TAG_KEY = r"btrim(regexp_replace(lower(tags.name), '[\s_-]+', '-', 'g'), '-')"
ERASED = "@erased.invalid"
"""Whoever was anonymised is nobody's duplicate."""

INDEXES = (
    text("CREATE EXTENSION IF NOT EXISTS pg_trgm"),
    text(
        "CREATE INDEX IF NOT EXISTS ix_users_mailbox ON users "
        r"((regexp_replace(lower(btrim(email)), '\+[^@]*@', '@')))"
    ),
    text(
        "CREATE INDEX IF NOT EXISTS ix_users_name_trigrams ON users "
        "USING gin (full_name gin_trgm_ops)"
    ),
    text(
        "CREATE INDEX IF NOT EXISTS ix_tickets_title_trigrams ON tickets "
        "USING gin (title gin_trgm_ops)"
    ),
)
"""What the searches need; on full tables CONCURRENTLY, in a migration.

After a bulk load VACUUM: entries that wait in a GIN index's pending list make it look dear.
"""


def email_key(plus_tags: PlusTags = "keep") -> ColumnElement[str]:
    """The mailbox of a user.  Literal: with parameters a generic plan would not know its index."""
    return literal_column(EMAIL_KEYS[plus_tags], String)


def tag_key() -> ColumnElement[str]:
    """A tag's name in lower case, its words joined by single hyphens."""
    return literal_column(TAG_KEY, String)


def duplicate_users(plus_tags: PlusTags = "keep") -> Select[str, Sequence[int]]:
    """``(mailbox, ids)`` of the users who share one; the one to keep first: active, then oldest."""
    key = email_key(plus_tags).label("mailbox")
    ids = func.array_agg(aggregate_order_by(User.id, User.is_active.desc(), User.id))
    return (
        select(key, ids)
        .where(User.email.not_like(f"%{ERASED}"))
        .group_by(key)
        .having(func.count() > 1)
        .order_by(key)
    )


def users_of_mailbox(email: str, plus_tags: PlusTags = "keep") -> Select[int]:
    """The users of *email*'s mailbox, before another one is made."""
    wanted = email.strip().lower()
    if plus_tags == "drop" and "@" in wanted:
        name, _, host = wanted.rpartition("@")
        wanted = f"{name.partition('+')[0]}@{host}"
    return select(User.id).where(email_key(plus_tags) == wanted).order_by(User.id)


def duplicate_tags() -> Select[str, Sequence[int]]:
    """``(name, ids)`` of tags that are one but for case, blanks, ``-`` and ``_``; the one most
    used first.
    """
    used = select(func.count()).where(TicketTag.tag_id == Tag.id).correlate(Tag).scalar_subquery()
    key = tag_key().label("key")
    ids = func.array_agg(aggregate_order_by(Tag.id, used.desc(), Tag.id))
    return (
        select(key, ids).where(tag_key() != "").group_by(key).having(func.count() > 1).order_by(key)
    )


def likeness_threshold(value: float) -> Select[str]:
    """Run it before: how like two texts must be (0 to 1), in this transaction alone."""
    return select(func.set_config("pg_trgm.similarity_threshold", str(value), True))


def similar_users(after_id: int = 0, *, candidates: int = 3) -> Select[int, int, float]:
    """``(older id, newer id, similarity)``: for each user after *after_id* who is named alike.

    Only within one organization, or among those of none.
    """
    new, old = aliased(User), aliased(User)
    return pairs(
        (old.id, new.id),
        (old.full_name, new.full_name),
        (
            old.organization_id.is_not_distinct_from(new.organization_id),
            old.email.not_like(f"%{ERASED}"),
        ),
        (new.id > after_id, new.email.not_like(f"%{ERASED}")),
        candidates,
    )


def similar_tickets(after_id: int = 0, *, candidates: int = 3) -> Select[int, int, float]:
    """``(older id, newer id, similarity)``: for each live ticket after *after_id* the most alike.

    Only of one organization.
    """
    new, old = aliased(Ticket), aliased(Ticket)
    return pairs(
        (old.id, new.id),
        (old.title, new.title),
        (old.organization_id == new.organization_id, old.deleted_at.is_(None)),
        (new.id > after_id, new.deleted_at.is_(None)),
        candidates,
    )


def pairs(
    ids: tuple[Any, Any],
    texts: tuple[Any, Any],
    of_old: Sequence[ColumnElement[bool]],
    of_new: Sequence[ColumnElement[bool]],
    candidates: int,
) -> Select[int, int, float]:
    """For each new row its few best older ones: LATERAL, so that the index is asked row by row.

    A plain join on ``%`` would compare every two rows of an organization.
    """
    likeness = func.similarity(*texts).label("similarity")
    best = (
        select(ids[0].label("id"), likeness)
        .where(texts[0].bool_op("%")(texts[1]), ids[0] < ids[1], *of_old)
        .order_by(likeness.desc(), ids[0])
        .limit(candidates)
        .lateral("best")
    )
    return (
        select(best.c.id, ids[1], best.c.similarity)
        .join(best, true())
        .where(*of_new)
        .order_by(best.c.similarity.desc(), best.c.id, ids[1])
    )


def find_similar(
    session: Session, statement: Select[int, int, float], *, threshold: float = 0.6
) -> list[tuple[int, int, float]]:
    """The pairs of ``similar_users`` or ``similar_tickets``, best first: two statements."""
    session.execute(likeness_threshold(threshold))
    return [(row[0], row[1], row[2]) for row in session.execute(statement)]


async def async_find_similar(
    session: AsyncSession, statement: Select[int, int, float], *, threshold: float = 0.6
) -> list[tuple[int, int, float]]:
    """The same for asyncio."""
    return await session.run_sync(lambda sync: find_similar(sync, statement, threshold=threshold))


def find_duplicates(
    session: Session, statement: Select[str, Sequence[int]]
) -> dict[str, list[int]]:
    """The groups of ``duplicate_users`` or ``duplicate_tags``: one statement."""
    return {row[0]: list(row[1]) for row in session.execute(statement)}


async def async_find_duplicates(
    session: AsyncSession, statement: Select[str, Sequence[int]]
) -> dict[str, list[int]]:
    """The same for asyncio."""
    return {row[0]: list(row[1]) for row in await session.execute(statement)}
