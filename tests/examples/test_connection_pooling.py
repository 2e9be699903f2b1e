"""Pools that run out, leak, fork and lose their server; PgBouncer is a real one."""

from __future__ import annotations

import gc
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
import sqlalchemy
from asyncpg.exceptions import InternalClientError
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL, Engine, NullPool, QueuePool, delete, event, func, make_url, select, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    OperationalError,
    ProgrammingError,
    SAWarning,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import AsyncAdaptedQueuePool

from examples.connection_pooling import (
    PoolWatch,
    TooManyConnections,
    Waits,
    async_read_factory,
    connect_args,
    engine_of_this_loop,
    fitting_pool,
    for_this_transaction,
    forget_at_fork,
    pool_state,
    read_factory,
    require_fit,
    role_settings,
    usable_connections,
    who_is_connected,
)
from examples.database import (
    AsyncDriver,
    Driver,
    PoolSettings,
    SyncDriver,
    create_asyncio_engine,
    create_sync_engine,
    normalize_url,
)
from examples.locking import only_one, sqlstate
from examples.models import Organization, Ticket
from examples.testing_patterns.factories import make_organization
from examples.testing_patterns.plugin import ASYNC_DRIVERS, SYNC_DRIVERS
from examples.testing_patterns.statements import assert_statements
from tests.pgbouncer import PROGRAM, Pooler, pgbouncer
from tests.waiting import end_backend

ROOT = Path(__file__).resolve().parent.parent.parent
ONE = PoolSettings(size=1, max_overflow=0, timeout=0.05)
EXTERNAL = PoolSettings(external=True)
# Processes x transactions through PgBouncer; `make prove` sets 4x500.
PROCESSES, TRANSACTIONS = map(int, os.environ.get("SOE_POOLED", "2x20").split("x"))
PID = select(func.pg_backend_pid())
SHOW = text("SHOW statement_timeout")
QUERY = select(Organization.id).where(Organization.slug == "x")


def engine_on(url: str, driver: SyncDriver, pool: PoolSettings = ONE, **options: Any) -> Engine:
    """An engine of the test's own."""
    return create_sync_engine(url, driver=driver, pool=pool, **options)


@pytest.fixture(params=SYNC_DRIVERS)
def driver(request: pytest.FixtureRequest) -> SyncDriver:
    """The test runs once a sync driver."""
    made: SyncDriver = request.param
    return made


@pytest.fixture(params=ASYNC_DRIVERS)
def async_driver(request: pytest.FixtureRequest) -> AsyncDriver:
    """The test runs once an async driver."""
    made: AsyncDriver = request.param
    return made


@pytest.fixture
def desk(database_url: str, driver: SyncDriver) -> Iterator[Engine]:
    """A pool of one."""
    engine = engine_on(database_url, driver)
    yield engine
    engine.dispose()


@pytest_asyncio.fixture(loop_scope="session")
async def async_desk(database_url: str, async_driver: AsyncDriver) -> AsyncIterator[AsyncEngine]:
    """The same for asyncio."""
    engine = create_asyncio_engine(database_url, driver=async_driver, pool=ONE)
    yield engine
    await engine.dispose()


@pytest.fixture
def observer(database_url: str) -> Iterator[Engine]:
    """Who looks on, and ends backends."""
    engine = create_sync_engine(database_url, pool=EXTERNAL)
    yield engine
    engine.dispose()


def run_script(code: str, *arguments: str) -> Any:
    """What a Python process of its own prints as JSON."""
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


# --- How many -------------------------------------------------------------------------------------


def test_the_server_says_how_many(session: Session) -> None:
    with assert_statements(session, exactly=1):
        usable = session.scalars(usable_connections()).one()
    shown = "SELECT setting::int FROM pg_settings WHERE name = :name"
    expected = 0
    for name, sign in (
        ("max_connections", 1),
        ("superuser_reserved_connections", -1),
        ("reserved_connections", -1),
    ):
        expected += sign * (session.scalar(text(shown), {"name": name}) or 0)
    assert usable == expected > 0


@pytest.mark.asyncio
async def test_the_server_says_how_many_under_asyncio(async_session: AsyncSession) -> None:
    assert (await async_session.scalars(usable_connections())).one() > 0


def test_the_limit_of_the_database_counts(real_commits: str, driver: SyncDriver) -> None:
    engine = engine_on(real_commits, driver)
    with engine.begin() as connection:
        name = make_url(real_commits).database
        connection.execute(text(f'ALTER DATABASE "{name}" CONNECTION LIMIT 7'))
        assert connection.scalar(usable_connections()) == 7
    engine.dispose()


def test_the_limit_of_the_role_counts(session: Session) -> None:
    # In the test's own transaction: a role is the whole server's.
    user = session.scalar(select(func.session_user()))
    session.execute(text(f'ALTER ROLE "{user}" CONNECTION LIMIT 8'))
    assert session.scalars(usable_connections()).one() == 8


def test_four_processes_on_a_plain_server_get_the_defaults() -> None:
    assert fitting_pool(97, processes=4) == PoolSettings()
    assert require_fit(PoolSettings(), 97, processes=4) == 80


def test_a_pool_that_does_not_fit_is_refused() -> None:
    large = PoolSettings(size=20, max_overflow=40)
    with pytest.raises(TooManyConnections, match="= 250 connections; expected at most 97; try"):
        require_fit(large, 97, processes=4, generations=1)
    assert require_fit(large, 250, processes=4, generations=1) == 240
    with pytest.raises(TooManyConnections):
        fitting_pool(97, processes=50)


@pytest.mark.parametrize(("size", "overflow"), [(5, -1), (0, 5), (5, -2)])
def test_a_pool_without_limit_fits_nowhere(size: int, overflow: int) -> None:
    pool = PoolSettings(size=size, max_overflow=overflow)
    with pytest.raises(TooManyConnections, match=f"size={size}, max_overflow={overflow}, a pool"):
        require_fit(pool, 1_000_000, processes=1)


@pytest.mark.parametrize("unlimited", [replace(ONE, max_overflow=-1), replace(ONE, size=0)])
def test_queue_pool_takes_these_for_no_limit(
    database_url: str, driver: SyncDriver, unlimited: PoolSettings
) -> None:
    engine = engine_on(database_url, driver, unlimited)
    with engine.connect(), engine.connect(), engine.connect():
        assert pool_state(engine)[0] == 3
    engine.dispose()


def test_pgbouncers_connections_are_not_ours_to_count() -> None:
    with pytest.raises(ValueError, match="pool_size"):
        require_fit(EXTERNAL, 97, processes=4)


@given(
    usable=st.integers(0, 500),
    processes=st.integers(1, 60),
    others=st.integers(0, 50),
    generations=st.integers(1, 3),
)
def test_the_pool_is_the_largest_that_fits(
    usable: int, processes: int, others: int, generations: int
) -> None:
    around: Any = {"processes": processes, "others": others, "generations": generations}
    try:
        pool = fitting_pool(usable, **around)
    except TooManyConnections:
        assert processes * generations + others > usable, "one for each would have fitted"
        return
    assert require_fit(pool, usable, **around) + others <= usable
    with pytest.raises(TooManyConnections):
        require_fit(replace(pool, max_overflow=pool.max_overflow + 1), usable, **around)


def test_who_is_connected(database_url: str, driver: SyncDriver, observer: Engine) -> None:
    name = f"job {uuid4().hex}"
    arguments = connect_args(driver, Waits(application_name=name))
    desk = engine_on(database_url, driver, connect_args=arguments)
    with desk.connect() as connection:
        connection.execute(PID)
        with observer.connect() as other:
            rows = [row for row in other.execute(who_is_connected()) if row[0] == name]
        ((application, state, count, oldest),) = rows
    desk.dispose()
    assert (application, state, count) == (name, "idle in transaction", 1)
    assert oldest is not None
    assert oldest.total_seconds() >= 0


@pytest.mark.asyncio
async def test_who_is_connected_under_asyncio(async_session: AsyncSession) -> None:
    rows = (await async_session.execute(who_is_connected())).all()
    assert any(state == "active" for _, state, _, _ in rows)


# --- The pool runs out ----------------------------------------------------------------------------


def test_a_full_pool_raises_after_its_time(desk: Engine) -> None:
    with desk.connect(), pytest.raises(PoolTimeout, match="size 1 overflow 0 reached") as caught:
        desk.connect()
    assert caught.value.code == "3o7r"
    assert not isinstance(caught.value, (TimeoutError, DBAPIError))


@pytest.mark.asyncio
async def test_a_full_pool_raises_under_asyncio(async_desk: AsyncEngine) -> None:
    async with async_desk.connect():
        with pytest.raises(PoolTimeout, match="size 1 overflow 0 reached"):
            await async_desk.connect()


def test_overflow_is_opened_in_a_rush_and_closed_after(
    database_url: str, driver: SyncDriver
) -> None:
    engine = engine_on(database_url, driver, replace(ONE, max_overflow=1))
    with engine.connect(), engine.connect():
        assert pool_state(engine) == (2, 0)
        with pytest.raises(PoolTimeout):
            engine.connect()
    assert pool_state(engine) == (0, 1)
    engine.dispose()


@pytest.mark.asyncio
async def test_overflow_is_closed_under_asyncio(
    database_url: str, async_driver: AsyncDriver
) -> None:
    pool = replace(ONE, max_overflow=1)
    engine = create_asyncio_engine(database_url, driver=async_driver, pool=pool)
    async with engine.connect(), engine.connect():
        assert pool_state(engine) == (2, 0)
    assert pool_state(engine) == (0, 1)
    await engine.dispose()


def test_a_session_holds_its_connection_until_the_transaction_ends(desk: Engine) -> None:
    with Session(desk) as session:
        assert pool_state(desk) == (0, 0)
        session.execute(PID)
        assert pool_state(desk) == (1, 0)
        session.commit()
        assert pool_state(desk) == (0, 1)


def test_recycling_happens_at_checkout_alone(
    database_url: str, driver: SyncDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_on(database_url, driver, replace(ONE, recycle=60))
    hour_later = time.time() + 3_600
    with engine.connect() as connection:
        first = connection.scalar(PID)
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: hour_later)
            assert connection.scalar(PID) == first
    with engine.connect() as connection:
        assert connection.scalar(PID) == first
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: hour_later)
        with engine.connect() as connection:
            assert connection.scalar(PID) != first
    engine.dispose()


@pytest.fixture
def rotated(real_commits: str) -> Iterator[tuple[URL, Callable[[str], None]]]:
    """The URL of a role, without its password; and what gives the role another."""
    url = make_url(real_commits)
    role = str(url.database).replace("soe_", "soe_rotated_")
    engine = create_sync_engine(real_commits)

    def rotate(password: str) -> None:
        with engine.begin() as connection:
            connection.execute(text(f"ALTER ROLE {role} PASSWORD '{password}'"))

    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
    yield url.set(username=role, password="none"), rotate
    with engine.begin() as connection:
        connection.execute(text(f"DROP ROLE {role}"))
    engine.dispose()


def test_a_rotated_password_is_for_new_connections(
    rotated: tuple[URL, Callable[[str], None]], driver: SyncDriver
) -> None:
    url, rotate = rotated
    engine = create_sync_engine(url, driver=driver, pool=ONE)
    vault = {"password": "one"}
    event.listen(engine, "do_connect", lambda *given: given[-1].update(vault))
    rotate("one")
    with engine.connect() as connection:
        first = connection.scalar(PID)
        rotate("two")
        assert connection.scalar(PID) == first, "what is connected goes on"
    with engine.connect() as connection:
        assert connection.scalar(PID) == first, "pool_recycle would end it"
    engine.dispose()
    with pytest.raises(OperationalError, match="password authentication failed"):
        engine.connect()
    vault["password"] = "two"
    with engine.connect() as connection:
        assert connection.scalar(PID) != first
    engine.dispose()


@pytest.mark.asyncio
async def test_a_rotated_password_under_asyncio(
    rotated: tuple[URL, Callable[[str], None]], async_driver: AsyncDriver
) -> None:
    url, rotate = rotated
    engine = create_asyncio_engine(url, driver=async_driver, pool=ONE)
    vault = {"password": "one"}
    event.listen(engine.sync_engine, "do_connect", lambda *given: given[-1].update(vault))
    for password in ("one", "two"):
        rotate(password)
        vault["password"] = password
        async with engine.connect() as connection:
            assert await connection.scalar(select(func.current_user())) == url.username
        await engine.dispose()


def test_queue_pool_is_refused_by_asyncio(database_url: str, async_driver: AsyncDriver) -> None:
    url = normalize_url(database_url, async_driver)
    with pytest.raises(ArgumentError, match="QueuePool cannot be used with asyncio engine"):
        create_async_engine(url, poolclass=QueuePool)
    assert type(create_async_engine(url).pool) is AsyncAdaptedQueuePool
    assert pool_state(create_async_engine(url, poolclass=NullPool)) == (0, 0)


def test_what_is_set_stays_on_the_connection(desk: Engine) -> None:
    with desk.begin() as connection:
        connection.execute(text("SET statement_timeout = '123ms'"))
    with desk.begin() as connection:
        assert connection.scalar(SHOW) == "123ms"
        connection.execute(text("RESET statement_timeout"))
    with desk.begin() as connection:
        connection.execute(for_this_transaction("statement_timeout", "123ms"))
        assert connection.scalar(SHOW) == "123ms"
    with desk.begin() as connection:
        assert connection.scalar(SHOW) == "0"


@pytest.mark.asyncio
async def test_what_is_set_stays_under_asyncio(async_desk: AsyncEngine) -> None:
    async with async_desk.begin() as connection:
        await connection.execute(text("SET statement_timeout = '123ms'"))
    async with async_desk.begin() as connection:
        assert await connection.scalar(SHOW) == "123ms"
        await connection.execute(text("RESET statement_timeout"))
    async with async_desk.begin() as connection:
        await connection.execute(for_this_transaction("statement_timeout", "123ms"))
    async with async_desk.begin() as connection:
        assert await connection.scalar(SHOW) == "0"


# --- Who holds what -------------------------------------------------------------------------------


def forgetful(engine: Engine) -> Session:
    """Take a connection and let it go nowhere."""
    session = Session(engine)
    session.execute(PID)
    return session


async def async_forgetful(engine: AsyncEngine) -> AsyncSession:
    """The same for asyncio."""
    session = AsyncSession(engine)
    await session.execute(PID)
    return session


def test_the_watch_names_who_holds_too_long(database_url: str, driver: SyncDriver) -> None:
    engine = engine_on(database_url, driver, replace(ONE, size=2))
    now = 100.0
    watch = PoolWatch(engine, frames=2, clock=lambda: now)
    session = forgetful(engine)
    now = 140.0
    with engine.connect():
        now = 145.0
        (held,) = watch.held(longer_than=30)
        assert held.seconds == 45.0
        nearest, next_one = held.code
        assert nearest.startswith(f"{__name__}:")
        assert nearest.endswith(" forgetful")
        assert next_one.endswith(" test_the_watch_names_who_holds_too_long")
        assert str(held).startswith(f"45.0 s: {__name__}:")
        assert [each.seconds for each in watch.held()] == [45.0, 5.0]
    session.close()
    assert watch.held() == []
    engine.dispose()


@pytest.mark.asyncio
async def test_the_watch_names_who_holds_under_asyncio(async_desk: AsyncEngine) -> None:
    now = 0.0
    watch = PoolWatch(async_desk, frames=2, clock=lambda: now)
    session = await async_forgetful(async_desk)
    now = 31.0
    (held,) = watch.held(longer_than=30)
    assert [line.partition(" ")[2] for line in held.code] == [
        "async_forgetful",
        "test_the_watch_names_who_holds_under_asyncio",
    ]
    await session.close()
    assert watch.held() == []


def test_the_watch_survives_a_new_pool(desk: Engine) -> None:
    watch = PoolWatch(desk)
    desk.dispose()
    with desk.connect():
        assert len(watch.held()) == 1
    assert watch.held() == []


def test_a_connection_that_left_the_pool_is_no_leak(desk: Engine) -> None:
    watch = PoolWatch(desk)
    with desk.connect() as connection:
        connection.detach()
        assert watch.held() == []
    with desk.connect() as connection:
        connection.invalidate()
    assert watch.held() == []


def test_what_is_collected_comes_back(desk: Engine) -> None:
    watch = PoolWatch(desk)
    connection = desk.connect()
    connection.execute(PID)
    assert len(watch.held()) == 1
    del connection
    gc.collect()
    assert (watch.held(), pool_state(desk)) == ([], (0, 1))


def forget_all(kept: list[Any]) -> None:
    """Let go of the last reference, and of the cycles around it."""
    kept.clear()
    gc.collect()


@pytest.mark.asyncio
async def test_what_is_collected_under_asyncio_is_lost(async_desk: AsyncEngine) -> None:
    watch = PoolWatch(async_desk)
    kept = [await async_desk.connect()]
    backend = await kept[0].scalar(PID)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        forget_all(kept)
    (ours,) = (each for each in told if each.category is SAWarning)
    assert "garbage collector is trying to clean up" in str(ours.message)
    assert (watch.held(), pool_state(async_desk)[0]) == ([], 0)
    async with async_desk.connect() as connection:
        assert await connection.scalar(PID) != backend


# --- How long -------------------------------------------------------------------------------------

SETTINGS = {
    "application_name": "desk",
    "statement_timeout": "30s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "1min",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}


def test_every_wait_is_bounded(database_url: str, driver: SyncDriver) -> None:
    engine = engine_on(database_url, driver, connect_args=connect_args(driver))
    with engine.connect() as connection:
        shown = {name: connection.scalar(text(f"SHOW {name}")) for name in SETTINGS}
        raw: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(raw.fileno())) as client:
            idle = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            unacknowledged = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert (shown, idle, unacknowledged) == (SETTINGS, 30, 60_000)
    engine.dispose()


@pytest.mark.asyncio
async def test_every_wait_is_bounded_under_asyncio(
    database_url: str, async_driver: AsyncDriver
) -> None:
    arguments = connect_args(async_driver)
    engine = create_asyncio_engine(database_url, driver=async_driver, connect_args=arguments)
    async with engine.connect() as connection:
        shown = {name: await connection.scalar(text(f"SHOW {name}")) for name in SETTINGS}
    assert shown == SETTINGS
    await engine.dispose()


# What the URL says of a wait, ours overrule; what else it says stays.
TENANT = "?options=-c%20search_path%3Dtenant_7%20-c%20statement_timeout%3D1h"
OF_BOTH = {"search_path": "tenant_7"} | SETTINGS


def test_waits_leave_the_urls_own_settings(database_url: str, driver: SyncDriver) -> None:
    engine = engine_on(database_url + TENANT, driver, connect_args=connect_args(driver))
    with engine.connect() as connection:
        shown = {name: connection.scalar(text(f"SHOW {name}")) for name in OF_BOTH}
    engine.dispose()
    assert shown == OF_BOTH


@pytest.mark.asyncio
async def test_waits_leave_the_urls_own_settings_under_asyncio(
    database_url: str, async_driver: AsyncDriver
) -> None:
    async with (
        engine_of_this_loop(database_url + TENANT, driver=async_driver) as engine,
        engine.connect() as connection,
    ):
        shown = {name: await connection.scalar(text(f"SHOW {name}")) for name in OF_BOTH}
    assert shown == OF_BOTH


def test_asyncpgs_arguments_are_no_other_drivers(database_url: str, driver: SyncDriver) -> None:
    engine = engine_on(database_url, driver, connect_args=connect_args("asyncpg"))
    with pytest.raises(ProgrammingError, match="invalid"):
        engine.connect()


@pytest.mark.asyncio
async def test_libpqs_arguments_are_not_asyncpgs(database_url: str) -> None:
    engine = create_asyncio_engine(database_url, connect_args=connect_args("psycopg"))
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        await engine.connect()


def test_a_long_statement_is_ended(database_url: str, driver: SyncDriver) -> None:
    engine = engine_on(
        database_url, driver, connect_args=connect_args(driver, Waits(statement=2_000))
    )
    with engine.connect() as connection, pytest.raises(OperationalError) as caught:
        connection.execute(text("SELECT pg_sleep(60)"))
    assert (sqlstate(caught.value), caught.value.connection_invalidated) == ("57014", False)
    engine.dispose()


@pytest.mark.asyncio
async def test_a_long_statement_is_ended_under_asyncio(
    database_url: str, async_driver: AsyncDriver
) -> None:
    arguments = connect_args(async_driver, Waits(statement=2_000))
    engine = create_asyncio_engine(database_url, driver=async_driver, connect_args=arguments)
    async with engine.connect() as connection:
        with pytest.raises(DBAPIError) as caught:
            await connection.execute(text("SELECT pg_sleep(60)"))
    assert sqlstate(caught.value) == "57014"
    await engine.dispose()


@pytest.mark.asyncio
async def test_asyncpgs_command_timeout_is_no_sqlalchemy_error(database_url: str) -> None:
    engine = create_asyncio_engine(database_url, connect_args={"command_timeout": 2})
    async with engine.connect() as connection:
        with pytest.raises(TimeoutError) as caught:
            await connection.execute(text("SELECT pg_sleep(60)"))
    assert not isinstance(caught.value, SQLAlchemyError)
    await engine.dispose()


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The URL of one that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        # Who would wait for ever is cut off, which is another error.
        cut = threading.Timer(20, server.close)
        cut.start()
        yield f"postgresql://desk@127.0.0.1:{server.getsockname()[1]}/desk?sslmode=disable"
        cut.cancel()


def test_a_silent_server_is_given_up(silent_server: str, driver: SyncDriver) -> None:
    waits = Waits(connect=1)
    engine = engine_on(silent_server, driver, connect_args=connect_args(driver, waits))
    with pytest.raises(OperationalError, match="timeout"):
        engine.connect()


@pytest.mark.asyncio
async def test_a_silent_server_is_given_up_under_asyncio(
    silent_server: str, async_driver: AsyncDriver
) -> None:
    waits = Waits(connect=1)
    engine = create_asyncio_engine(
        silent_server, driver=async_driver, connect_args=connect_args(async_driver, waits)
    )
    # asyncpg's is the bare one: `except SQLAlchemyError` does not see it.
    expected = TimeoutError if async_driver == "asyncpg" else OperationalError
    with pytest.raises(expected):
        await engine.connect()


# --- The server goes away -------------------------------------------------------------------------


@pytest.mark.parametrize(("pre_ping", "failures"), [(True, 0), (False, 1)])
def test_a_restart_costs_one_statement_without_pre_ping(
    database_url: str, driver: SyncDriver, observer: Engine, pre_ping: bool, failures: int
) -> None:
    pool = replace(ONE, size=3, pre_ping=pre_ping)
    engine = engine_on(database_url, driver, pool)
    with engine.connect() as one, engine.connect() as two, engine.connect() as three:
        backends = [each.scalar(PID) for each in (one, two, three)]
    for backend in backends:
        end_backend(observer, backend)
    errors = []
    for _ in range(6):
        try:
            with engine.connect() as connection:
                connection.execute(PID)
        except DBAPIError as error:
            errors.append(error.connection_invalidated)
    # One, though three were lost: the first empties the pool.
    assert errors == [True] * failures
    engine.dispose()


@pytest.mark.asyncio
@pytest.mark.parametrize(("pre_ping", "failures"), [(True, 0), (False, 1)])
async def test_a_restart_costs_one_statement_under_asyncio(
    database_url: str, async_driver: AsyncDriver, observer: Engine, pre_ping: bool, failures: int
) -> None:
    pool = replace(ONE, size=2, pre_ping=pre_ping)
    engine = create_asyncio_engine(database_url, driver=async_driver, pool=pool)
    async with engine.connect() as one, engine.connect() as two:
        backends = [await each.scalar(PID) for each in (one, two)]
    for backend in backends:
        end_backend(observer, backend)
    errors, bare = [], 0
    for _ in range(4):
        try:
            async with engine.connect() as connection:
                await connection.execute(PID)
        except DBAPIError as error:
            errors.append(error.connection_invalidated)
        except InternalClientError:
            # The lowest, with or without pre-ping: asyncpg's own error comes through, bare.
            assert (sqlalchemy.__version__, async_driver) == ("2.0.36", "asyncpg")
            bare += 1
    if sqlalchemy.__version__ == "2.0.36" and async_driver == "asyncpg":
        assert bare >= 1
    else:
        assert errors == [True] * failures
    await engine.dispose()


def test_pre_ping_saves_no_transaction_that_runs(desk: Engine, observer: Engine) -> None:
    with desk.connect() as connection:
        end_backend(observer, connection.scalar(PID))
        with pytest.raises(DBAPIError):
            connection.execute(PID)
    with desk.connect() as connection:
        connection.execute(PID)


# --- One engine a loop, one a process -------------------------------------------------------------

TWO_LOOPS = """
import asyncio, json, sys
from sqlalchemy import text
from examples.connection_pooling import engine_of_this_loop
from examples.database import PoolSettings, create_asyncio_engine

url, driver, way = sys.argv[1:]
shared = create_asyncio_engine(
    url, driver=driver, pool=PoolSettings(external=way == "external", pre_ping=way != "no ping")
)

async def ask(engine):
    async with engine.connect() as connection:
        return await connection.scalar(text("SELECT 1"))

async def main():
    if way == "an engine a loop":
        async with engine_of_this_loop(url, driver=driver) as engine:
            return await ask(engine)
    found = await ask(shared)
    if way == "disposed":
        await shared.dispose()
    return found

told = []
for _ in range(2):
    try:
        told.append(asyncio.run(main()))
    except Exception as error:
        told.append(f"{type(error).__name__}: {error}")
print(json.dumps(told))
"""


@pytest.mark.parametrize("way", ["an engine a loop", "disposed", "external"])
def test_a_second_loop_finds_no_old_connection(
    database_url: str, async_driver: AsyncDriver, way: str
) -> None:
    assert run_script(TWO_LOOPS, database_url, async_driver, way) == [1, 1]


@pytest.mark.parametrize("way", ["pooled", "no ping"])
def test_a_pool_shared_by_two_loops_breaks(database_url: str, way: str) -> None:
    first, second = run_script(TWO_LOOPS, database_url, "asyncpg", way)
    assert first == 1
    assert second.startswith("RuntimeError: ")
    assert "attached to a different loop" in second


FORK = """
import json, multiprocessing, sys
from sqlalchemy import func, select
from examples.connection_pooling import forget_at_fork
from examples.database import create_sync_engine

url, driver, way = sys.argv[1:]
engine = create_sync_engine(url, driver=driver)
if way == "forget":
    forget_at_fork(engine)

def ask():
    try:
        with engine.connect() as connection:
            return connection.scalar(select(func.pg_backend_pid()))
    except Exception as error:
        return type(error).__name__

def child(queue):
    if way == "dispose":
        engine.dispose()
    queue.put(ask())

engine.pool._pre_ping = False
before = ask()
context = multiprocessing.get_context("fork")
queue = context.SimpleQueue()
process = context.Process(target=child, args=(queue,))
process.start()
process.join()
print(json.dumps({"before": before, "child": queue.get(), "after": ask()}))
"""


def test_a_forked_process_shares_the_parents_connection(
    database_url: str, driver: SyncDriver
) -> None:
    told = run_script(FORK, database_url, driver, "nothing")
    assert told["child"] == told["before"], "one conversation for two processes"


def test_closing_in_the_child_closes_the_parents(database_url: str, driver: SyncDriver) -> None:
    told = run_script(FORK, database_url, driver, "dispose")
    assert told["child"] != told["before"]
    assert told["after"] == "OperationalError"


def test_a_child_that_forgets_leaves_the_parent_alone(
    database_url: str, driver: SyncDriver
) -> None:
    told = run_script(FORK, database_url, driver, "forget")
    assert isinstance(told["child"], int)
    assert told["child"] != told["before"]
    assert told["after"] == told["before"]


ASYNC_FORK = """
import asyncio, json, multiprocessing, sys
from sqlalchemy import func, select
from examples.connection_pooling import forget_at_fork
from examples.database import create_asyncio_engine

url, driver = sys.argv[1:]
engine = create_asyncio_engine(url, driver=driver)
forget_at_fork(engine)

async def ask():
    async with engine.connect() as connection:
        return await connection.scalar(select(func.pg_backend_pid()))

def child(queue):
    queue.put(asyncio.run(ask()))

with asyncio.Runner() as runner:
    before = runner.run(ask())
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    process.join()
    told = {"before": before, "child": queue.get(), "after": runner.run(ask())}
    runner.run(engine.dispose())
print(json.dumps(told))
"""


def test_an_async_child_that_forgets(database_url: str, async_driver: AsyncDriver) -> None:
    told = run_script(ASYNC_FORK, database_url, async_driver)
    assert told["child"] != told["before"] == told["after"]


def test_an_engine_that_is_gone_is_not_kept(database_url: str) -> None:
    engine = create_sync_engine(database_url)
    forget_at_fork(engine)
    seen = weakref.ref(engine)
    del engine
    gc.collect()
    assert seen() is None


@pytest.mark.asyncio
async def test_an_engine_of_this_loop_is_disposed(
    database_url: str, async_driver: AsyncDriver
) -> None:
    async with engine_of_this_loop(database_url, driver=async_driver, pool=ONE) as engine:
        async with engine.connect() as connection:
            assert await connection.scalar(text("SHOW application_name")) == "desk"
            assert await connection.scalar(SHOW) == "30s"
        assert pool_state(engine) == (0, 1)
    assert pool_state(engine) == (0, 0)


# --- Read paths -----------------------------------------------------------------------------------


def state_of(observer: Engine, backend: int | None) -> str | None:
    """What a backend does, as the server sees it."""
    query = text("SELECT state FROM pg_stat_activity WHERE pid = :pid")
    with observer.connect() as connection:
        state: str | None = connection.scalar(query, {"pid": backend})
        return state


def test_reading_leaves_no_transaction_open(desk: Engine, observer: Engine) -> None:
    with read_factory(desk)() as session:
        assert state_of(observer, session.scalar(PID)) == "idle"
        one, two = session.scalar(select(func.now())), session.scalar(select(func.now()))
        assert one != two, "each statement is a transaction, with a snapshot of its own"
    with Session(desk) as session:
        assert state_of(observer, session.scalar(PID)) == "idle in transaction"


@pytest.mark.asyncio
async def test_reading_leaves_none_open_under_asyncio(
    async_desk: AsyncEngine, observer: Engine
) -> None:
    async with async_read_factory(async_desk)() as session:
        assert state_of(observer, await session.scalar(PID)) == "idle"
    async with AsyncSession(async_desk) as session:
        assert state_of(observer, await session.scalar(PID)) == "idle in transaction"


@pytest.mark.parametrize(("autocommit", "prepared"), [(True, 1), (False, 0)])
def test_psycopgs_prepared_statements_survive_reading(
    database_url: str, autocommit: bool, prepared: int
) -> None:
    engine = engine_on(database_url, "psycopg")
    factory: sessionmaker[Any] = read_factory(engine) if autocommit else sessionmaker(engine)
    for _ in range(12):
        with factory() as session:
            session.execute(QUERY).all()
    with engine.connect() as connection:
        count = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%organizations%'"
        assert connection.scalar(text(count)) == prepared
    engine.dispose()


def test_a_write_in_autocommit_cannot_be_taken_back(real_commits: str, driver: SyncDriver) -> None:
    engine = engine_on(real_commits, driver)
    organizations = select(func.count()).select_from(Organization)
    with Session(engine.execution_options(isolation_level="AUTOCOMMIT")) as session:
        session.add(make_organization())
        session.flush()
        session.rollback()
        assert session.scalar(organizations) == 1
    with read_factory(engine)() as reader:
        reader.add(make_organization())
        with pytest.raises(RuntimeError, match="expected a session that reads"):
            reader.flush()
        with pytest.raises(RuntimeError, match="expected a session that reads"):
            reader.scalar(organizations)  # autoflush
        reader.rollback()
        assert reader.scalar(organizations) == 1
        # What was loaded and not changed is nothing to write.
        reader.scalars(select(Organization)).one().name += ""
        reader.flush()
        # What is executed directly is not seen.
        reader.execute(delete(Organization))
        reader.rollback()
        assert reader.scalar(organizations) == 0
    engine.dispose()


@pytest.mark.asyncio
async def test_a_reader_under_asyncio_writes_nothing(async_desk: AsyncEngine) -> None:
    async with async_read_factory(async_desk)() as session:
        session.add(make_organization())
        with pytest.raises(RuntimeError, match="expected a session that reads"):
            await session.commit()


def test_a_reader_commits_where_a_value_was_set_to_itself(
    real_commits: str, driver: SyncDriver
) -> None:
    engine = engine_on(real_commits, driver)
    with Session(engine) as session, session.begin():
        session.add(make_organization())
    # Its SELECT alone: no UPDATE.
    with assert_statements(engine, exactly=1), read_factory(engine)() as reader:
        organization = reader.scalars(select(Organization)).one()
        organization.name += ""
        assert organization in reader.dirty
        reader.commit()
        assert not reader.dirty
    engine.dispose()


@pytest.mark.asyncio
async def test_a_reader_commits_under_asyncio(real_commits: str, async_driver: AsyncDriver) -> None:
    engine = create_asyncio_engine(real_commits, driver=async_driver, pool=ONE)
    async with AsyncSession(engine) as session, session.begin():
        session.add(make_organization())
    with assert_statements(engine, exactly=1):
        async with async_read_factory(engine)() as reader:
            organization = (await reader.scalars(select(Organization))).one()
            organization.name += ""
            assert organization in reader.dirty
            await reader.commit()
            assert not reader.dirty
            organization.name += "!"
            with pytest.raises(RuntimeError, match="expected a session that reads"):
                await reader.commit()
    await engine.dispose()


def migrate(url: str, statement: str) -> None:
    """Run DDL from elsewhere, as a deployment does."""
    engine = create_sync_engine(url, pool=EXTERNAL)
    with engine.begin() as connection:
        connection.execute(text(statement))


def tell(outcomes: list[str], error: DBAPIError | None) -> None:
    """Note one execution."""
    outcomes.append("fine" if error is None else type(error).__name__)


NOT = "NotSupportedError"
STALE: list[tuple[SyncDriver, bool, list[str]]] = [
    ("psycopg", False, [NOT, NOT, NOT, NOT]),
    ("psycopg", True, [NOT, "fine", "fine", "fine"]),
    ("psycopg2", False, ["fine", "fine", "fine", "fine"]),
    ("psycopg2", True, ["fine", "fine", "fine", "fine"]),
]


@pytest.mark.parametrize(("client", "ours", "expected"), STALE)
def test_a_migration_costs_a_reader_one_statement(
    real_commits: str, client: SyncDriver, ours: bool, expected: list[str]
) -> None:
    engine = engine_on(real_commits, client, replace(ONE, size=2))
    plain = sessionmaker(engine.execution_options(isolation_level="AUTOCOMMIT"))
    factory: sessionmaker[Any] = read_factory(engine) if ours else plain
    migrate(real_commits, "CREATE TABLE scratch (n int)")
    query = text("SELECT n FROM scratch")
    with factory() as one, factory() as two:  # both connections of the pool
        for _ in range(8):
            one.execute(query)
            two.execute(query)
    migrate(real_commits, "ALTER TABLE scratch ALTER n TYPE bigint")
    outcomes: list[str] = []
    for _ in range(4):
        error = None
        with factory() as session:
            try:
                session.execute(query)
            except DBAPIError as caught:
                error = caught
        tell(outcomes, error)
    engine.dispose()
    assert outcomes == expected


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", ["ours", "AUTOCOMMIT", "transactions"])
async def test_a_migration_costs_one_statement_under_asyncio(
    real_commits: str, async_driver: AsyncDriver, mode: str
) -> None:
    engine = create_asyncio_engine(real_commits, driver=async_driver, pool=replace(ONE, size=2))
    # Made only where it is tried: its listener is the whole engine's.
    factory = async_read_factory(engine) if mode == "ours" else async_sessionmaker(engine)
    if mode == "AUTOCOMMIT":
        factory.configure(bind=engine.execution_options(isolation_level="AUTOCOMMIT"))
    outcomes = await reads_around_a_migration(factory, real_commits)
    await engine.dispose()
    # SQLAlchemy itself empties asyncpg's cache; psycopg's is emptied by a rollback alone.
    assert (
        outcomes
        == {
            "ours": [NOT, "fine", "fine", "fine"],
            "AUTOCOMMIT": [NOT, *(["fine"] if async_driver == "asyncpg" else [NOT]) * 3],
            "transactions": [NOT if async_driver == "asyncpg" else "fine", "fine", "fine", "fine"],
        }[mode]
    )


@pytest.mark.asyncio
async def test_a_migration_costs_asyncpg_nothing_without_its_cache(real_commits: str) -> None:
    arguments = {"prepared_statement_cache_size": 0}
    engine = create_asyncio_engine(real_commits, pool=ONE, connect_args=arguments)
    factory = async_sessionmaker(engine)
    assert await reads_around_a_migration(factory, real_commits) == ["fine"] * 4
    await engine.dispose()


async def reads_around_a_migration(
    factory: async_sessionmaker[AsyncSession], url: str
) -> list[str]:
    """Prepare a statement on each connection, change its result, and use it four times more."""
    query = text("SELECT n FROM scratch")
    migrate(url, "CREATE TABLE scratch (n int)")
    async with AsyncExitStack() as stack:
        for _ in range(factory.kw["bind"].pool.size()):
            session = await stack.enter_async_context(factory())
            for _ in range(8):
                await session.execute(query)
    migrate(url, "ALTER TABLE scratch ALTER n TYPE bigint")
    outcomes: list[str] = []
    for _ in range(4):
        error = None
        async with factory() as session:
            try:
                await session.execute(query)
            except DBAPIError as caught:
                error = caught
        tell(outcomes, error)
    return outcomes


def test_a_reader_cannot_stream(desk: Engine) -> None:
    query = select(Ticket).execution_options(yield_per=10)
    with read_factory(desk)() as session, pytest.raises(DBAPIError, match=r"(?i)transaction"):
        session.scalars(query).all()


# --- PgBouncer, one transaction a server connection -----------------------------------------------


def require_pgbouncer() -> None:
    """Skip where there is none; under CI=true a skip is a failure."""
    if PROGRAM is None:
        pytest.skip("PgBouncer is not installed; on Debian: apt-get install pgbouncer")


@pytest.fixture
def pooler(database_url: str) -> Iterator[Pooler]:
    """A PgBouncer with one server connection: whoever comes next has it."""
    require_pgbouncer()
    with pgbouncer(database_url, size=1) as made:
        yield made


@pytest.fixture
def pool_of_two(database_url: str) -> Iterator[Pooler]:
    """A PgBouncer with two; what is free is taken before another is opened."""
    require_pgbouncer()
    with pgbouncer(database_url, size=2) as made:
        yield made


def taught(driver: Driver) -> dict[str, Any]:
    """What the page says for PgBouncer."""
    return {"pool": EXTERNAL, "connect_args": connect_args(driver, pgbouncer=True)}


@pytest.mark.once
@pytest.mark.parametrize(
    ("kind", "client"),
    [("sync", each) for each in SYNC_DRIVERS] + [("async", each) for each in ASYNC_DRIVERS],
)
def test_many_processes_through_pgbouncer(
    real_commits: str, kind: str, client: Driver, record_property: Any
) -> None:
    require_pgbouncer()
    with pgbouncer(real_commits, size=3) as pooler:
        processes = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.pgbouncer", pooler.url),
                    *(client, f"worker-{number}", kind, str(TRANSACTIONS)),
                ],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(PROCESSES)
        ]
        for process in processes:
            out, err = process.communicate(timeout=600)
            assert process.returncode == 0, err
            told = json.loads(out)
            record_property("transactions", told["done"])
            record_property("errors", told["errors"])
            assert told == {"done": TRANSACTIONS, "errors": 0, "first": []}
        left = pooler.on_every_server("SELECT count(*) FROM pg_prepared_statements")
        assert left == [0, 0, 0]
        # asyncpg turns it off while it looks up a type.
        jit = pooler.on_every_server("SELECT current_setting('jit')")
    engine = create_sync_engine(real_commits, pool=EXTERNAL)
    with engine.connect() as connection:
        assert jit == [connection.scalar(text("SHOW jit"))] * 3
        made = connection.scalar(select(func.count()).select_from(Organization))
    assert made == PROCESSES * TRANSACTIONS


def test_pgbouncer_refuses_settings_at_startup(pooler: Pooler, driver: SyncDriver) -> None:
    engine = engine_on(pooler.url, driver, EXTERNAL, connect_args=connect_args(driver))
    with pytest.raises(OperationalError, match="unsupported startup parameter: options"):
        engine.connect()


@pytest.mark.asyncio
async def test_pgbouncer_refuses_asyncpgs_settings(pooler: Pooler) -> None:
    engine = create_asyncio_engine(pooler.url, pool=EXTERNAL, connect_args=connect_args("asyncpg"))
    with pytest.raises(Exception, match="unsupported startup parameter"):
        await engine.connect()


def test_settings_of_the_role_hold_through_pgbouncer(real_commits: str, driver: SyncDriver) -> None:
    url = make_url(real_commits)
    direct = create_sync_engine(real_commits, pool=EXTERNAL)
    with direct.begin() as connection:
        for statement in role_settings(url.username or "", url.database or ""):
            connection.execute(statement)
    require_pgbouncer()
    with pgbouncer(real_commits, size=1) as pooler:
        engine = create_sync_engine(pooler.url, driver=driver, **taught(driver))
        with engine.connect() as connection:
            shown = {name: connection.scalar(text(f"SHOW {name}")) for name in SETTINGS}
    assert shown == SETTINGS


ASYNCPG_CLIENT = """
import asyncio, json, subprocess, sys
from examples.database import create_asyncio_engine
from sqlalchemy import text

async def main():
    engine = create_asyncio_engine(sys.argv[1], connect_args=json.loads(sys.argv[2]))
    for _ in range(2):
        async with engine.begin() as connection:
            await connection.execute(text("SELECT 1 AS number"))
    if sys.argv[3] == "first":
        # The other process comes while this one lives.
        print(subprocess.check_output([*sys.orig_argv[:-1], "second"], text=True))
    else:
        print(json.dumps("fine"))
    await engine.dispose()

try:
    asyncio.run(main())
except Exception as error:
    print(json.dumps(str(error)))
"""


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "fine"),
    [
        ({}, False),
        ({"prepared_statement_cache_size": 0}, False),
        ({"statement_cache_size": 0, "prepared_statement_cache_size": 0}, True),
    ],
)
def test_two_processes_of_asyncpg_name_their_statements_alike(
    pooler: Pooler, arguments: dict[str, Any], fine: bool
) -> None:
    told = run_script(ASYNCPG_CLIENT, pooler.url, json.dumps(arguments), "first")
    if fine:
        assert told == "fine"
    else:
        assert re.search('prepared statement "__asyncpg_stmt_.__" already exists', told), told


@pytest.mark.asyncio
async def test_asyncpg_misses_its_statements_on_another_server(pool_of_two: Pooler) -> None:
    engine = create_asyncio_engine(pool_of_two.url, pool=ONE)
    other = create_asyncio_engine(pool_of_two.url, **taught("asyncpg"))
    async with engine.begin() as connection:
        first = await connection.scalar(PID)
    async with other.begin() as busy:
        assert await busy.scalar(PID) == first
        with pytest.raises(DBAPIError, match="does not exist"):
            async with engine.begin() as connection:
                await connection.scalar(PID)
    await engine.dispose()


def test_psycopgs_named_statements_meet(pooler: Pooler) -> None:
    one, two = (engine_on(pooler.url, "psycopg") for _ in range(2))
    with one.begin() as connection:
        for _ in range(7):
            connection.execute(QUERY)
    with two.begin() as connection:
        for _ in range(5):
            connection.execute(QUERY)
        with pytest.raises(DBAPIError, match='"_pg3_0" already exists'):
            connection.execute(QUERY)
    one.dispose()
    two.dispose()


@pytest.mark.asyncio
async def test_psycopgs_named_statements_meet_under_asyncio(pooler: Pooler) -> None:
    one, two = (create_asyncio_engine(pooler.url, driver="psycopg", pool=ONE) for _ in range(2))
    async with one.begin() as connection:
        for _ in range(7):
            await connection.execute(QUERY)
    async with two.begin() as connection:
        for _ in range(5):
            await connection.execute(QUERY)
        with pytest.raises(DBAPIError, match='"_pg3_0" already exists'):
            await connection.execute(QUERY)
    await one.dispose()
    await two.dispose()


@pytest.mark.asyncio
@pytest.mark.parametrize("recipe", [True, False])
async def test_random_names_stay_on_the_server(pooler: Pooler, recipe: bool) -> None:
    arguments = connect_args("asyncpg", pgbouncer=True)
    if recipe:
        arguments["prepared_statement_name_func"] = lambda: f"__asyncpg_{uuid4()}__"
    engine = create_asyncio_engine(pooler.url, pool=EXTERNAL, connect_args=arguments)
    for _ in range(5):
        async with engine.begin() as connection:
            await connection.execute(QUERY)
    (left,) = pooler.on_every_server("SELECT count(*) FROM pg_prepared_statements")
    assert left >= 5 if recipe else left == 0


def test_what_one_client_sets_another_has(pooler: Pooler, driver: SyncDriver) -> None:
    one, two = (create_sync_engine(pooler.url, driver=driver, **taught(driver)) for _ in range(2))
    with one.begin() as connection:
        connection.execute(text("SET statement_timeout = '123ms'"))
        connection.execute(text("CREATE TEMPORARY TABLE mine (id int)"))
        connection.execute(text("LISTEN news"))
    with two.begin() as connection:
        assert connection.scalar(SHOW) == "123ms"
        assert connection.scalar(text("SELECT count(*) FROM mine")) == 0
        assert connection.scalar(select(func.pg_listening_channels())) == "news"
        connection.execute(text("RESET statement_timeout"))
    with one.begin() as connection:
        connection.execute(for_this_transaction("statement_timeout", "123ms"))
    with two.begin() as connection:
        assert connection.scalar(SHOW) == "0"


@pytest.mark.asyncio
async def test_what_one_client_sets_another_has_under_asyncio(
    pooler: Pooler, async_driver: AsyncDriver
) -> None:
    one, two = (
        create_asyncio_engine(pooler.url, driver=async_driver, **taught(async_driver))
        for _ in range(2)
    )
    async with one.begin() as connection:
        await connection.execute(text("SET statement_timeout = '123ms'"))
    async with two.begin() as connection:
        assert await connection.scalar(SHOW) == "123ms"


def test_pgbouncer_keeps_no_session_lock(pooler: Pooler, driver: SyncDriver) -> None:
    one, two = (create_sync_engine(pooler.url, driver=driver, **taught(driver)) for _ in range(2))
    with only_one(one, "nightly") as first, only_one(two, "nightly") as second:
        assert (first, second) == (True, True), "the lock is the server connection's"
    key = uuid4().fields[1]
    with one.begin() as connection:
        assert connection.scalar(select(func.pg_try_advisory_lock(key))) is True
    one.dispose()
    with two.begin() as connection:
        held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = :key")
        assert connection.scalar(held, {"key": key}) == 1, "its owner is gone, the lock is not"


def test_a_lock_of_the_transaction_holds_through_pgbouncer(
    pool_of_two: Pooler, driver: SyncDriver
) -> None:
    lock = select(func.pg_try_advisory_xact_lock(uuid4().fields[0]))
    engine = create_sync_engine(pool_of_two.url, driver=driver, **taught(driver))
    with engine.begin() as one, engine.begin() as two:
        assert (one.scalar(lock), two.scalar(lock)) == (True, False)
    with engine.begin() as two:
        assert two.scalar(lock) is True
