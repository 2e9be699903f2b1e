"""A topic copied with its two files into a package imports, runs and type-checks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import CompoundSelect

from examples.postgres import temporary_database
from tests.test_layout import EXAMPLES, ROOT, TOPICS
from tests.test_upgrading import SA_21

RUN_DEMO = """
import sys
from desk.database import create_sync_engine
from desk.models import Base
from desk.{topic} import demo

engine = create_sync_engine(sys.argv[1])
try:
    Base.metadata.create_all(engine)
    demo(engine)
finally:
    engine.dispose()
"""


def python(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run this interpreter in *folder* with nothing of the repository on its path."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=600,  # mypy begins with nothing where SQLAlchemy is another one
    )


def copy_to_desk(folder: Path, *topics: str) -> None:
    """Copy *topics* and what they lean on into the package ``desk`` under *folder*."""
    desk = folder / "desk"
    desk.mkdir()
    for name in ("models", "database", *topics):
        shutil.copy(EXAMPLES / f"{name}.py", desk)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_copied_topic_runs(topic: str, tmp_path: Path, real_commits: str) -> None:
    copy_to_desk(tmp_path, topic)
    result = python(["-W", "error", "-c", RUN_DEMO.format(topic=topic), real_commits], tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip(), "the demo told nothing"


def test_copied_migrations_run(tmp_path: Path, postgres_url: str) -> None:
    copy_to_desk(tmp_path)
    guide = tmp_path / "desk" / "migration_guide"
    shutil.copytree(EXAMPLES / "migration_guide", guide)
    # All that the page asks for: one's own package in the imports of env.py.
    env = guide / "env.py"
    env.write_text(env.read_text().replace("from examples.", "from desk."))
    ini = ["-m", "alembic", "-c", "desk/migration_guide/alembic.ini"]
    with temporary_database(postgres_url) as url, pytest.MonkeyPatch.context() as environment:
        environment.setenv("DATABASE_URL", url)
        for command in (["upgrade", "head"], ["check"], ["downgrade", "base"]):
            result = python([*ini, *command], tmp_path)
            assert result.returncode == 0, result.stdout + result.stderr


# What the page upgrading.md tells a user of 2.0 to write.
STATEMENT = re.compile(
    r"\b(Select|CompoundSelect|Returning(?:Insert|Update|Delete))\[((?:[^\[\]]|\[[^\]]*\])*)\]"
)


def test_copied_topics_type_check(tmp_path: Path) -> None:
    copy_to_desk(tmp_path, *TOPICS)
    if not SA_21:
        for path in (tmp_path / "desk").glob("*.py"):
            source = STATEMENT.sub(r"\1[tuple[\2]]", path.read_text())
            if not hasattr(CompoundSelect, "__orig_bases__"):
                # The lowest that is supported: it has no type parameter yet.
                source = re.sub(r"CompoundSelect\[tuple\[[^\]]*\]\]", "CompoundSelect", source)
            path.write_text(source)
    cache = ROOT / ".mypy_cache"
    result = python(
        ["-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}", "-p", "desk"], tmp_path
    )
    assert result.returncode == 0, result.stdout + result.stderr
