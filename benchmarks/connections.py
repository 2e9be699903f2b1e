"""Reads by key as a service does them: what a session, pre-ping, a transaction and a pool cost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import asyncpg
from sqlalchemy import inspect, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from examples.connection_pooling import async_read_factory
from examples.database import PoolSettings, async_session_factory, create_asyncio_engine
from examples.fastapi_app.dependencies import desk_sessions
from examples.models import Ticket

from .databases import desk, driver_url
from .harness import Case

TITLE = "Tickets read by key, each in a session of its own"
BASELINE = "10 at once: session of the service"
QUICK, FULL = 20, 200
UNIT = "reads"
PEERS = ()
TICKETS = 10_000
AT_ONCE = (1, 10, 50)
# As many as read at once where no case says otherwise; the rest of fifty waits.
POOL = 10

Read = Callable[[int], Awaitable[tuple[int, str]]]


@contextmanager
def cases(server_url: str, size: int) -> Iterator[list[Case]]:
    """*size* reads in each case, all on one database and one event loop."""
    live = [key for key in range(1, TICKETS + 1) if key % 97]  # the others are deleted
    keys = random.Random(0).sample(live, size)  # noqa: S311
    with ExitStack() as stack:
        database = stack.enter_context(desk(server_url, TICKETS, threads=False))
        runner = stack.enter_context(asyncio.Runner())

        def pooled(pool: PoolSettings) -> AsyncEngine:
            engine = create_asyncio_engine(database.url, pool=pool)
            stack.callback(lambda: runner.run(engine.dispose()))
            return engine

        def case(at_once: int, name: str, read: Read, baseline: str) -> Case:
            def run() -> object:
                return runner.run(read_all(read, keys, at_once))

            same = f"{at_once} at once: "
            return Case(same + name, run, size, "tickets", same + baseline)

        main = pooled(PoolSettings(size=POOL, max_overflow=0))
        trusting = pooled(PoolSettings(size=POOL, max_overflow=0, pre_ping=False))
        driver = runner.run(driver_pool(driver_url(database)))
        stack.callback(lambda: runner.run(driver.close()))
        service = "session of the service"
        layers = {
            service: by_session(desk_sessions(main)),
            "Core": by_core(main),
            "asyncpg alone": by_driver(driver),
        }
        settings = {
            "plain session": by_session(async_session_factory(main)),
            "no pre-ping": by_session(async_session_factory(trusting)),
            "AUTOCOMMIT": by_session(async_read_factory(main)),
            "AUTOCOMMIT, no pre-ping": by_session(async_read_factory(trusting)),
        }
        found = [
            case(at_once, name, read, service)
            for at_once in AT_ONCE
            for name, read in layers.items()
        ]
        for at_once in AT_ONCE[:2]:
            found += [case(at_once, name, read, "plain session") for name, read in settings.items()]
        for name, pool in POOLS.items():
            read = by_session(async_session_factory(pooled(pool)))
            found.append(case(AT_ONCE[-1], name, read, next(iter(POOLS))))
        yield found


POOLS = {
    "pool of 20": PoolSettings(size=20, max_overflow=0),
    "pool of 5": PoolSettings(size=5, max_overflow=0),
    "pool of 1": PoolSettings(size=1, max_overflow=0),
    # What is given back is closed, and the next in the rush opens it again.
    "pool of 5, overflow of 15": PoolSettings(size=5, max_overflow=15),
}


async def read_all(read: Read, keys: Sequence[int], at_once: int) -> list[tuple[int, str]]:
    """*keys*, by so many tasks: ``(id, title)`` in the order of *keys*."""
    found: dict[int, tuple[int, str]] = {}
    rest = iter(keys)

    async def task() -> None:
        for key in rest:
            found[key] = await read(key)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(task())
    return [found[key] for key in keys]


def by_session(factory: async_sessionmaker[AsyncSession]) -> Read:
    """The unit of work of a request that reads: a session, an object, and it is over."""

    async def read(key: int) -> tuple[int, str]:
        async with factory() as session:
            ticket = await session.get_one(Ticket, key)
            return ticket.id, ticket.title

    return read


def by_core(engine: AsyncEngine) -> Read:
    """The same row on a connection of the same pool."""
    tickets: Any = Ticket.__table__

    async def read(key: int) -> tuple[int, str]:
        statement = select(*columns()).where(tickets.c.id == key, tickets.c.deleted_at.is_(None))
        async with engine.connect() as connection:
            row = (await connection.execute(statement)).one()
            return row.id, row.title

    return read


def by_driver(pool: asyncpg.Pool) -> Read:
    """The limit: the driver with its own pool, which asks nothing and resets behind each read."""
    statement = f"{select(*columns())} WHERE tickets.id = $1 AND tickets.deleted_at IS NULL"

    async def read(key: int) -> tuple[int, str]:
        row = await pool.fetchrow(statement, key)
        assert row is not None
        return row["id"], row["title"]

    return read


def columns() -> list[Any]:
    """What a session loads of a ticket: all but what is deferred."""
    return [each.columns[0] for each in inspect(Ticket).column_attrs if not each.deferred]


async def driver_pool(url: str) -> asyncpg.Pool:
    """asyncpg's own, of the same size."""
    return await asyncpg.create_pool(url, min_size=POOL, max_size=POOL)
