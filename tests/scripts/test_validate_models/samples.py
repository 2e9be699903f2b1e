"""Puts a rule's sample into a module of its own, and asks the rules about it."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy.orm import registry

ROOT = Path(__file__).resolve().parent.parent.parent.parent
SCRIPT = ROOT / "scripts" / "validate-models.py"
sys.path.insert(0, str(SCRIPT.parent))

PRELUDE = """\
import enum
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional
from zoneinfo import ZoneInfo

from sqlalchemy import *
from sqlalchemy.dialects.postgresql import ARRAY, CITEXT, JSONB
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import *


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        int: BigInteger,
        str: Text,
        datetime: DateTime(timezone=True),
    }
    __mapper_args__ = {"eager_defaults": True}


"""
NUMBERS = itertools.count()


def marked_lines(code: str) -> list[int]:
    """The lines of *code* that end with ``# found``."""
    return [number for number, line in enumerate(code.splitlines(), 1) if line.endswith("# found")]


def write_sample(folder: Path, sample: str) -> Path:
    """*sample* behind the prelude, in a file of its own."""
    path = folder / f"sample_{os.getpid()}_{next(NUMBERS)}.py"
    path.write_text(PRELUDE + sample.lstrip("\n"))
    return path


@contextmanager
def loaded(folder: Path, sample: str) -> Iterator[ModuleType]:
    """The module of *sample*, with its mappers gone afterwards."""
    path = write_sample(folder, sample)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        forget(path.stem)


def forget(name: str) -> None:
    """Let the classes of a module go: they would be configured with everybody else's."""
    module = sys.modules.pop(name, None)
    for value in vars(module).values() if module else ():
        known: Any = getattr(value, "registry", None)
        if isinstance(value, registry):
            value.dispose(cascade=True)
        elif isinstance(value, type) and getattr(value, "__module__", None) == name and known:
            known.dispose(cascade=True)


FORKS = """
import json, os, runpy, signal, sys, traceback
script, folder = sys.argv[1:]
sys.path.insert(0, folder)
import sqlalchemy.orm
from validate_models import __main__, api, core, report
core.all_rules()
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    code = 1
    try:
        signal.alarm(120)
        for number, path, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, asked["stdout"], os.O_WRONLY),
            (2, asked["stderr"], os.O_WRONLY),
        ):
            os.dup2(os.open(path, flags), number)
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv = [script, *asked["arguments"]]
        runpy.run_path(script, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
"""


@functools.cache
def forks() -> subprocess.Popen[str]:
    """A process that has SQLAlchemy and the script's modules, and forks for each run.

    It saves the second that each start would cost; it ends when its standard input closes.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", "-B", "-c", FORKS, str(SCRIPT), str(SCRIPT.parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def end() -> None:
        assert process.stdin
        assert process.stdout
        process.stdin.close()
        process.wait(30)
        process.stdout.close()

    atexit.register(end)
    return process


def run_script(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The script as a user runs it, in a process of its own."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    given = list(map(str, arguments))
    with (
        tempfile.NamedTemporaryFile("r", encoding="utf-8") as stdout,
        tempfile.NamedTemporaryFile("r", encoding="utf-8") as stderr,
    ):
        asked = {
            "arguments": given,
            "cwd": str(cwd or ROOT),
            "environment": {**ours, **environment},
            "stdout": stdout.name,
            "stderr": stderr.name,
        }
        process = forks()
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        return subprocess.CompletedProcess(given, code, stdout.read(), stderr.read())
