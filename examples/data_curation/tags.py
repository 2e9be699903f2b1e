"""Tags in one spelling: what differs by case, blanks, ``-`` or ``_`` alone becomes one tag."""

from __future__ import annotations

from sqlalchemy import Select, Update, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from ..models import Tag
from .duplicates import duplicate_tags, tag_key
from .held import reread
from .merging import Merge, merge_tags


def lock_tags() -> Select[int]:
    """All tags, in the order of their ids: there are few, and each may be renamed."""
    return select(Tag.id).order_by(Tag.id).with_for_update()


def respell() -> Update:
    """Give every tag its name in normal form; a name of signs alone stays."""
    return (
        update(Tag)
        .where(Tag.name != tag_key(), tag_key() != "")
        .values(name=func.coalesce(tag_key(), Tag.name))
        .execution_options(synchronize_session=False)
    )


def normalise_tags(session: Session, *, merged_by_id: int | None = None) -> list[Merge]:
    """Merge the tags that are one, then spell each in normal form: what was merged."""
    session.flush()
    session.execute(lock_tags()).all()
    groups = session.execute(duplicate_tags()).all()
    merges = [merge_tags(session, ids[0], ids[1:], merged_by_id=merged_by_id) for _, ids in groups]
    session.execute(respell())
    reread(session)
    return merges


async def async_normalise_tags(
    session: AsyncSession, *, merged_by_id: int | None = None
) -> list[Merge]:
    """The same for asyncio."""
    return await session.run_sync(lambda sync: normalise_tags(sync, merged_by_id=merged_by_id))
