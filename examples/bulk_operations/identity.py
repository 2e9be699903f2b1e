"""What a session holds after a statement that went around it.

A bulk statement changes rows, not the objects that a session has loaded: they stay as they were
until the commit, and under asyncio (``expire_on_commit=False``) beyond it.
"""

from __future__ import annotations

from collections.abc import Set

from sqlalchemy import BigInteger, any_, inspect, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from ..models import Base


def held_ids(session: Session, model: type[Base]) -> set[int]:
    """The keys of the objects of *model* that the session has loaded, out of memory alone."""
    base = inspect(model).base_mapper.class_
    # A list: an object that is collected meanwhile would change the map.
    return {identity[0] for cls, identity, *_ in list(session.identity_map.keys()) if cls is base}


def refresh_held(session: Session, model: type[Base], ids: Set[int]) -> None:
    """Read again those of *ids* that the session has loaded: one statement, or none.

    An object with changes of its own would lose them: flush before the bulk statement.
    """
    if held := ids & held_ids(session, model):
        key = inspect(model).primary_key[0]
        statement = select(model).where(key == any_(literal(sorted(held), ARRAY(BigInteger))))
        session.scalars(statement.execution_options(populate_existing=True)).all()
