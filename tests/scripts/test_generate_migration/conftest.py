"""A scratch server, databases of it, and a process that forgets what a project was imported for."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.scripts.test_generate_migration import projects
from tests.scripts.test_generate_migration.projects import (
    ENGINE,
    MODELS,
    MORE,
    committed,
    env,
    shop,
)

# isort: split
from generate_migration.scratch import Scratch, scratch_server  # the script's folder: see projects

assert projects.SCRIPTS.is_dir()


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """The environment and the imported modules are as they were afterwards."""
    saved, modules, path = dict(os.environ), set(sys.modules), list(sys.path)
    for name in list(os.environ):
        if name.startswith(("PG", "ALEMBIC")) or name == "DATABASE_URL":
            del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(saved)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] in {"shop", "env_py"}:
            del sys.modules[name]


def loggers() -> list[logging.Logger]:
    """Every logger there is."""
    known = logging.root.manager.loggerDict.values()
    return [logging.root, *(each for each in known if isinstance(each, logging.Logger))]


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    """The env.py that ``alembic init`` writes silences every logger that its file does not name."""
    saved = {
        each: (each.disabled, each.level, each.propagate, each.handlers[:]) for each in loggers()
    }
    yield
    for logger in loggers():
        new = (False, logging.NOTSET, True, list[logging.Handler]())
        logger.disabled, level, logger.propagate, handlers = saved.get(logger, new)
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture
def scratch(postgres_url: str) -> Iterator[Scratch]:
    """The run's server, as a scratch server."""
    with scratch_server(postgres_url) as made:
        yield made


@pytest.fixture
def empty(scratch: Scratch) -> Iterator[URL]:
    """A database without anything."""
    with scratch.empty() as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project under git whose models have a column that no revision makes."""
    made = tmp_path / "a shop"
    shop(made, env_py=env(ENGINE), models=MODELS + MORE)
    committed(made)
    return made
