"""Database errors by SQLSTATE, transactions that are repeated, tags without a race."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from models import Tag
from sqlalchemy import exc
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

T = TypeVar("T")

KINDS = {
    "23505": "conflict",
    "23P01": "conflict",
    "23001": "in_use",  # RESTRICT, from PostgreSQL 18
    "23502": "invalid",
    "23514": "invalid",
    "40001": "busy",
    "40P01": "busy",
    "55P03": "busy",
    "57014": "timeout",
}
CLASSES = {"22": "invalid", "08": "unavailable", "53": "unavailable", "57": "unavailable"}


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE, whatever the driver."""
    seen: BaseException | None = getattr(error, "orig", None) or error
    while seen is not None:
        state = getattr(seen, "sqlstate", None) or getattr(seen, "pgcode", None)
        if state:
            return str(state)
        seen = seen.__cause__
    return None


def kind(error: BaseException) -> str:
    """What went wrong, in one word."""
    state = sqlstate(error)
    if state == "23503":
        # One code for both sides before PostgreSQL 18, and for NO ACTION still.
        statement = str(getattr(error, "statement", "") or "").lstrip().upper()
        return "in_use" if statement.startswith("DELETE") else "missing_reference"
    if state is not None:
        return KINDS.get(state) or CLASSES.get(state[:2], "other")
    if isinstance(error, (exc.TimeoutError, OSError)):
        return "unavailable"
    if isinstance(error, exc.DBAPIError):
        if isinstance(error.orig, OSError) or isinstance(error, exc.OperationalError):
            return "unavailable"
        if isinstance(error, exc.DataError) or "DataError" in str(type(error.orig)):
            return "invalid"
        if error.connection_invalidated:
            return "unavailable"
    return "other"


def run(factory: sessionmaker[Session], work: Callable[[Session], T], attempts: int = 3) -> T:
    """Run *work* in a transaction, again after a deadlock or a serialization failure."""
    for attempt in range(1, attempts + 1):
        try:
            with factory.begin() as session:
                return work(session)
        except exc.DBAPIError as error:
            if sqlstate(error) not in {"40001", "40P01"} or attempt == attempts:
                raise
        time.sleep(random.uniform(0, 0.02 * 2**attempt))
    raise ValueError(f"received attempts={attempts}, expected at least 1")


def add_tags(session: Session, names: list[str]) -> list[str]:
    """Add what is missing; the names that this call added."""
    wanted = list(dict.fromkeys(names))
    if not wanted:
        return []
    statement = (
        insert(Tag)
        .values([{"name": name} for name in sorted(wanted)])
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(Tag.name)
    )
    added = set(session.scalars(statement))
    return [name for name in wanted if name in added]
