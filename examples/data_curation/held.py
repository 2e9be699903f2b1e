"""What a session holds after statements that went around it: read it again.

Curation changes rows of many tables at once.  What the session has loaded stays as it was until
the commit, and under asyncio (``expire_on_commit=False``) beyond it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import inspect, select, tuple_
from sqlalchemy.orm import Session

BATCH = 1_000


def reread(session: Session) -> None:
    """Load again whatever *session* holds, and let it forget what is gone.

    A statement for each class and 1,000 objects; none where nothing is held.  Changes that were
    not flushed would be lost: every function here flushes first.
    """
    held: dict[type[Any], dict[tuple[Any, ...], Any]] = defaultdict(dict)
    for each in list(session):
        if (identity := inspect(each).identity) is not None:
            held[type(each)][identity] = each
    for cls, objects in held.items():
        columns, keys, found = inspect(cls).primary_key, list(objects), set()
        for start in range(0, len(keys), BATCH):
            wanted = tuple_(*columns).in_(keys[start : start + BATCH])
            again = select(cls).where(wanted).execution_options(populate_existing=True)
            found |= {inspect(each).identity for each in session.scalars(again)}
        for key in objects.keys() - found:
            if objects[key] in session:  # a ticket takes its comments along
                session.expunge(objects[key])
