"""The environment: any URL, every driver, one deployment at a time, no long wait for a lock."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from unittest.mock import patch

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from psycopg import sql

from examples.migration_guide import environment
from examples.migration_guide.checks import HERE, alembic_config
from examples.migration_guide.deployment_lock import KEY
from examples.postgres import temporary_database
from examples.testing_patterns.plugin import database_name
from tests.examples.test_migration_guide.desk import (
    BEFORE_INDEXES,
    FIRST,
    HEAD,
    dump,
    fill,
    in_the_way,
    psql,
    revision_of,
    upgrade,
)
from tests.short import times

INI = str(HERE / "alembic.ini")


def alembic(url: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Alembic's own command, as a deployment runs it."""
    inherited = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    return subprocess.run(
        [sys.executable, "-m", "alembic", "-c", INI, *arguments],
        env=inherited | ({"DATABASE_URL": url} if url else {}),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_every_driver_migrates(empty: str, driver: str) -> None:
    url = empty.replace("postgresql://", f"postgresql+{driver}://")
    upgrade(url)
    assert revision_of(empty) == HEAD
    command.check(alembic_config(url))
    command.downgrade(alembic_config(url), "base")
    assert revision_of(empty) is None


def test_the_command_takes_a_password_with_a_percent_sign(empty: str, postgres_url: str) -> None:
    # A role that owns the database: what deploys need not be a superuser.
    role = database_name(empty)
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        name = sql.Identifier(role)
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD '50%@/:x'").format(name))
        try:
            admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, name))
            authority = empty.partition("@")[2]
            result = alembic(f"postgres://{role}:50%25%40%2F%3Ax@{authority}", "upgrade", "head")
            assert result.returncode == 0, result.stderr
            assert revision_of(empty) == HEAD
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
            admin.execute(sql.SQL("DROP ROLE {}").format(name))


@pytest.mark.once
@pytest.mark.parametrize(
    ("url", "arguments", "said"),
    [
        (None, [], "received no DATABASE_URL; expected postgresql://"),
        ("mysql://u:hunter2@127.0.0.1/x", [], "received a URL of 'mysql'"),
        ("postgresql+asyncpg://u:hunter2@127.0.0.1/x?sslrootcert=x", [], "asyncpg has no counterp"),
        ("postgresql://127.0.0.1:1/x", ["-x", "lock-timeout=soon"], "expected a time such as"),
        ("postgresql://127.0.0.1:1/x", ["-x", "lock-attempts=few"], "expected a number"),
        ("postgresql://127.0.0.1:1/x", ["-x", "lock-attempts=0"], "expected a number from 1"),
        ("postgresql://127.0.0.1:1/x", ["-x", "deployment-wait=nan"], "expected a number from 0"),
        (
            "postgresql://u:hunter2@127.0.0.1:1/x",
            [],
            "received the database URL",
        ),
        ("postgresql://127.0.0.1:1/x?user=u&password=hunter2", [], "psycopg://127.0.0.1:1/x, and"),
        ("postgresql+psycopg2://127.0.0.1:1/x?password=hunter2", [], "Connection refused"),
        ("postgresql+psycopg2://u:hunter2@127.0.0.1:1/x", [], "Connection refused"),
        ("postgresql+asyncpg://u:hunter2@127.0.0.1:1/x", [], "expected a PostgreSQL that answers"),
    ],
)
def test_errors_are_clear(url: str | None, arguments: list[str], said: str) -> None:
    result = alembic(url, *arguments, "upgrade", "head")
    assert result.returncode != 0
    assert said in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert "hunter2" not in result.stdout + result.stderr


def test_a_lock_that_never_comes_free_is_told(empty: str) -> None:
    upgrade(empty, FIRST)
    with psycopg.connect(empty) as blocker:
        blocker.execute("LOCK TABLE tickets IN ROW EXCLUSIVE MODE")
        result = alembic(
            empty, "-x", "lock-timeout=100ms", "-x", "lock-attempts=2", "upgrade", "head"
        )
    assert result.returncode != 0
    assert "received no lock within 100ms, 2 times" in result.stdout + result.stderr
    assert "try: look for the oldest xact_start" in result.stdout + result.stderr
    # What came before it is committed; what got no lock has left nothing.
    assert revision_of(empty) == "91d3b5e6c0f4"


def test_a_lock_that_comes_free_is_taken(empty: str) -> None:
    upgrade(empty, FIRST)
    blocker = psycopg.connect(empty)
    blocker.execute("LOCK TABLE tickets IN ROW EXCLUSIVE MODE")
    threading.Timer(1.5, blocker.close).start()
    started = time.monotonic()
    upgrade(empty)
    assert time.monotonic() - started > 1.0, "it did not have to wait"
    assert revision_of(empty) == HEAD


@pytest.mark.parametrize(
    ("start", "move", "target", "half_way"),
    [
        (FIRST, command.upgrade, "+2", "91d3b5e6c0f4"),
        ("0be95c3f7a61", command.downgrade, "-2", "68a4d7139bc2"),
    ],
    ids=["upgrade", "downgrade"],
)
def test_two_revisions_are_two_however_often_it_is_tried(
    empty: str, start: str, move: Callable[[Config, str], None], target: str, half_way: str
) -> None:
    """The first of them takes no lock on the tickets; the second does, and so is tried again."""
    upgrade(empty, start)
    with in_the_way(empty, "LOCK TABLE tickets IN ROW EXCLUSIVE MODE") as after_the_first:
        move(alembic_config(empty), target)
    assert after_the_first == [half_way]
    assert revision_of(empty) == "c27e0f9a5d18"


def deploy(ready: Barrier, urls: list[str], outcomes: SimpleQueue[list[str]], locked: bool) -> None:
    """One of two deployers: upgrade each database as soon as the other is there as well."""

    def meet(*_: object) -> AbstractContextManager[None]:
        # Both are connected, and neither has looked which revision is there.
        ready.wait(60)
        return nullcontext()

    # What collided would be tried again, and mostly go well.
    patch.object(environment, "IN_THE_WAY", ()).start()
    if not locked:
        patch.object(environment, "deployment_lock", meet).start()
    heard = []
    try:
        for url in urls:
            ready.wait(60)
            upgrade(url)
            heard.append("done")
    except threading.BrokenBarrierError:
        heard.append("done")  # the other has failed
    except Exception as error:  # the test wants to see whatever it is
        heard.append(f"{type(error).__name__}: {error}")
        ready.abort()
    outcomes.put(heard)


def deploy_twice(urls: list[str], *, locked: bool = True) -> list[str]:
    """Two deployers for each of *urls* at once, up to the first failure: what became of each."""
    context = multiprocessing.get_context("spawn")
    ready, outcomes = context.Barrier(2), context.SimpleQueue()
    arguments = (ready, urls, outcomes, locked)
    deployers = [context.Process(target=deploy, args=arguments) for _ in range(2)]
    for deployer in deployers:
        deployer.start()
    heard: list[str] = outcomes.get() + outcomes.get()
    for deployer in deployers:
        deployer.join(60)
    return heard


@pytest.fixture
def before_indexes(empty: str, postgres_url: str) -> Iterator[list[str]]:
    """Databases, twenty in all, that miss the concurrent indexes."""
    upgrade(empty, BEFORE_INDEXES)
    fill(empty, 2_000)
    with ExitStack() as stack:
        yield [
            stack.enter_context(temporary_database(postgres_url, template=database_name(empty)))
            for _ in range(times(20, 3))
        ]


def test_two_deployments_at_once_twenty_times(before_indexes: list[str]) -> None:
    """Across the revision that builds indexes concurrently: one migrates, the other finds it."""
    assert deploy_twice(before_indexes) == ["done"] * 2 * len(before_indexes)
    assert {revision_of(url) for url in before_indexes} == {HEAD}


def test_without_the_lock_two_deployments_collide(before_indexes: list[str]) -> None:
    heard = deploy_twice(before_indexes, locked=False)
    assert [outcome for outcome in heard if outcome != "done"]


def test_a_deployment_that_waits_too_long_says_so(empty: str) -> None:
    with psycopg.connect(empty) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [KEY])
        result = alembic(empty, "-x", "deployment-wait=0.3", "upgrade", "head")
        assert result.returncode != 0
        assert "another deployment migrates this database" in result.stdout
        # Looking needs no turn.
        assert alembic(empty, "current").returncode == 0


def test_offline_sql_makes_the_same_schema(empty: str, postgres_url: str, tmp_path: Path) -> None:
    script = alembic_config("postgresql://unused")
    command.upgrade(script, "head", sql=True)
    buffer = script.output_buffer
    assert buffer is not None
    buffer.seek(0)
    psql(empty, buffer.read(), tmp_path)
    with temporary_database(postgres_url) as online:
        upgrade(online)
        assert dump(online) == dump(empty)
    assert revision_of(empty) == HEAD
