"""The recipes of the guide are what the linter asks for, and what they warn of is what it finds."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import NullPool, create_engine, make_url

from examples.migration_guide.recipes.step import Step
from tests.examples.test_migration_guide.recipes import (
    RECIPES,
    fill,
    filled_database,
    naive_of,
    project_config,
)
from tests.scripts.test_generate_migration.observing import linted, named

# isort: split
from generate_migration.core import BrokenOff, Finding
from generate_migration.schema import schema_of
from generate_migration.watch import Watch

ROWS = 300
# What takes something away is told each time: the last step of a recipe comes when nobody reads it.
CONTRACT = {"squawk/ban-drop-column", "squawk/ban-drop-table", "squawk/renaming-object"}
# They refuse a writer by what a value is, not by a lock.
OF_VALUES = {"naive_forbid", "naive_narrow"}
NAIVE = [
    pytest.param(module, step, id=f"{slug}-{step.upgrade.__name__}")
    for slug, module in RECIPES.items()
    for step in naive_of(module)
    if step.upgrade.__name__ not in OF_VALUES
]


def found(url: str, folder: Path, module: ModuleType, steps: Sequence[Step]) -> list[Finding]:
    """What is found in *steps*, each a revision that ran on full tables."""
    with filled_database(url, ROWS) as database:
        fill(database, getattr(module, "SETUP", ()), ROWS)
        config = project_config(database, folder, *steps)
        scripts = list(ScriptDirectory.from_config(config).walk_revisions())
        watch = Watch({script.path: script.revision for script in scripts}, upgrade=True)
        with watch.on():
            command.upgrade(config, "head")
    return [
        finding
        for script in scripts
        for finding in linted(
            [each for each in watch.statements if each.revision == script.revision],
            Path(script.path),
        )
    ]


@pytest.mark.parametrize("slug", RECIPES)
def test_a_recipe_is_silent(postgres_url: str, tmp_path: Path, slug: str) -> None:
    module = RECIPES[slug]
    assert set(named(found(postgres_url, tmp_path, module, module.STEPS))) <= CONTRACT


@pytest.mark.once
@pytest.mark.parametrize("slug", RECIPES)
def test_a_recipe_goes_on_where_it_was_broken_off(
    postgres_url: str, tmp_path: Path, slug: str
) -> None:
    """After each of its commits: the schema is that of a run that nobody disturbed."""
    module = RECIPES[slug]
    schemas = []
    for breaking in (False, True):
        with filled_database(postgres_url, ROWS) as database:
            fill(database, getattr(module, "SETUP", ()), ROWS)
            config = project_config(database, tmp_path / str(breaking), *module.STEPS)
            scripts = [*ScriptDirectory.from_config(config).walk_revisions()]
            breaks = sum(upgrade_by_and_by(config, each, breaking) for each in reversed(scripts))
            schemas.append(schema_at(database))
    assert schemas[0] == schemas[1]
    assert (breaks > 0) == ("autocommit_block" in inspect.getsource(module))


def upgrade_by_and_by(config: Config, script: Script, breaking: bool) -> int:
    """Upgrade to *script*, if asked broken off after its first commit, its second …: how often."""
    for number in range(50):
        watch = Watch({script.path: script.revision}, upgrade=True, break_at=number + breaking)
        try:
            with watch.on():
                command.upgrade(config, script.revision)
        except BrokenOff:
            continue
        return number
    raise AssertionError("it comes to no end")


def schema_at(url: str) -> list[str]:
    """What the catalogue of the database at *url* holds."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        return schema_of(connection, version_table="alembic_version")


@pytest.mark.once
@pytest.mark.parametrize(("module", "step"), NAIVE)
def test_what_one_writes_first_is_found(
    postgres_url: str, tmp_path: Path, module: ModuleType, step: Step
) -> None:
    assert named(found(postgres_url, tmp_path, module, [step]))
