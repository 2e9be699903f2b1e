"""Databases for the migrations: empty ones, and clones of a desk with 100,000 tickets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from examples.postgres import temporary_database
from examples.testing_patterns.plugin import database_name
from tests.examples.test_migration_guide.desk import FIRST, fill, upgrade
from tests.examples.test_migration_guide.recipes import SMALL, filled_database
from tests.short import times


@pytest.fixture
def empty(postgres_url: str) -> Iterator[str]:
    """The URL of a database without a schema."""
    with temporary_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def full_template(postgres_url: str) -> Iterator[str]:
    """The name of a database at the first revision, with 100,000 tickets."""
    with temporary_database(postgres_url) as url:
        upgrade(url, FIRST)
        fill(url, times(100_000, 20_000))
        yield database_name(url)


@pytest.fixture
def full(postgres_url: str, full_template: str) -> Iterator[str]:
    """The URL of a clone of it."""
    with temporary_database(postgres_url, template=full_template) as url:
        yield url


@pytest.fixture(scope="session")
def template(postgres_url: str) -> Iterator[str]:
    """The name of a database with the tables of the recipes, three batches in each."""
    with filled_database(postgres_url, SMALL) as url:
        yield database_name(url)


@pytest.fixture
def clone(postgres_url: str, template: str) -> Iterator[str]:
    """The URL of a clone of it."""
    with temporary_database(postgres_url, template=template) as url:
        yield url
