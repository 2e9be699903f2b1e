"""Runs a recipe as its reader will: each step copied into a revision of an Alembic project."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import psycopg
from alembic.config import Config

from examples.migration_guide.checks import HERE, alembic_config
from examples.migration_guide.recipes.step import Step
from examples.migration_guide.recipes.tables import ROWS as FILL
from examples.migration_guide.recipes.tables import TABLES
from examples.postgres import temporary_database
from tests.examples.test_migration_guide.desk import execute

ROWS = int(os.environ.get("RECIPE_ROWS", "20000"))
"""20,000 in CI; ``make prove`` asks for 200,000."""
FOLDER = HERE / "recipes"


def recipe(slug: str) -> ModuleType:
    """The module of a recipe."""
    return importlib.import_module(f"examples.migration_guide.recipes.{slug}")


MODULES = {path.stem: recipe(path.stem) for path in sorted(FOLDER.glob("*.py"))}
RECIPES = {slug: module for slug, module in MODULES.items() if hasattr(module, "STEPS")}


def naive_of(module: ModuleType) -> list[Step]:
    """What one writes first."""
    found = getattr(module, "NAIVE", ())
    return [found] if isinstance(found, Step) else list(found)


REVISION = '''"""{said}"""

{imports}

revision = "{name}"
down_revision = {after!r}


{upgrade}


{downgrade}
'''
NOTHING = 'def downgrade() -> None:\n    """Nothing to take back."""\n'


def imports_of(module: ModuleType) -> str:
    """Its absolute imports: what a reader copies along with a step."""
    source = inspect.getsource(module)
    nodes = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
    )
    return "\n".join(ast.unparse(node) for node in nodes)


def copied(function: Callable[[], None], name: str) -> str:
    """The source of *function* under another name, and nothing else of its module."""
    return re.sub(r"^def \w+\(", f"def {name}(", inspect.getsource(function), count=1)


def project(folder: Path, *steps: Step) -> Path:
    """An Alembic project with our environment whose revisions are *steps*: "1", "2" …"""
    made = folder / "migration_guide"
    shutil.copytree(HERE, made, ignore=shutil.ignore_patterns("__pycache__", "versions", "recipes"))
    (made / "versions").mkdir()
    for number, step in enumerate(steps, 1):
        module = inspect.getmodule(step.upgrade)
        assert module is not None
        source = REVISION.format(
            said=step.upgrade.__name__,
            imports=imports_of(module),
            name=number,
            after=str(number - 1) if number > 1 else None,
            upgrade=copied(step.upgrade, "upgrade"),
            downgrade=copied(step.downgrade, "downgrade") if step.downgrade else NOTHING,
        )
        (made / "versions" / f"{number}_{step.upgrade.__name__}.py").write_text(source)
    return made


def project_config(url: str, folder: Path, *steps: Step) -> Config:
    """Alembic on the database at *url* with *steps* as its revisions."""
    return alembic_config(url, project(folder, *steps))


def fill(url: str, statements: tuple[str, ...], rows: int = ROWS) -> None:
    """Run *statements*, each with its number of rows."""
    for statement in statements:
        execute(url, re.sub(r"(?<!:):rows\b", str(rows), statement))


SMALL = 3_000
"""Rows: three batches."""


@contextmanager
def filled_database(server_url: str, rows: int = ROWS) -> Iterator[str]:
    """A database with the tables of the recipes, full."""
    with temporary_database(server_url) as url:
        fill(url, (*TABLES, *FILL, "ANALYZE"), rows)
        yield url


def found_by(url: str, query: str) -> list[tuple[object, ...]]:
    """The rows of *query*."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()
