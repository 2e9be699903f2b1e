"""Do the engines keep to their limits, and survive the server?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from evals.workspace import Workspace, must_raise

NAME = text("SELECT current_setting('application_name')")
ONE = text("SELECT 1")
WHO = text("SELECT current_user")
LONG = text("SELECT pg_sleep(8)")
# asyncpg's own time-out is wrapped by 2.1; a pool's is SQLAlchemy's.
CUT = (DBAPIError, TimeoutError)
PATIENCE = 5.0  # seconds: two were asked for


def given(work: Workspace, scheme: str) -> str:
    """The URL as the platform hands it out."""
    rest = work.url().partition("://")[2]
    return f"{scheme}://{rest}{'&' if '?' in rest else '?'}sslmode=disable"


def engine_of(work: Workspace, scheme: str = "postgresql", **options: Any) -> Engine:
    """The engine that the workspace makes."""
    made: Engine = work.module("db").make_engine(given(work, scheme), **options)
    return made


def async_engine_of(work: Workspace, scheme: str = "postgresql", **options: Any) -> AsyncEngine:
    """The same for asyncio."""
    made: AsyncEngine = work.module("db").make_async_engine(given(work, scheme), **options)
    return made


def connections(work: Workspace) -> int:
    """How many connections the database has, ours not counted."""
    return int(
        work.value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    )


@contextmanager
def refused_soon() -> Iterator[None]:
    """The block has to raise the pool's error, after two seconds or little more."""
    begin = time.monotonic()
    with must_raise(PoolTimeout):
        yield
    waited = time.monotonic() - begin
    assert waited < PATIENCE, f"the error came after {waited:.1f} s"


def check_urls(work: Workspace) -> None:
    """Both engines connect by postgres://, postgresql:// and a URL with a driver, sslmode in it"""

    async def connect(scheme: str) -> str:
        engine = async_engine_of(work, scheme)
        async with engine.connect() as connection:
            assert await connection.scalar(ONE) == 1
        await engine.dispose()
        return engine.dialect.driver

    for scheme in ("postgres", "postgresql", "postgresql+psycopg2", "postgresql+asyncpg"):
        engine = engine_of(work, scheme)
        with engine.connect() as connection:
            assert connection.scalar(ONE) == 1
        engine.dispose()
        assert engine.dialect.driver == "psycopg2", f"{scheme}: {engine.dialect.driver}"
        driver = work.run(connect(scheme))
        assert driver == "asyncpg", f"{scheme}: {driver}"


def check_password(work: Workspace) -> None:
    """A password with @ and / reaches the driver whole, and str and repr of the engine hide it"""
    db = work.module("db")
    role = work.role
    place = work.url().rpartition("@")[2]
    url = f"postgres://{role}:pa%40ss%2Fword@{place}"

    async def ask(engine: AsyncEngine) -> Any:
        async with engine.connect() as connection:
            return await connection.scalar(WHO)

    work.rows(f"CREATE ROLE {role} LOGIN PASSWORD 'pa@ss/word'")
    try:
        engine, other = db.make_engine(url), db.make_async_engine(url)
        with engine.connect() as connection:
            assert connection.scalar(WHO) == role, "somebody else"
        engine.dispose()
        assert work.run(ask(other)) == role, "somebody else"
        work.run(other.dispose())
    finally:
        work.rows(f"DROP ROLE {role}")
    shown = f"{engine!r} {engine} {engine.url} {other!r} {other} {other.url}"
    assert "ss/word" not in shown, "the password is shown"
    assert "ss%2Fword" not in shown, "the password is shown"


def check_size(work: Workspace) -> None:
    """There are never more than size connections; the next one gets an error soon"""
    engine = engine_of(work, size=2)
    with engine.connect() as first, engine.connect() as second:
        assert (first.scalar(ONE), second.scalar(ONE)) == (1, 1)
        with refused_soon(), engine.connect() as third:
            third.scalar(ONE)
        assert connections(work) == 2, f"{connections(work)} connections"
    with engine.connect() as again:
        assert again.scalar(ONE) == 1
    engine.dispose()


def check_async_size(work: Workspace) -> None:
    """The same holds on asyncio, and a connection that is given back can be had"""

    async def story() -> None:
        engine = async_engine_of(work, size=2)
        async with engine.connect() as first, engine.connect() as second:
            assert (await first.scalar(ONE), await second.scalar(ONE)) == (1, 1)
            with refused_soon():
                async with engine.connect() as third:
                    await third.scalar(ONE)
            assert connections(work) == 2, f"{connections(work)} connections"
        async with engine.connect() as again:
            assert await again.scalar(ONE) == 1
        await engine.dispose()

    work.run(story())


def check_statement_limit(work: Workspace) -> None:
    """A statement that takes too long is cancelled, in every transaction, and the next one runs"""
    engine = engine_of(work, seconds=1.0, size=2)
    with engine.connect() as other, engine.connect() as connection:
        for _ in range(2):
            with must_raise(*CUT):
                connection.execute(LONG)
            connection.rollback()
        assert connection.scalar(ONE) == 1
        with must_raise(*CUT):
            other.execute(LONG)
        # Also where no transaction begins.
        other.rollback()
        plain = other.execution_options(isolation_level="AUTOCOMMIT")
        with must_raise(*CUT):
            plain.execute(LONG)
    engine.dispose()

    async def story() -> None:
        made = async_engine_of(work, seconds=1.0, size=2)
        async with made.connect() as connection:
            for _ in range(2):
                with must_raise(*CUT):
                    await connection.execute(LONG)
                await connection.rollback()
            assert await connection.scalar(ONE) == 1
        await made.dispose()

    work.run(story())


def check_name(work: Workspace) -> None:
    """Each connection shows up as desk"""
    engine = engine_of(work, size=2)
    with engine.connect() as first, engine.connect() as second:
        names = {first.scalar(NAME), second.scalar(NAME)}
    engine.dispose()

    async def story() -> None:
        made = async_engine_of(work)
        async with made.connect() as connection:
            names.add(await connection.scalar(NAME))
        await made.dispose()

    work.run(story())
    assert names == {"desk"}, f"names {names}"


def check_restart(work: Workspace) -> None:
    """After the server cut all connections, the next statement of both engines works"""
    cut = (
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    engine = engine_of(work, size=2)
    with engine.connect() as first, engine.connect() as second:
        assert (first.scalar(ONE), second.scalar(ONE)) == (1, 1)
    work.rows(cut)
    for _ in range(2):
        with engine.connect() as connection:
            assert connection.scalar(ONE) == 1
    engine.dispose()

    async def story() -> None:
        made = async_engine_of(work, size=2)
        async with made.connect() as connection:
            assert await connection.scalar(ONE) == 1
        work.rows(cut)
        async with made.connect() as connection:
            assert await connection.scalar(ONE) == 1
        await made.dispose()

    work.run(story())
