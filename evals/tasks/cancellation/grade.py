"""Whether a connection, a transaction or half of a change is left behind."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from evals.workspace import Workspace

TICKETS = 200
BUSY = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    " AND (state = 'active' OR state LIKE 'idle in transaction%')"
)


def desk(work: Workspace, size: int = 2) -> tuple[Any, AsyncEngine]:
    """The service, and an engine with a small pool over two agents and some tickets."""
    service, models = work.module("service"), work.module("models")
    models.Base.metadata.create_all(work.engine())
    work.rows("INSERT INTO agents (name) VALUES ('ann'), ('bob')")
    work.rows(
        "INSERT INTO tickets (title) SELECT 'Ticket ' || n FROM generate_series(1, :count) n",
        count=TICKETS,
    )
    return service, work.async_engine(pool_size=size, max_overflow=0, pool_timeout=3)


async def settled(work: Workspace, engine: AsyncEngine) -> tuple[int, int]:
    """Connections that are checked out, and busy in the server, after at most five seconds."""
    pool: Any = engine.pool
    end = time.monotonic() + 5
    while True:
        found = int(pool.checkedout()), int(work.value(BUSY))
        if found == (0, 0) or time.monotonic() > end:
            return found
        await asyncio.sleep(0.05)


@contextmanager
def nothing_collected() -> Iterator[None]:
    """SQLAlchemy warns where Python, and not the code, gave a connection back; none must be."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    found = [str(each.message) for each in caught if "garbage collector" in str(each.message)]
    assert not found, f"{len(found)} connection(s) were left to the collector: {found[0][:120]}"


async def cancelled(coroutine: Any, after: float) -> None:
    """Start it, cancel it, wait until it has ended."""
    task = asyncio.ensure_future(coroutine)
    await asyncio.sleep(after)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def check_cancelled_query(work: Workspace) -> None:
    """A report that is cancelled while PostgreSQL works gives its connection back, and the query ends"""  # noqa: E501
    service, engine = desk(work)

    async def live() -> None:
        for _ in range(5):
            await cancelled(service.slow_report(engine, 30.0), 0.3)
        found = await settled(work, engine)
        assert found == (0, 0), f"(checked out, busy in the server) after five: {found}"
        assert await service.slow_report(engine, 0) == TICKETS

    with nothing_collected():
        work.run(live())


def check_cancelled_early(work: Workspace) -> None:
    """Cancelled at any moment, connecting and closing included, nothing stays checked out"""
    service, engine = desk(work)

    async def live() -> None:
        for step in range(60):
            await cancelled(service.slow_report(engine, 0.01), step / 2000)
        found = await settled(work, engine)
        assert found == (0, 0), f"(checked out, busy in the server) after sixty: {found}"
        reports = await asyncio.gather(*(service.slow_report(engine, 0) for _ in range(10)))
        assert reports == [TICKETS] * 10, reports

    with nothing_collected():
        work.run(live())


def check_stream_left(work: Workspace) -> None:
    """A reader who closes titles() half way, or is cancelled in it, leaves no connection behind"""
    service, engine = desk(work)

    async def read_slowly() -> None:
        async for _ in service.titles(engine):
            await asyncio.sleep(30)

    async def live() -> None:
        everything = [title async for title in service.titles(engine)]
        assert everything == [f"Ticket {n}" for n in range(1, TICKETS + 1)], everything[:5]
        for _ in range(4):
            stream = service.titles(engine)
            assert await anext(stream) == "Ticket 1"
            await stream.aclose()
        found = await settled(work, engine)
        assert found == (0, 0), f"(checked out, busy in the server) after aclose(): {found}"
        for _ in range(4):
            await cancelled(read_slowly(), 0.1)
        found = await settled(work, engine)
        assert found == (0, 0), f"(checked out, busy in the server) after cancelling: {found}"

    with nothing_collected():
        work.run(live())


def state(work: Workspace) -> tuple[Any, Any]:
    """Who has ticket 1, and how many tickets agent 1 is said to have."""
    return (
        work.value("SELECT agent_id FROM tickets WHERE id = 1"),
        work.value("SELECT open_tickets FROM agents WHERE id = 1"),
    )


def check_all_or_nothing(work: Workspace) -> None:
    """assign() that is cancelled in notify(), or whose notify() raises, changes nothing and leaks nothing"""  # noqa: E501
    service, engine = desk(work)

    async def hang() -> None:
        await asyncio.sleep(30)

    async def fail() -> None:
        raise RuntimeError("the mail server refuses")

    async def live() -> None:
        for _ in range(3):
            await cancelled(service.assign(engine, 1, 1, hang), 0.2)
            with suppress(RuntimeError):
                await service.assign(engine, 1, 1, fail)
        found = await settled(work, engine)
        assert found == (0, 0), f"(checked out, busy in the server): {found}"
        assert state(work) == (None, 0), f"(agent, count): {state(work)}"

    with nothing_collected():
        work.run(live())


def check_assign(work: Workspace) -> None:
    """assign() that ends stores both changes, and two at once both count"""
    service, engine = desk(work)
    meeting = asyncio.Barrier(2)

    async def meet() -> None:
        # Both have read by now whatever they read before notify(), unless one waits for the other.
        with suppress(TimeoutError):
            await asyncio.wait_for(meeting.wait(), 2)

    async def live() -> None:
        await asyncio.gather(service.assign(engine, 1, 1, meet), service.assign(engine, 2, 1, meet))

    with nothing_collected():
        work.run(live())
    assert state(work) == (1, 2), f"(agent of ticket 1, count of agent 1): {state(work)}"


def check_dashboard(work: Workspace) -> None:
    """dashboard() counts right, many at once, with a pool of one connection too"""
    service, engine = desk(work, size=1)
    expected = {"tickets": TICKETS, "agents": 2}

    async def live() -> None:
        for _ in range(3):
            found = await asyncio.gather(*(service.dashboard(engine) for _ in range(5)))
            assert found == [expected] * 5, found
        left = await settled(work, engine)
        assert left == (0, 0), f"(checked out, busy in the server): {left}"

    with nothing_collected():
        work.run(live())
