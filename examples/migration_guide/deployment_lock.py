"""One deployment at a time: the others wait, and find it done.

Problem: several instances start at once and each migrates.  Pattern: an advisory lock of the
session, *asked for* again and again.  A deployment that waited inside ``pg_advisory_lock`` would
hold a snapshot, CREATE INDEX CONCURRENTLY of the other would wait for it to end, and both would be
a deadlock (see the pitfall ``waiting_advisory_lock``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from alembic.util import CommandError
from sqlalchemy import Connection, text

log = logging.getLogger("alembic.runtime.migration")
# Any number, the same in every deployment. Advisory locks belong to one database.
KEY = 5_241_960_318_227_001
POLL_SECONDS = 0.2


@contextmanager
def deployment_lock(connection: Connection, wait: float) -> Iterator[None]:
    """Hold the lock within the block; it also goes when the connection does.

    *wait* is in seconds.  Raises ``CommandError`` when they are over.  *connection* must be in no
    transaction, and is in none between two looks and within the block.
    """
    deadline = time.monotonic() + wait
    waited = False
    while not attempt(connection):
        if not waited:
            log.info("another deployment migrates; waiting up to %s s", f"{wait:g}")
            waited = True
        if time.monotonic() > deadline:
            raise CommandError(
                f"received no turn within {wait:g} s: another deployment migrates this database; "
                "expected it to end; try: look for the locktype advisory in pg_locks"
            )
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        if not connection.invalidated and not connection.closed:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": KEY})
            connection.commit()


def attempt(connection: Connection) -> bool:
    """Take the lock if it is free, in a transaction that ends at once; the lock outlives it."""
    got = connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": KEY})
    connection.commit()
    return bool(got)
