"""Each recipe, step by step, while the code that is deployed then goes on writing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError

from examples.database import create_sync_engine
from examples.migration_guide.checks import current_schema
from examples.migration_guide.recipes.step import Step
from examples.postgres import temporary_database
from examples.testing_patterns.plugin import database_name
from tests.examples.test_migration_guide.desk import execute
from tests.examples.test_migration_guide.recipes import (
    FOLDER,
    MODULES,
    RECIPES,
    ROWS,
    fill,
    filled_database,
    found_by,
    naive_of,
    project_config,
)
from tests.examples.test_migration_guide.watching import Watched, watched, writing
from tests.test_layout import absolute_imports, relative_imports
from tests.waiting import until

RESULT = Path(__file__).resolve().parents[3] / "benchmarks" / "results" / "recipe_locks.json"
WRITE = bool(os.environ.get("WRITE_RECIPE_LOCKS"))


@pytest.fixture(scope="module")
def template(postgres_url: str) -> Iterator[str]:
    """The name of a database with the tables of the recipes."""
    with filled_database(postgres_url) as url:
        yield database_name(url)


def schema(url: str) -> list[str]:
    """All that the database holds; what is valid can also be had unproved."""
    engine = create_sync_engine(url)
    lines = [line.replace(" NOT VALID", "") for line in current_schema(engine)]
    engine.dispose()
    return lines


def ready(url: str, slug: str) -> None:
    """Make the database of the recipe *slug*; skip where PostgreSQL is too old for it."""
    needed = getattr(RECIPES[slug], "POSTGRESQL", 15)
    with psycopg.connect(url) as connection:
        if connection.info.server_version < needed * 10_000:
            pytest.skip(f"requires PostgreSQL {needed}")
    fill(url, getattr(RECIPES[slug], "SETUP", ()))


def while_writing(url: str, step: Step, move: Any, config: Config, target: str) -> Watched:
    """Migrate while the code of *step* runs; nobody is refused."""
    with writing(url, step.code, rows=ROWS) as writer, watched(url) as seen:
        until(lambda: writer.done > 1, "somebody writes")
        move(config, target)
        before = writer.done
        # Both forms of a writer; a step may be over before one write is.
        until(lambda: writer.done > before + 2, "they write on")
    assert writer.refused == [], f"{step.upgrade.__name__}, {move.__name__}"
    assert seen.scans == [], f"{step.upgrade.__name__}, {move.__name__}"
    assert seen.written == set(), f"{step.upgrade.__name__}, {move.__name__}"
    return seen


def deploy(url: str, code: tuple[str, ...]) -> None:
    """The code that comes is there already, and the code that goes is there yet."""
    with writing(url, code, rows=ROWS) as writer:
        until(lambda: writer.done > 2, "they write side by side")
    assert writer.refused == []


def told(seen: Watched) -> dict[str, Any]:
    """What the page tells of a step."""
    return {"locks": dict(sorted(seen.locks.items())), "read": sorted(seen.read)}


@pytest.mark.parametrize("slug", RECIPES)
def test_nobody_is_refused(slug: str, clone: str, tmp_path: Path) -> None:
    ready(clone, slug)
    steps: tuple[Step, ...] = RECIPES[slug].STEPS
    config = project_config(clone, tmp_path, *steps)
    measured: dict[str, Any] = {}
    for number, step in enumerate(steps, 1):
        before = schema(clone)
        seen = while_writing(clone, step, command.upgrade, config, str(number))
        if step.verify:
            assert found_by(clone, step.verify) == [], f"verify of {step.upgrade.__name__}"
        measured[step.upgrade.__name__] = told(seen)
        if not step.one_way:
            while_writing(clone, step, command.downgrade, config, "-1")
            assert schema(clone) == before, f"downgrade of {step.upgrade.__name__}"
            while_writing(clone, step, command.upgrade, config, str(number))
            if step.verify:
                assert found_by(clone, step.verify) == [], f"verify of {step.upgrade.__name__}"
        if number < len(steps):
            deploy(clone, step.code + steps[number].code)
    compared(slug, "steps", measured)


@pytest.mark.parametrize("slug", [slug for slug, module in RECIPES.items() if naive_of(module)])
def test_the_naive_way_is_seen(slug: str, postgres_url: str, template: str, tmp_path: Path) -> None:
    """Else the test above could not fail."""
    measured: dict[str, Any] = {}
    for number, step in enumerate(naive_of(RECIPES[slug])):
        with temporary_database(postgres_url, template=template) as url:
            ready(url, slug)
            folder = tmp_path / str(number)
            folder.mkdir()
            config = project_config(url, folder, step)
            with watched(url) as seen, suppress(DBAPIError):
                command.upgrade(config, "1")
            refused = errors_of(url, step.code)
            assert seen.scans or seen.written or refused, step.upgrade.__name__
            measured[step.upgrade.__name__] = told(seen) | {
                "scans": sorted({scan.partition(":")[0] for scan in seen.scans}),
                "written": sorted(seen.written),
                "refused": refused,
            }
    compared(slug, "naive", measured)


def errors_of(url: str, code: tuple[str, ...]) -> list[str]:
    """What PostgreSQL says to the deployed code after the step."""
    found: set[str] = set()
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in code:
            try:
                connection.execute(statement.encode(), {"id": 1})
            except psycopg.Error as error:
                found.add(type(error).__name__)
    return sorted(found)


def compared(slug: str, part: str, measured: dict[str, Any]) -> None:
    """What is measured is what the page tells: ``WRITE_RECIPE_LOCKS=1`` writes it down."""
    document = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if WRITE:
        document.setdefault(slug, {})[part] = measured
        document[slug] = dict(sorted(document[slug].items(), reverse=True))
        RESULT.write_text(json.dumps(dict(sorted(document.items())), indent=2) + "\n")
    assert document.get(slug, {}).get(part) == measured, "WRITE_RECIPE_LOCKS=1 writes it down"


def test_there_are_recipes() -> None:
    assert {"rename_column"} <= set(RECIPES)


def test_recipes_are_frozen() -> None:
    """They know the tables as they were: no models, and nothing of the guide."""
    for slug in MODULES:
        source = (FOLDER / f"{slug}.py").read_text()
        assert not relative_imports(source) & {"models", "database", "environment"}
        assert "examples" not in absolute_imports(source)


def test_a_writer_that_waits_is_seen(clone: str) -> None:
    """Seeded fault: the lock is held until the writer has given up."""
    with psycopg.connect(clone) as blocker:
        blocker.execute("LOCK TABLE tickets")
        with writing(clone, RECIPES["rename_column"].OLD, rows=ROWS, at_most="50ms") as writer:
            until(lambda: writer.done > 0, "the writer gives up")
    assert writer.refused
    execute(clone, "SELECT 1")
