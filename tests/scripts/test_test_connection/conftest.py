"""Servers that many tests fail at, and an environment that says nothing of any server."""

from __future__ import annotations

import gc
import json
import os
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from tests.scripts.test_test_connection import servers

# isort: split
from test_connection import __main__ as program  # the script's folder: see servers.py
from test_connection.__main__ import main

Run: TypeAlias = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path) -> Iterator[None]:
    """Nobody's variables, nobody's home; what a run sets is gone afterwards."""
    saved = dict(os.environ)
    for name in list(os.environ):
        if name.startswith("PG") or name == "DATABASE_URL":
            del os.environ[name]
    os.environ["HOME"] = str(tmp_path)
    yield
    os.environ.clear()
    os.environ.update(saved)


@pytest.fixture(autouse=True, scope="module")
def no_transport_left() -> Iterator[None]:
    """asyncpg leaves the transport of a refused login to the collector: not to a later module's.

    These modules ignore its ResourceWarning; elsewhere it is an error.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The program, in this process: the report of its only driver, with what it printed."""

    def call(*arguments: str) -> dict[str, Any]:
        code = main(["--output-format", "json", "--pings", "0", "--timeout", "20", *arguments])
        printed = capsys.readouterr()
        found = json.loads(printed.out)
        assert found["exit_code"] == code
        (report,) = found["drivers"]
        return {**report, "code": code, "printed": printed.out + printed.err}

    return call


@pytest.fixture
def leaping(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of ``--wait`` leaps by 100 s at each look: however slow the machine is."""
    clock = SimpleNamespace(monotonic=count(0.0, 100.0).__next__, sleep=lambda _: None)
    monkeypatch.setattr(program, "time", clock)


@pytest.fixture(params=["psycopg", "psycopg2", "asyncpg"])
def driver(request: pytest.FixtureRequest) -> str:
    """Each of the three."""
    found: str = request.param
    return found


@pytest.fixture(scope="session")
def base() -> Iterator[Path]:
    """A data directory to copy."""
    servers.needs_postgresql_15()
    with servers.base() as data:
        yield data


@pytest.fixture(scope="session")
def primary(base: Path) -> Iterator[servers.Cluster]:
    """With TLS; who presents another certificate presents the right one again."""
    with servers.primary(base) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def german(base: Path) -> Iterator[servers.Cluster]:
    """Without TLS, and in German."""
    with servers.german(base) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def standby(base: Path) -> Iterator[servers.Cluster]:
    """Read only."""
    with servers.standby(base, hot=True) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def closed_standby(base: Path) -> Iterator[servers.Cluster]:
    """Admits nobody."""
    with servers.standby(base, hot=False) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def starting(base: Path) -> Iterator[servers.Cluster]:
    """Waits for its log."""
    with servers.starting(base) as cluster:
        yield cluster
