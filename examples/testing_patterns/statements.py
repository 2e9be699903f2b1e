"""Count the statements of a block, and show them when there are too many.

Problem: an N+1 passes every test on three rows.  Pattern: say how many statements a block may take;
the failure lists what ran.  Copy this file as it is: it needs SQLAlchemy alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

# A session that joins an outer transaction makes savepoints of its own.
SAVEPOINTS = ("SAVEPOINT ", "RELEASE SAVEPOINT ", "ROLLBACK TO SAVEPOINT ")
Target = Engine | Connection | Session | AsyncEngine | AsyncConnection | AsyncSession


class Statements(list[str]):
    """The SQL that ran, in order, without its parameters."""

    def __str__(self) -> str:
        return "\n".join(f"{number:3}. {sql}" for number, sql in enumerate(self, 1)) or "(none)"


def engine_of(target: Target) -> Engine | Connection:
    """The sync object that emits the events of *target*: an engine, or one connection of it."""
    if isinstance(target, AsyncSession):
        target = target.sync_session
    if isinstance(target, Session):
        return target.get_bind()
    if isinstance(target, AsyncEngine):
        return target.sync_engine
    if isinstance(target, AsyncConnection):
        assert target.sync_connection is not None, "the connection was not started"
        return target.sync_connection
    return target


@contextmanager
def recorded_statements(target: Target) -> Iterator[Statements]:
    """Collect what *target* executes in the block, without BEGIN, COMMIT and savepoints."""
    source, statements = engine_of(target), Statements()

    def record(_connection: object, _cursor: object, sql: str, *_rest: Any) -> None:
        if not sql.startswith(SAVEPOINTS):
            statements.append(" ".join(sql.split()))

    event.listen(source, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(source, "before_cursor_execute", record)


@contextmanager
def assert_statements(
    target: Target, *, at_most: int | None = None, exactly: int | None = None
) -> Iterator[Statements]:
    """Fail with the list of statements when the block ran more than *at_most*, or not *exactly*.

    Raises ``AssertionError``, and ``ValueError`` unless just one of the two is given.
    """
    if (at_most is None) == (exactly is None):
        raise ValueError("give one of at_most= and exactly=")
    with recorded_statements(target) as statements:
        yield statements
    count = len(statements)
    if at_most is not None and count > at_most:
        raise AssertionError(f"{count} statement(s), at most {at_most} expected:\n{statements}")
    if exactly is not None and count != exactly:
        raise AssertionError(f"{count} statement(s), exactly {exactly} expected:\n{statements}")
