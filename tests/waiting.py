"""Several connections, and how one learns what another does.

Nobody sleeps and hopes: a test waits until PostgreSQL says so, and only a failure takes as long as
``DEADLINE``.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import URL, Engine, func, make_url, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from examples.database import create_sync_engine

DEADLINE = 120.0
"""Seconds."""
LOCK_TIMEOUT = "100s"
"""Less than ``DEADLINE``: a statement that would wait for ever says so itself."""
REST = 0.002

T = TypeVar("T")


def patient(url: str | URL) -> URL:
    """*url*, whose connections wait long for a lock, and not for ever."""
    return make_url(url).update_query_dict({"options": f"-c lock_timeout={LOCK_TIMEOUT}"})


@contextmanager
def patient_engine(url: str | URL, **options: Any) -> Iterator[Engine]:
    """An engine of such connections; *options* are those of ``create_sync_engine``."""
    engine = create_sync_engine(patient(url), **options)
    try:
        yield engine
    finally:
        engine.dispose()


def until(condition: Callable[[], bool], what: str) -> None:
    """Return as soon as *condition* holds.  Raises ``AssertionError``."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(REST)


# --- Server processes -----------------------------------------------------------------------------


def pid_of(session: Session) -> int:
    """The server process behind *session*; asked of the driver: a SELECT would take a snapshot."""
    driver: Any = session.connection().connection.driver_connection
    if hasattr(driver, "get_server_pid"):  # asyncpg
        return int(driver.get_server_pid())
    return int(driver.info.backend_pid)


def end_backend(engine: Engine, pid: int | None) -> None:
    """End a server process, as a crash or a restart does; it is gone when this returns."""
    with engine.begin() as connection:
        assert connection.scalar(select(func.pg_terminate_backend(pid, int(DEADLINE * 1000))))


def blocked(engine: Engine, pid: int) -> bool:
    """Whether *pid* waits for a lock of somebody."""
    with engine.begin() as connection:
        query = select(func.cardinality(func.pg_blocking_pids(pid)) > 0)
        return bool(connection.scalar(query))


# --- Work that is to wait -------------------------------------------------------------------------


def until_blocked(
    engine: Engine, pid: int, waiting: Future[Any] | asyncio.Task[Any]
) -> Iterator[None]:
    """Look again and again until *pid* waits; the caller rests between two looks."""
    deadline = time.monotonic() + DEADLINE
    while not blocked(engine, pid):
        assert not waiting.done(), f"it did not wait: {waiting}"
        assert time.monotonic() < deadline, "it neither waits nor ends"
        yield


def in_thread(engine: Engine, session: Session, work: Callable[[], T]) -> Future[T]:
    """Start *work* of *session* in a thread; returns once it waits for a lock.

    *engine* looks on: by a connection of its own, for *session* is busy.
    """
    pid, future = pid_of(session), Future[T]()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    for _ in until_blocked(engine, pid, future):
        time.sleep(REST)
    return future


async def in_task(
    engine: Engine, session: AsyncSession, work: Coroutine[Any, Any, T]
) -> asyncio.Task[T]:
    """The same for asyncio."""
    pid = await session.run_sync(pid_of)
    task = asyncio.create_task(work)
    for _ in until_blocked(engine, pid, task):
        await asyncio.sleep(REST)
    return task
