"""Databases with audit triggers, a customer and an agent, and the service on them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from examples.database import create_sync_engine
from examples.fastapi_app.app import Settings, create_app
from examples.fastapi_app.prepare import install_audit, seed
from examples.postgres import temporary_database
from examples.testing_patterns.plugin import ASYNC_DRIVERS, database_name
from tests.examples.test_fastapi_app.served import SECRET, Served, served


@pytest.fixture(scope="session")
def desk_template(postgres_url: str, template_name: str) -> Iterator[str]:
    """The name of a database to be cloned."""
    with temporary_database(postgres_url, template=template_name) as url:
        engine = create_sync_engine(url)
        install_audit(engine)
        seed(engine)
        engine.dispose()
        yield database_name(url)


@pytest.fixture
def desk_url(postgres_url: str, desk_template: str) -> Iterator[str]:
    """The URL of a clone for one test."""
    with temporary_database(postgres_url, template=desk_template) as url:
        yield url


@pytest.fixture(params=ASYNC_DRIVERS)
def desk(desk_url: str, request: pytest.FixtureRequest) -> Iterator[Served]:
    """The service; the test runs once a driver."""
    settings = Settings(database_url=desk_url, cursor_secret=SECRET, driver=request.param)
    with served(create_app(settings), desk_url) as made:
        yield made


@pytest.fixture(scope="module")
def empty_desk(postgres_url: str, desk_template: str) -> Iterator[Served]:
    """One for all tests of a module whose every request is refused: nothing is ever stored."""
    with temporary_database(postgres_url, template=desk_template) as url:
        settings = Settings(database_url=url, cursor_secret=SECRET)
        with served(create_app(settings), url) as made:
            yield made
            assert made.count("tickets") == 0
