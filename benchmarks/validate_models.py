"""The linter beside what it must wait for: all rules beside the import of the models, its start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .harness import BenchmarkError, Case

TITLE = "All rules on generated models, ten columns and two relationships each"
UNIT = "models"
BASELINE = "import and configure"
QUICK, FULL = 40, 1_000
PEERS = ()

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
TWICE, START_ALONE = "twice as many: import and configure", "start: import SQLAlchemy"
A_FILE = 20
TIMEOUT = 600

BASE = """\
import enum
from datetime import datetime

from sqlalchemy import BigInteger, DateTime, MetaData, Text
from sqlalchemy.orm import DeclarativeBase


class Status(enum.Enum):
    OPEN = "open"
    SOLVED = "solved"


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
    type_annotation_map = {int: BigInteger, str: Text, datetime: DateTime(timezone=True)}
"""
HEAD = """\
from datetime import datetime
from decimal import Decimal

from sqlalchemy import ForeignKey, Index, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .base import Base, Status
"""
# The models of a file form a ring: each refers to the one before it.  Every tenth has two faults.
MODEL = """

class Ticket{n}(Base):
    __tablename__ = "tickets_{n}"
    __table_args__ = (Index(None, "status", "created_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(
        ForeignKey("tickets_{before}.id", use_alter={ends_ring}){index}
    )
    title: Mapped[str]
    status: Mapped[Status]
    amount: Mapped[{money}]
    is_public: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    due_at: Mapped[datetime | None]
    note: Mapped[str | None]
    settings: Mapped[dict[str, str]] = mapped_column(JSONB, default=dict)
    parent: Mapped["Ticket{before} | None"] = relationship(back_populates="children")
    children: Mapped[list["Ticket{after}"]] = relationship(back_populates="parent")
"""

# What a child process does; each prints [answer, seconds] as JSON.  Processor seconds: it waits for
# nothing, and what else the machine does must not count.
LOAD = """\
import contextlib, io, json, sys, time
import sqlalchemy.orm, sqlalchemy.dialects.postgresql

sys.path[:0] = sys.argv[1:]
started = time.process_time()
import generated.models

sqlalchemy.orm.configure_mappers()
seconds = time.process_time() - started
print(json.dumps([len(generated.models.Base.registry.mappers), seconds]), flush=True)
"""
# The start is measured by itself, so it is done here before the clock runs.
CHECK = """\
if sys.stdin.readline():
    from validate_models import api, core, report
    from validate_models.__main__ import main

    core.all_rules(), core.dialect()
    told, arguments = io.StringIO(), ["--select", "all", "--asyncio", "--max-findings", "100000"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told):
        started = time.process_time()
        code = main([*arguments, "--output-format", "concise", "generated.models"])
        seconds = time.process_time() - started
    print(json.dumps([[code, told.getvalue()], seconds]), flush=True)
"""
START = """\
import contextlib, io, json, sys, time

started = time.process_time()
import sqlalchemy.orm, sqlalchemy.dialects.postgresql

seconds = time.process_time() - started
if sys.argv[1:]:
    sys.path[:0] = sys.argv[1:]
    with contextlib.redirect_stdout(io.StringIO()):
        started = time.process_time()
        from validate_models.__main__ import main

        code = main(["--list-rules"])
        seconds = time.process_time() - started
    assert code == 0
print(json.dumps([None, seconds]))
"""


@contextmanager
def cases(server_url: str, size: int) -> Iterator[list[Case]]:
    """*size* models and twice as many; no database is asked."""
    with tempfile.TemporaryDirectory(prefix="soe-models-") as name:
        bytecode = Path(name) / "bytecode"
        once = Generated(Path(name) / "once", size, bytecode)
        twice = Generated(Path(name) / "twice", 2 * size, bytecode)
        try:
            yield [
                Case(BASELINE, once.load, size, own_clock=True),
                Case("all rules", once.check, size, own_clock=True),
                Case(TWICE, twice.load, 2 * size, own_clock=True),
                Case(
                    "twice as many: all rules",
                    twice.check,
                    2 * size,
                    baseline=TWICE,
                    own_clock=True,
                ),
                Case(START_ALONE, started(bytecode), 0, own_clock=True),
                Case(
                    "start: the linter's own",
                    started(bytecode, SCRIPTS),
                    0,
                    baseline=START_ALONE,
                    own_clock=True,
                ),
            ]
        finally:
            once.close()
            twice.close()


class Generated:
    """Generated models, and the process that has imported them and may be told to check them."""

    def __init__(self, folder: Path, number: int, bytecode: Path) -> None:
        """Write *number* models to the package ``generated`` in *folder*."""
        self.folder, self.number, self.bytecode = folder, number, bytecode
        self.child: subprocess.Popen[str] | None = None
        write_models(folder / "generated", number)

    def load(self) -> tuple[object, float]:
        """In a new process: the number of mappers, the seconds of importing and configuring."""
        self.close()
        self.child = child(LOAD + CHECK, self.bytecode, self.folder, SCRIPTS)
        mappers, seconds = answer_of(self.child)
        if mappers != self.number:
            raise BenchmarkError(f"received {mappers} mappers; expected {self.number}")
        return mappers, seconds

    def check(self) -> tuple[object, float]:
        """In the process of the last ``load``, or a new one: the report, the seconds of it."""
        if self.child is None:
            self.load()
        assert self.child is not None
        assert self.child.stdin is not None
        self.child.stdin.write("check\n")
        self.child.stdin.flush()
        (code, told), seconds = answer_of(self.child)
        self.close()
        faulty = len(range(0, self.number, 10))
        if code != 1 or f"{self.number} mappers" not in told or f"{2 * faulty} warning" not in told:
            raise BenchmarkError(f"received exit {code}, {told!r}; expected {2 * faulty} warnings")
        return told, seconds

    def close(self) -> None:
        """Let the process end: its standard input closes."""
        if self.child is not None:
            self.child.communicate(timeout=TIMEOUT)
            self.child = None


def write_models(package: Path, number: int) -> None:
    """Write *number* models, ``A_FILE`` to a file, and ``models.py``, which imports them all."""
    package.mkdir(parents=True)
    (package / "base.py").write_text(BASE)
    imports = ["from .base import Base"]
    for first in range(0, number, A_FILE):
        last = min(first + A_FILE, number) - 1
        models = [
            MODEL.format(
                n=n,
                before=n - 1 if n > first else last,
                after=n + 1 if n < last else first,
                ends_ring=n == first,
                index=", index=True" if n % 10 else "",
                money="float" if n % 10 == 0 else "Decimal",
            )
            for n in range(first, last + 1)
        ]
        (package / f"file_{first}.py").write_text(HEAD + "".join(models))
        imports.append(f"from . import file_{first}")
    (package / "models.py").write_text("\n".join(imports) + "\n")


def started(bytecode: Path, *folders: Path) -> Callable[[], tuple[object, float]]:
    """The start of a process: SQLAlchemy's, or with the linter's folder what it adds."""

    def run() -> tuple[object, float]:
        process = child(START, bytecode, *folders)
        found, seconds = answer_of(process)
        process.communicate(timeout=TIMEOUT)
        return found, seconds

    return run


def child(code: str, bytecode: Path, *arguments: Path) -> subprocess.Popen[str]:
    """A Python that finds its bytecode in *bytecode*, and leaves it there for the next one."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment | {"PYTHONPYCACHEPREFIX": str(bytecode)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answer_of(process: subprocess.Popen[str]) -> Any:
    """The next line of *process*.  Raises ``BenchmarkError`` where it ended without one."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise BenchmarkError(f"received nothing from a child; it ended with {process.wait()}")
    return json.loads(line)
