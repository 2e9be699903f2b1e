"""Any PostgreSQL URL gives the right engine, and a bad one a clear word without its password."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
from asyncpg.connect_utils import SessionAttribute
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import URL, NullPool, create_engine, make_url, select, text
from sqlalchemy.exc import InvalidRequestError, MissingGreenlet
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from examples.database import (
    DRIVERS,
    AsyncDriver,
    DatabaseUrlError,
    Driver,
    PoolSettings,
    SyncDriver,
    async_session_factory,
    asyncpg_arguments,
    create_asyncio_engine,
    create_sync_engine,
    get_async_db,
    get_db_session,
    normalize_url,
    session_factory,
)
from examples.models import Organization
from examples.testing_patterns.factories import make_organization
from tests.test_upgrading import SA_21

FORMS = [
    "postgres://u:p%25%40@127.0.0.1:5432/db",
    "postgresql://u:p%25%40@127.0.0.1:5432/db",
    "postgresql+psycopg2://u:p%25%40@127.0.0.1:5432/db",
    "postgresql+asyncpg://u:p%25%40@127.0.0.1:5432/db",
    "postgres+psycopg://u:p%25%40@127.0.0.1:5432/db",
]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_one_url(form: str, driver: Driver) -> None:
    url = normalize_url(form, driver)
    assert url == URL.create(f"postgresql+{driver}", "u", "p%@", "127.0.0.1", 5432, "db")


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


# 2.0 takes the database of a URL literally: what 2.1 quotes would be a query there.
plain = words if SA_21 else st.text(st.characters(categories=["L", "N"]), min_size=1)


@settings(deadline=None)
@given(user=words, password=words, database=plain, driver=st.sampled_from(DRIVERS))
def test_any_characters_survive(user: str, password: str, database: str, driver: Driver) -> None:
    given_url = URL.create("postgresql", user, password, "127.0.0.1", 5432, database)
    url = normalize_url(given_url.render_as_string(hide_password=False), driver)
    assert (url.username, url.password, url.database) == (user, password, database)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u:secret@127.0.0.1/db", "'mysql'"),
        ("not a url secret", "cannot be read"),
        ("postgresql://u:secret@127.0.0.1:port/db", "cannot be read"),
    ],
)
def test_a_bad_url_is_told_without_its_password(url: str, said: str) -> None:
    with pytest.raises(DatabaseUrlError, match=said) as caught:
        normalize_url(url, "psycopg")
    assert "secret" not in str(caught.value)
    assert "expected" in str(caught.value)


def test_an_unknown_driver_is_told() -> None:
    unknown: Any = "pg8000"
    with pytest.raises(DatabaseUrlError, match="expected one of psycopg, psycopg2, asyncpg"):
        normalize_url("postgresql:///db", unknown)


def test_libpq_parameters_become_asyncpgs() -> None:
    query = (
        "sslmode=require&connect_timeout=3&application_name=desk"
        "&options=-c%20statement_timeout%3D60000%20-c%20jit%3Doff"
        "&target_session_attrs=read-write&host=/tmp/sockets"
    )
    url, arguments = asyncpg_arguments(make_url(f"postgresql+asyncpg://u@/db?{query}"))
    assert dict(url.query) == {"host": "/tmp/sockets"}  # noqa: S108
    assert arguments == {
        "ssl": "require",
        "timeout": 3.0,
        "target_session_attrs": "read-write",
        "server_settings": {
            "application_name": "desk",
            "statement_timeout": "60000",
            "jit": "off",
        },
    }


@pytest.mark.parametrize(
    "value", ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"]
)
def test_asyncpg_knows_each_of_libpqs_session_attributes(value: str) -> None:
    url = make_url(f"postgresql+asyncpg://u@/db?target_session_attrs={value}")
    _, arguments = asyncpg_arguments(url)
    assert SessionAttribute(arguments["target_session_attrs"]).value == value


def test_no_time_out_is_none_to_asyncpg() -> None:
    """libpq waits for ever; ``timeout=0.0`` would fail at once."""
    _, arguments = asyncpg_arguments(make_url("postgresql+asyncpg://u@/db?connect_timeout=0"))
    assert arguments == {"timeout": None}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("gssencmode=disable", "'gssencmode', for which asyncpg has no counterpart"),
        ("connect_timeout=soon", "whole seconds"),
        ("options=jit", "-c name=value"),
        ("sslmode=require&sslmode=disable", "twice"),
    ],
)
def test_what_asyncpg_cannot_do_is_told(query: str, said: str) -> None:
    with pytest.raises(DatabaseUrlError, match=said):
        create_asyncio_engine(f"postgresql://u@127.0.0.1/db?{query}")


@pytest.mark.parametrize("driver", get_args(SyncDriver))
def test_sync_engines_connect(database_url: str, driver: SyncDriver) -> None:
    query = "application_name=desk&connect_timeout=5&options=-c%20statement_timeout%3D60000"
    url = f"{database_url.replace('postgresql:', 'postgres:')}?{query}"
    engine = create_sync_engine(url, driver=driver)
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW application_name")) == "desk"
        assert connection.scalar(text("SHOW statement_timeout")) == "1min"
    engine.dispose()


# As PostgreSQL reads them: of a setting that comes twice, the later holds.
OF_URL = "options=-c%20search_path%3Dtenant_7%20-c%20statement_timeout%3D1min"
OF_CALLER = {"options": "-c statement_timeout=5s -c jit=off"}
JOINED = {"search_path": "tenant_7", "statement_timeout": "5s", "jit": "off"}


@pytest.mark.parametrize("driver", get_args(SyncDriver))
def test_options_of_the_url_and_of_the_caller_are_both_kept(
    database_url: str, driver: SyncDriver
) -> None:
    url, given = f"{database_url}?{OF_URL}", dict(OF_CALLER)
    engine = create_sync_engine(url, driver=driver, connect_args=given)
    with engine.connect() as connection:
        shown = {name: connection.scalar(text(f"SHOW {name}")) for name in JOINED}
    engine.dispose()
    assert (shown, given) == (JOINED, OF_CALLER)
    # SQLAlchemy alone takes the caller's for both.
    plain = create_engine(normalize_url(url, driver), connect_args=given)
    with plain.connect() as connection:
        assert connection.scalar(text("SHOW search_path")) != "tenant_7"
    plain.dispose()


@pytest.mark.asyncio
async def test_options_are_both_kept_under_asyncio(database_url: str) -> None:
    url, given = f"{database_url}?{OF_URL}", dict(OF_CALLER)
    engine = create_asyncio_engine(url, driver="psycopg", connect_args=given)
    async with engine.connect() as connection:
        shown = {name: await connection.scalar(text(f"SHOW {name}")) for name in JOINED}
    await engine.dispose()
    assert (shown, given) == (JOINED, OF_CALLER)


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", get_args(AsyncDriver))
async def test_async_engines_connect(database_url: str, driver: AsyncDriver) -> None:
    query = (
        "application_name=desk&connect_timeout=5&sslmode=disable"
        "&options=-c%20statement_timeout%3D60000"
    )
    engine = create_asyncio_engine(f"{database_url}?{query}", driver=driver)
    async with engine.connect() as connection:
        assert await connection.scalar(text("SHOW application_name")) == "desk"
        assert await connection.scalar(text("SHOW statement_timeout")) == "1min"
    await engine.dispose()


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", get_args(AsyncDriver))
@pytest.mark.parametrize("query", ["target_session_attrs=read-write", "connect_timeout=0"])
async def test_a_parameter_means_the_same_on_each_driver(
    database_url: str, driver: AsyncDriver, query: str
) -> None:
    engine = create_asyncio_engine(f"{database_url}?{query}", driver=driver)
    async with engine.connect() as connection:
        assert await connection.scalar(text("SHOW transaction_read_only")) == "off"
    await engine.dispose()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_an_engine_and_its_driver_are_of_one_kind(database_url: str) -> None:
    """The models serve engines of both kinds; a driver serves those of its own."""
    mixed = create_engine(normalize_url(database_url, "asyncpg"))
    with pytest.raises(MissingGreenlet):
        mixed.connect()
    mixed.dispose()
    with pytest.raises(InvalidRequestError, match="'psycopg2' is not async"):
        create_async_engine(normalize_url(database_url, "psycopg2"))


def test_the_pool_is_read_from_the_environment() -> None:
    environ = {
        "DATABASE_POOL_SIZE": "7",
        "DATABASE_POOL_MAX_OVERFLOW": "0",
        "DATABASE_POOL_TIMEOUT": "0.5",
        "DATABASE_POOL_RECYCLE": "60",
        "DATABASE_POOL_PRE_PING": "off",
        "DATABASE_POOL_EXTERNAL": "yes",
    }
    assert PoolSettings.from_env({}) == PoolSettings()
    assert PoolSettings.from_env(environ) == PoolSettings(
        size=7, max_overflow=0, timeout=0.5, recycle=60, pre_ping=False, external=True
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("SIZE", "0"), ("SIZE", "many"), ("SIZE", "2.5"), ("TIMEOUT", "nan"), ("PRE_PING", "perhaps")],
)
def test_a_bad_pool_setting_is_told(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"received DATABASE_POOL_{name}='{value}'; expected"):
        PoolSettings.from_env({f"DATABASE_POOL_{name}": value})


def test_an_exhausted_pool_says_so(database_url: str) -> None:
    pool = PoolSettings(size=1, max_overflow=0, timeout=0.01)
    engine = create_sync_engine(database_url, pool=pool)
    with engine.connect(), pytest.raises(PoolTimeoutError, match="QueuePool limit"):
        engine.connect()
    engine.dispose()


def test_behind_pgbouncer_nothing_is_pooled(database_url: str) -> None:
    pool = replace(PoolSettings(), external=True)
    engine = create_sync_engine(database_url, pool=pool)
    assert isinstance(engine.pool, NullPool)
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        assert driver.prepare_threshold is None


@pytest.mark.asyncio
async def test_behind_pgbouncer_asyncpg_prepares_nothing(database_url: str) -> None:
    engine = create_asyncio_engine(database_url, pool=PoolSettings(external=True))
    assert isinstance(engine.pool, NullPool)
    async with engine.connect() as connection:
        for _ in range(3):
            await connection.scalar(text("SELECT 1"))
        named = text("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''")
        assert await connection.scalar(named) == 0


def test_parameters_stay_out_of_errors(database_url: str) -> None:
    engine = create_sync_engine(database_url)
    with engine.connect() as connection, pytest.raises(Exception, match="hide_parameters") as seen:
        connection.execute(text("SELECT 1 / :zero, :secret"), {"zero": 0, "secret": "hunter2"})
    assert "hunter2" not in str(seen.value).split("[SQL")[1]
    engine.dispose()


def test_the_dependency_leaves_the_commit_to_its_caller(real_commits: str) -> None:
    engine = create_sync_engine(real_commits)
    factory = session_factory(engine)
    for commit in (False, True):
        for session in get_db_session(factory):
            session.add(make_organization())
            session.flush()
            if commit:
                session.commit()
    with Session(engine) as session:
        assert len(session.scalars(select(Organization)).all()) == 1
    engine.dispose()


@pytest.mark.asyncio
async def test_the_async_dependency_leaves_the_commit_to_its_caller(real_commits: str) -> None:
    engine = create_asyncio_engine(real_commits)
    factory = async_session_factory(engine)
    for commit in (False, True):
        async for session in get_async_db(factory):
            session.add(make_organization())
            await session.flush()
            if commit:
                await session.commit()
    async with factory() as session:
        assert len((await session.scalars(select(Organization))).all()) == 1
    await engine.dispose()


@pytest.mark.asyncio
async def test_settings_of_the_url_and_of_the_caller_are_both_kept(database_url: str) -> None:
    engine = create_asyncio_engine(
        f"{database_url}?application_name=desk",
        connect_args={"server_settings": {"statement_timeout": "5s"}},
    )
    async with engine.connect() as connection:
        names = ("application_name", "statement_timeout")
        shown = [await connection.scalar(text(f"SHOW {name}")) for name in names]
    await engine.dispose()
    assert shown == ["desk", "5s"]
