"""A pytest plugin: one PostgreSQL a run, one template, a clone a worker, a rollback a test.

Problem: tests on a shared database see each other's rows, and a server a test costs minutes.
Pattern: boot once in the controller, build the schema once as a template, clone it for each xdist
worker, and undo each test by rolling back.

To copy: this folder, ``postgres.py``, ``database.py``, your ``models.py`` and
``scripts/start-postgres.py``.  Load it in the top ``conftest.py``::

    pytest_plugins = ["yourpackage.testing_patterns.plugin"]

With asyncio set ``asyncio_default_fixture_loop_scope`` and ``asyncio_default_test_loop_scope`` to
``session``: pooled connections of asyncpg belong to the loop that made them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, nullcontext
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from ..database import AsyncDriver, SyncDriver, create_asyncio_engine, create_sync_engine
from ..models import Base
from ..postgres import PostgresError, postgres_server, temporary_database
from .isolation import isolated_async_session, isolated_session
from .row_order import shuffled_rows

# A test runs once a driver that is installed; psycopg always is, since postgres.py needs it.
SYNC_DRIVERS: list[SyncDriver] = ["psycopg"]
ASYNC_DRIVERS: list[AsyncDriver] = ["psycopg"]
if find_spec("psycopg2"):
    SYNC_DRIVERS.append("psycopg2")
if find_spec("asyncpg"):
    ASYNC_DRIVERS.append("asyncpg")
FACTS = pytest.StashKey[dict[str, str]]()
OPEN = pytest.StashKey[ExitStack]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two options decide where PostgreSQL comes from, one how it orders what nobody ordered."""
    group = parser.getgroup("postgresql")
    group.addoption("--database-url", help="a server that runs already; only soe_… is written to")
    group.addoption(
        "--postgres-provider",
        choices=["auto", "url", "container", "embedded"],
        help="default: POSTGRES_PROVIDER, else auto",
    )
    group.addoption(
        "--shuffle-rows",
        nargs="?",
        type=int,
        const=3,  # two rows and three come backwards
        metavar="SEED",
        help="shuffle the rows that no ORDER BY orders: what leans on luck fails",
    )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Boot the server and build the template, in the controller alone."""
    config.addinivalue_line(
        "markers", "requires_postgres(major): skip below this major version of PostgreSQL"
    )
    workerinput = getattr(config, "workerinput", None)
    if workerinput is not None:
        config.stash[FACTS] = workerinput["postgres"]
        return
    if config.option.collectonly or config.option.help:
        return
    config.stash[OPEN] = stack = ExitStack()
    try:
        server = stack.enter_context(
            postgres_server(
                provider=config.option.postgres_provider, database_url=config.option.database_url
            )
        )
    except PostgresError as error:
        raise pytest.UsageError(str(error)) from None
    template = stack.enter_context(temporary_database(server.url))
    build_schema(template)
    config.stash[FACTS] = {
        "url": server.url,
        "provider": server.provider,
        "version": server.version,
        "template": template,
    }


def build_schema(url: str) -> None:
    """Create every table in the database at *url*, and leave no connection behind."""
    engine = create_sync_engine(url)
    try:
        Base.metadata.create_all(engine)
    finally:
        engine.dispose()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Drop the template and stop the server."""
    stack = config.stash.get(OPEN, None)
    if stack is not None:
        stack.close()


@pytest.fixture(scope="session", autouse=True)
def row_order(pytestconfig: pytest.Config) -> Iterator[None]:
    """Shuffle rows where the run was asked to."""
    seed = pytestconfig.option.shuffle_rows
    with nullcontext() if seed is None else shuffled_rows(Engine, seed):
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker where the server is."""
    node.workerinput["postgres"] = node.config.stash[FACTS]


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say who serves, and what speaks to it."""
    facts = config.stash.get(FACTS, None)
    if facts is None:
        return []
    packages = ("sqlalchemy", "asyncpg", "psycopg", "psycopg2-binary")
    return [
        f"postgresql: provider {facts['provider']}, version {facts['version']}",
        ", ".join(f"{name} {installed(name)}" for name in packages),
    ]


def installed(package: str) -> str:
    """The version of *package*, or that it is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, by name, what needs a newer PostgreSQL."""
    marker = item.get_closest_marker("requires_postgres")
    if marker is None:
        return
    served = item.config.stash[FACTS]["version"]
    if int(served.split(".")[0]) < marker.args[0]:
        pytest.skip(f"requires PostgreSQL {marker.args[0]}, served by {served}")


def database_name(url: str) -> str:
    """The database of *url*."""
    return url.partition("?")[0].rpartition("/")[2]


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config) -> str:
    """The administrator's URL of the run's server, without a driver."""
    return pytestconfig.stash[FACTS]["url"]


@pytest.fixture(scope="session")
def template_name(pytestconfig: pytest.Config) -> str:
    """The database that holds the schema and nothing else; clone it."""
    return database_name(pytestconfig.stash[FACTS]["template"])


@pytest.fixture(scope="session")
def database_url(postgres_url: str, template_name: str) -> Iterator[str]:
    """This worker's clone of the template, without a driver.  Tests leave no rows in it."""
    with temporary_database(postgres_url, template=template_name) as url:
        yield url


@pytest.fixture
def real_commits(postgres_url: str, template_name: str) -> Iterator[str]:
    """The URL of a clone for one test that really commits, or needs several connections."""
    with temporary_database(postgres_url, template=template_name) as url:
        yield url


@pytest.fixture(scope="session")
def engines(database_url: str) -> Iterator[dict[str, Engine]]:
    """One engine a sync driver."""
    made: dict[str, Engine] = {
        driver: create_sync_engine(database_url, driver=driver, hide_parameters=False)
        for driver in SYNC_DRIVERS
    }
    yield made
    for engine in made.values():
        engine.dispose()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def async_engines(database_url: str) -> AsyncIterator[dict[str, AsyncEngine]]:
    """One engine an async driver, on the run's one event loop."""
    made: dict[str, AsyncEngine] = {
        driver: create_asyncio_engine(database_url, driver=driver, hide_parameters=False)
        for driver in ASYNC_DRIVERS
    }
    yield made
    for engine in made.values():
        await engine.dispose()


@pytest.fixture(params=SYNC_DRIVERS)
def engine(engines: dict[str, Engine], request: pytest.FixtureRequest) -> Engine:
    """A sync engine; the test runs once a driver."""
    return engines[request.param]


@pytest_asyncio.fixture(loop_scope="session", params=ASYNC_DRIVERS)
async def async_engine(
    async_engines: dict[str, AsyncEngine], request: pytest.FixtureRequest
) -> AsyncEngine:
    """An async engine; the test runs once a driver."""
    return async_engines[request.param]


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """A session that may commit; nothing of it is left behind."""
    with isolated_session(engine) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def async_session(async_engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """An async session that may commit; nothing of it is left behind."""
    async with isolated_async_session(async_engine) as made:
        yield made
