"""Targets that are none, imports that misbehave, options that mean nothing: told, never raised."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts.test_validate_models.samples import PRELUDE, SCRIPT, run_script

TICKET = """
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[float]
"""
MODELS = PRELUDE + TICKET
RECURSION = "def again():\n    again()\n\n\nagain()\n"


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    """Put *files* into *folder*; a name that ends with a slash is a folder."""
    for name, content in files.items():
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def assert_told(result: subprocess.CompletedProcess[str], *said: str, partly: bool = False) -> None:
    """Exit code 2, nothing on standard output, a bounded message, no traceback.

    *partly*: what could be imported is judged all the same.
    """
    assert result.returncode == 2, result.stderr
    assert all(partly and ": warning: " in line for line in result.stdout.splitlines())
    assert "secret" not in result.stderr
    assert "Traceback" not in result.stderr
    assert "Internal" not in result.stderr
    assert len(result.stderr) < 4_000
    for word in (*said, "received", "expected: ", "try: "):
        assert word in result.stderr, result.stderr


@pytest.mark.parametrize(
    ("files", "target", "said"),
    [
        ({"empty/": b""}, "empty", "no file looks as if"),
        ({"app/__init__.py": ""}, "app/", "no file looks as if"),
        ({"app/text.txt": "x"}, "app", "no file looks as if"),
        ({"models.py": ""}, "models.py", "makes no mapped class"),
        ({"models.py": "x = 1\n"}, "models:x", "x is no declarative base"),
        ({"models.py": MODELS}, "models:Nobody", "Nobody is no declarative base"),
        ({"models.py": MODELS}, "models:Base.metadata.x", "is no declarative base"),
        ({"models.py": MODELS}, "models:", "expected: "),
        ({"models.py": MODELS}, ":Base", "no such file or folder"),
        ({"models.py": MODELS}, "models.py:Nobody", "Nobody is no declarative base"),
        ({"models.py": MODELS}, "model", "ModuleNotFoundError"),
        ({"models.py": MODELS}, "models.Ticket", "ModuleNotFoundError"),
        ({"models.py": MODELS}, ".models", "no such file or folder"),
        ({"models.py": MODELS}, "models..x", "no such file or folder"),
        ({"my-app/models.py": MODELS}, "my-app.models", "no such file or folder"),
        ({"models.txt": MODELS}, "models.txt", "expected: "),
        ({"models.txt": MODELS}, "./models.txt", "expected: a Python file"),
        ({"models.py/x": ""}, "models.py", "no file looks as if"),
        ({}, "", "received"),
        ({}, "-", "no such file or folder"),
        ({}, "*.py", "no such file or folder"),
        ({}, "https://example.com/models.py", "no such file or folder"),
        ({}, "postgresql://ann:secret@127.0.0.1/x", "no such file or folder"),
        ({}, "a" * 5_000, "received"),
        ({}, "ä.ö.ü", "ModuleNotFoundError"),
        ({"models.py": b"\x7fELF\x02\x01\x00\x00"}, "models.py", "failed"),
        ({"models.py": b"x = '\xff\xfe'\n"}, "models.py", "SyntaxError"),
        ({"models.py": "class (:\n"}, "models.py", "SyntaxError"),
        ({"models.py": "if True:\nx = 1\n"}, "models.py", "IndentationError"),
        ({"models.py": RECURSION}, "models.py", "RecursionError"),
        ({"models.py": "import sys\nsys.exit(0)\n"}, "models.py", "ends the program"),
        ({"models.py": "import sys\nsys.exit('bye')\n"}, "models.py", "ends the program"),
        ({"models.py": "raise BaseException('odd')\n"}, "models.py", "BaseException: odd"),
        ({"models.py": "raise GeneratorExit\n"}, "models.py", "GeneratorExit"),
        ({"models.py": "raise Exception\n"}, "models.py", "Exception"),
        ({"models.py": "raise Exception('long ' * 9_999)\n"}, "models.py", "long long"),
        ({"models.py": "input('name? ')\n"}, "models.py", "EOFError"),
        ({"models.py": "from .base import Base\n"}, "models.py", "--root"),
        ({"a.py": "import b\n", "b.py": "from a import x\n"}, "a", "ImportError"),
        (
            {"models.py": "class E(Exception):\n    def __str__(self): raise E()\n\n\nraise E()\n"},
            "models.py",
            "E",
        ),
        (
            {"models.py": f"{MODELS}\n\nclass Other(Base):\n    __tablename__ = 'others'\n"},
            "models.py",
            "could not assemble any primary key",
        ),
        (
            {"models.py": "import os\nos.environ['DATABASE_URL']\n"},
            "models.py",
            "--set DATABASE_URL=VALUE",
        ),
        (
            {"a/models.py": MODELS, "b/models.py": "1 / 0  # mapped_column\n"},
            ".",
            "ZeroDivisionError",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_target_that_is_none(
    tmp_path: Path, files: dict[str, str | bytes], target: str, said: str
) -> None:
    write(tmp_path, files)
    result = run_script("--output-format", "concise", target, cwd=tmp_path)
    assert_told(result, said, partly=True)
    assert ("b/models.py" in files) <= ("a/models.py" in result.stdout)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os\nos.chdir('/')\n", "the paths of the report are those of the project"),
        ("import sys\nsys.path.clear()\n", "what the tool imports late is still found"),
        ("import sys\nsys.setrecursionlimit(200)\n", "the rules need little depth"),
        ("import sys\nsys.stdout.close()\n", "the report still has somewhere to go"),
        ("import sys\nsys.stdout = None\n", "the report still has somewhere to go"),
        ("import sys\nsys.stderr = None\n", "the report still has somewhere to go"),
        ("import os\nos.environ.clear()\n", "nothing is needed of it"),
        ("import atexit, os\natexit.register(print, 'late')\n", "the exit code is the tool's"),
        ("import warnings\nwarnings.simplefilter('error')\n", "the user's filters are not ours"),
        ("import logging\nlogging.basicConfig(level=0)\n", "SQLAlchemy's log goes to stderr"),
        ("import threading\nthreading.Thread(target=print).start()\n", "a thread may print"),
        ("import sys\nsys.stderr.close()\n", "the summary still has somewhere to go"),
        ("import os\nos.close(0)\n", "nothing is read of it"),
    ],
    ids=lambda value: value.partition("\n")[2][:30] if "\n" in value else "",
)
def test_an_import_that_misbehaves(tmp_path: Path, code: str, why: str) -> None:
    """The report is whole, in a place of its own."""
    write(tmp_path, {"pyproject.toml": "", "models.py": MODELS + "\n\n" + code})
    result = run_script("--output-format", "json", "models.py", cwd=tmp_path)
    assert result.returncode == 1, (why, result.stderr)
    (found,) = json.loads(result.stdout.removesuffix("late\n"))["findings"]
    assert (found["rule"], found["path"]) == ("float-money", "models.py")
    assert "1 mappers, 1 tables: 1 findings" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--select", "float_money"],
        ["--select", "FLOAT-MONEY"],
        ["--select", "float-money,nobody"],
        ["--ignore", "float-money;int4-key"],
        ["--explain", ""],
        ["--explain", "all"],
        ["--severity", "Error"],
        ["--fail-on", ""],
        ["--set", "=x"],
        ["--set", "A B=x"],
        ["--set", "1A=x"],
        ["--env-file", "."],
        ["--env-file", "models.py"],
        ["--root", "models.py"],
        ["--root", "nowhere"],
    ],
    ids=" ".join,
)
def test_an_option_that_means_nothing(tmp_path: Path, arguments: list[str]) -> None:
    write(tmp_path, {"models.py": MODELS})
    assert_told(run_script(*arguments, "models.py", cwd=tmp_path))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--selekt", "all"],
        ["--sel", "all"],
        ["--max-findings", "1.5"],
        ["--output-format", "JSON"],
        ["--output-format"],
        ["--exit-zero=1"],
    ],
    ids=" ".join,
)
def test_an_option_that_there_is_not(tmp_path: Path, arguments: list[str]) -> None:
    result = run_script("models.py", *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("usage: ")
    assert "Traceback" not in result.stderr


def test_a_value_that_is_set_is_never_shown(tmp_path: Path) -> None:
    write(tmp_path, {"models.py": MODELS, ".env": "A=1\nhunter2\n"})
    for arguments in (["--set", "PASSWORD hunter2"], ["--env-file", ".env"]):
        result = run_script(*arguments, "models.py", cwd=tmp_path)
        assert_told(result, "NAME=VALUE")
        assert "hunter2" not in result.stderr


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """As an ordinary user; root may read all, unless it gives that right up."""
    write(tmp_path, {"models.py": MODELS, "shut/models.py": MODELS})
    (tmp_path / "models.py").chmod(0)
    (tmp_path / "shut").chmod(0)
    prefix: list[str] = []
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        assert setpriv, "util-linux has it"
        prefix = [setpriv, "--bounding-set=-dac_override,-dac_read_search", "--"]
    try:
        for target in ("models.py", "shut/models.py"):
            command = [*prefix, sys.executable, str(SCRIPT), target]
            result = subprocess.run(
                command, cwd=tmp_path, check=False, capture_output=True, text=True
            )
            assert_told(result)
    finally:
        (tmp_path / "shut").chmod(0o700)


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    """``… | head -1`` ends the run without a traceback."""
    columns = "".join(f"    price_{n}: Mapped[float]\n" for n in range(300))
    write(tmp_path, {"models.py": MODELS + columns})
    command = [sys.executable, str(SCRIPT), "--max-findings", "300", "models.py"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
    assert "Traceback" not in told
    assert "Exception ignored" not in told
