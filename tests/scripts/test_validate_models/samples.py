"""Puts a rule's sample into a module of its own, and asks the rules about it."""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

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
        registry: Any = getattr(value, "registry", None)
        if isinstance(value, type) and getattr(value, "__module__", None) == name and registry:
            registry.dispose(cascade=True)


def run_script(
    *arguments: object, cwd: Path | None = None, python: Sequence[str] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """The script as a user runs it."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, *python, str(SCRIPT), *map(str, arguments)],
        cwd=cwd or ROOT,
        env={**ours, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
