"""The command from a bare copy in somebody else's project, under both shells; its page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.scripts.test_generate_migration.projects import (
    FIRST,
    MODELS,
    MORE,
    POISON,
    SCRIPTS,
    SECOND,
    versions,
    write,
)

# isort: split
from generate_migration import lint as linting
from generate_migration import prove as proving
from generate_migration import rules as rules_of
from generate_migration import source
from generate_migration.judge import MISSING

PACKAGE = SCRIPTS / "generate_migration"
PAGE = SCRIPTS.parent / "references" / "generating-migrations.md"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The scripts as an installer leaves them: without ``__init__.py``, in a path with a space."""
    target = tmp_path / "the skill" / "scripts"
    ignored = shutil.ignore_patterns("__pycache__", "__init__.py")
    shutil.copytree(SCRIPTS, target, ignore=ignored)
    assert not list(target.rglob("__init__.py"))
    return target / "generate-migration.sh"


def call(
    shell: str, script: Path, *arguments: str, cwd: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    """The shell file in a process of its own."""
    kept = ("PATH", "HOME", "TMPDIR", "POSTGRES_PROVIDER", "SOE_CACHE_DIR", "LANG")
    environ = {name: os.environ[name] for name in kept if name in os.environ}
    return subprocess.run(
        [shell, str(script), *arguments],
        cwd=cwd,
        env=environ | more,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


def own_examples(folder: Path) -> None:
    """The project has a package ``examples`` of its own, and one ``core``."""
    write(folder / "src" / "examples" / "__init__.py", "")
    base = MODELS.partition("class Order")[0]
    write(folder / "src" / "examples" / "core.py", base)
    write(folder / "src" / "core" / "__init__.py", "from examples.core import Base\n")
    orders = MODELS.partition("class Order")[2]
    head = "from core import Base\nfrom sqlalchemy import BigInteger, Identity, Text\n"
    head += "from sqlalchemy.orm import Mapped, mapped_column\n\n\nclass Order"
    write(folder / "src" / "shop" / "models.py", head + orders + MORE)


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_a_bare_copy_in_a_foreign_project(
    shell: str, copy: Path, folder: Path, tmp_path: Path, postgres_url: str
) -> None:
    """Through a link, from below the project; dash with a server that it starts itself."""
    if shutil.which(shell) is None:
        shell = "sh"
    own_examples(folder)
    link = tmp_path / "bin" / "generate migration"
    link.parent.mkdir()
    link.symlink_to(Path("..") / "the skill" / "scripts" / copy.name)
    arguments = ["-m", "add a note", "--rev-id", SECOND]
    url = make_url(postgres_url).render_as_string(hide_password=False)
    more = {"PYTHON": sys.executable, "DATABASE_URL": POISON}
    if shell == "bash":
        arguments += ["--scratch-url", "env:SCRATCH"]
        more["SCRATCH"] = url
    else:
        more |= {"PGSSLMODE": "verify-full", "PGHOSTADDR": "127.0.0.9"}
    result = call(shell, link, *arguments, cwd=folder / "db" / "migrations", **more)
    assert result.returncode == 0, result.stderr
    # The report is the page's.
    (shown,) = re.findall(r"```text\n(wrote .*?)```", PAGE.read_text(), re.DOTALL)
    assert result.stdout.startswith(shown)
    assert "said by env.py" not in result.stdout
    assert versions(folder) == {f"{FIRST}.py", f"{SECOND}_add_a_note.py"}
    assert not list(copy.parent.rglob("__init__.py"))


@pytest.mark.once
@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_which_python(shell: str, copy: Path, tmp_path: Path) -> None:
    """$PYTHON, else the environment's, else .venv upward, else the PATH's; else a message."""
    if shutil.which(shell) is None:
        shell = "sh"

    def python(folder: Path, name: str) -> str:
        path = write(folder, f'#!/bin/sh\nprintf "%s|" {name} "$@"\n')
        path.chmod(0o755)
        return str(path)

    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("dirname", "readlink", "pwd"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    program = shutil.which(shell)
    assert program is not None
    deep = tmp_path / "project" / "a" / "b"
    deep.mkdir(parents=True)

    def asked(**more: str) -> str:
        result = call(program, copy, "-m", "a 'b'", cwd=deep, **({"PATH": str(tools)} | more))
        if result.returncode:
            assert result.returncode == 2
            assert result.stderr.count("received") == 1
            return "none"
        words = result.stdout.split("|")
        assert words[1:] == [str(copy.with_suffix(".py")), "-m", "a 'b'", ""]
        return words[0]

    assert asked() == "none"
    assert asked(PYTHON="/not/there") == "none"
    python(tools / "python", "plain")
    assert asked() == "plain"
    python(tools / "python3", "three")
    assert asked() == "three"
    python(tmp_path / "project" / ".venv" / "bin" / "python", "beside")
    assert asked() == "beside"
    python(tmp_path / "my env" / "bin" / "python", "active")
    assert asked(VIRTUAL_ENV=str(tmp_path / "my env")) == "active"
    assert asked(VIRTUAL_ENV=str(tmp_path / "gone")) == "beside"
    named = python(tmp_path / "named python", "named")
    assert asked(PYTHON=named, VIRTUAL_ENV=str(tmp_path / "my env")) == "named"
    assert asked(PYTHON="python3") == "three"


@pytest.mark.once
@pytest.mark.parametrize(
    ("module", "code", "found"),
    [
        ("sqlalchemy", 'raise ImportError("not there")', "no SQLAlchemy"),
        ("alembic", 'raise ImportError("not there")', "no Alembic"),
        ("alembic", '__version__ = "1.18.4"', "Alembic 1.18.4"),
    ],
)
def test_an_interpreter_without(
    module: str, code: str, found: str, copy: Path, tmp_path: Path
) -> None:
    stub = write(tmp_path / "stubs" / f"{module}.py", f"{code}\n")
    result = call(
        "sh", copy, "-m", "x", cwd=tmp_path, PYTHON=sys.executable, PYTHONPATH=str(stub.parent)
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert f"received an interpreter with {found}:" in result.stderr
    assert "expected: SQLAlchemy 2.0 or 2.1 and Alembic 1.18.5" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.once
def test_the_page_names_every_rule() -> None:
    written = "".join(path.read_text() for path in sorted((PACKAGE / "repairs").glob("*.py")))
    names = set(re.findall(r'Finding\(\s*(?:rule=)?"([a-z-]+)"', written))
    names |= {*rules_of.RULES, *source.RULES, *proving.RULES.values(), linting.UNUSED, MISSING}
    assert len(names) > 30
    page = PAGE.read_text()
    assert sorted(name for name in names if f"`{name}`" not in page) == []


@pytest.mark.once
def test_the_shell_file_is_clean() -> None:
    checker = Path(sys.executable).with_name("shellcheck")
    command = [str(checker), "--shell=sh", str(SCRIPTS / "generate-migration.sh")]
    assert subprocess.run(command, check=False).returncode == 0
    assert os.access(SCRIPTS / "generate-migration.sh", os.X_OK)
