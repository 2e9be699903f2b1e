"""The suite runs on the plugin that users copy."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine

from tests.choice import of_other_drivers, without_server
from tests.short import SHORT

LONGEST = {"test_site.py", "test_evals.py"}

pytest_plugins = [
    "examples.testing_patterns.plugin",
    "examples.testing_patterns.no_skips",
    "pytester",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The long form of what runs once in ``make test``, and the short ones of further runs."""
    parser.addoption(
        "--repetitions", type=int, default=1, help="run the tests marked concurrent so many times"
    )
    parser.addoption(
        "--drivers",
        type=lambda names: names.split(","),
        metavar="NAME,…",
        help="what runs once a driver runs with these alone, or with those that it knows",
    )
    parser.addoption(
        "--only-served",
        action="store_true",
        help="leave out what does not speak to the run's server: for a run on another one",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each repetition a name of its own, so that a report says which one failed."""
    times = metafunc.config.option.repetitions
    if times > 1 and metafunc.definition.get_closest_marker("concurrent"):
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(times))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a container engine where there is none, and what was run already.

    Left out, not skipped: a skip would say that something was not proved.
    """
    # Imported late: pytest rewrites the plugin's asserts, and must be the first to import it.
    from examples.testing_patterns.plugin import FACTS

    facts = config.stash.get(FACTS, None)
    unwanted = {"once"} if SHORT else set()
    if not (facts and facts["provider"] == "container"):
        unwanted.add("container")
    left_out = {
        item for item in items if unwanted & {marker.name for marker in item.iter_markers()}
    }
    if config.option.drivers:
        left_out.update(of_other_drivers(items, config.option.drivers))
    if config.option.only_served:
        left_out.update(without_server(items))
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]
    # The longest first: at the end one worker would be alone with them.
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of somebody else's, without the plugins that are slow to import."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:schemathesis -p no:hypothesispytest")
    return pytester


@pytest.fixture(scope="session")
def large_desk(postgres_url: str, template_name: str) -> Iterator[Engine]:
    """100,000 tickets, analysed, for plans and aggregates.  Read only: all workers share it."""
    from examples.database import create_sync_engine
    from examples.testing_patterns.large_desk import fill_desk

    name = large_desk_name(template_name)
    engine = create_sync_engine(f"{postgres_url.rpartition('/')[0]}/{name}")
    engine = engine.execution_options(shuffle_rows=False)  # its plans are read
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        # The first worker to come makes it; the others wait here.
        connection.execute("SELECT pg_advisory_lock(hashtext(%s))", [name])
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if known.fetchone() is None:
            create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            connection.execute(create.format(sql.Identifier(name), sql.Identifier(template_name)))
            try:
                fill_desk(engine)
            except BaseException:
                engine.dispose()
                drop_large_desk(postgres_url, template_name)
                raise
    yield engine
    engine.dispose()


def large_desk_name(template_name: str) -> str:
    """The database of this run that holds the large desk."""
    return f"{template_name}_large"


def drop_large_desk(postgres_url: str, template_name: str) -> None:
    """Remove it where it was made."""
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(drop.format(sql.Identifier(large_desk_name(template_name))))


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing on a server that was there before: the controller drops the large desk."""
    from examples.testing_patterns.plugin import FACTS, database_name

    facts = config.stash.get(FACTS, None)
    if facts and not hasattr(config, "workerinput"):
        drop_large_desk(facts["url"], database_name(facts["template"]))
