"""What a grader sees of a workspace: its modules, a fresh database, processes, statements.

One ``Workspace`` serves one check, in a process of its own, on a copy of the folder: a check may
write there, import, fail, hang or exit, and no other check notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

T = TypeVar("T")
COMMAND_SECONDS = 90.0
# The slow plugins of our own environment; what a workspace's tests use stays on.
PYTEST_OPTIONS = "-p no:schemathesis -p no:hypothesispytest -p no:cacheprovider -p no:randomly"
# Of this process's databases; they are not to be shown.
PASSWORDS: set[str] = set()


@dataclass
class Statements:
    """What an engine was told to execute, in order; transaction control is not among it."""

    sql: list[str] = field(default_factory=list)
    parameters: list[Any] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many statements; an ``executemany`` is one."""
        return len(self.sql)

    def __str__(self) -> str:
        """The statements, one a line, shortened: evidence."""
        lines = [" ".join(statement.split())[:160] for statement in self.sql]
        return f"{self.count} statement(s)" + "".join(f"\n  {line}" for line in lines[:12])


class Workspace:
    """A folder that somebody worked in, with one fresh database.

    *path* is the folder's copy (also the working folder of the process), *database_url* a URL of
    the database without a driver.
    """

    def __init__(self, path: Path, database_url: str) -> None:
        self.path = path
        self.notes: list[str] = []
        self._rest = database_url.partition("://")[2]
        PASSWORDS.update(passwords_of(database_url))
        self._closing = contextlib.ExitStack()
        self._runner: asyncio.Runner | None = None
        self._plain: Engine | None = None

    # --- code -----------------------------------------------------------------------------------

    def module(self, name: str) -> ModuleType:
        """Import *name* out of the workspace; the same object when asked again.

        Raises AssertionError where the workspace has no such module, or it cannot be imported.
        """
        folder = str(self.path)
        if sys.path[:1] != [folder]:
            sys.path.insert(0, folder)
            importlib.invalidate_caches()
        try:
            module = importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"cannot import {name}: {describe(error)}") from error
        origin = module.__file__ or next(iter(getattr(module, "__path__", [])), "")
        if not Path(origin).resolve().is_relative_to(self.path.resolve()):
            raise AssertionError(f"the workspace has no module {name}")
        return module

    def write(self, name: str, content: str) -> Path:
        """Put a file into the workspace's copy; its path."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
        return target

    def command(
        self,
        arguments: Sequence[str],
        *,
        seconds: float = COMMAND_SECONDS,
        environment: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a process in the workspace, DATABASE_URL set; what it printed and its code.

        ``python``, ``alembic`` and ``pytest`` are those of this environment.  A process that is
        still there after *seconds* is killed and counts as ended with -9.  The database's password
        is hidden in what it printed.
        """
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as out,
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as err,
        ):
            # Files, not pipes: a grandchild that holds a pipe open would be waited for.
            process = subprocess.Popen(
                list(arguments),
                cwd=self.path,
                env=self.environment() | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            out.seek(0)
            err.seek(0)
            # Before anybody cuts it: half of a password would not be found.
            told, failed = hide(out.read(), PASSWORDS), hide(err.read(), PASSWORDS)
            return subprocess.CompletedProcess(list(arguments), code, told, failed)

    def environment(self) -> dict[str, str]:
        """The environment of a process in the workspace."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return kept | {
            "DATABASE_URL": self.url(),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")]),
            "PYTHONPATH": str(self.path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_ADDOPTS": PYTEST_OPTIONS,
        }

    # --- the database ---------------------------------------------------------------------------

    def url(self, driver: str = "psycopg2") -> str:
        """The URL of this check's own database, which is empty when the check begins."""
        return f"postgresql+{driver}://{self._rest}"

    @property
    def role(self) -> str:
        """The only name of a role that a check may make: it is dropped also when we are killed."""
        return make_url(self.url()).database or ""

    def engine(self, *, driver: str = "psycopg2", **options: Any) -> Engine:
        """An engine for it, with SQLAlchemy's own defaults; disposed after the check."""
        engine = create_engine(self.url(driver), **options)
        self._closing.callback(engine.dispose)
        return engine

    def async_engine(self, *, driver: str = "asyncpg", **options: Any) -> AsyncEngine:
        """The same for asyncio; use it within ``run()`` only."""
        engine = create_async_engine(self.url(driver), **options)
        self._closing.callback(lambda: self.run(engine.dispose()))
        return engine

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine* to its end; all of a check's share one event loop."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(coroutine)

    def rows(self, sql: str, **parameters: Any) -> Sequence[Any]:
        """Execute *sql* on a connection of its own and commit; its rows, none where it has none."""
        if self._plain is None:
            self._plain = create_engine(self.url(), poolclass=NullPool)
        with self._plain.begin() as connection:
            result = connection.execute(text(sql), parameters)
            return result.all() if result.returns_rows else []

    def value(self, sql: str, **parameters: Any) -> Any:
        """The first column of the first row of *sql*; None where there is no row."""
        rows = self.rows(sql, **parameters)
        return rows[0][0] if rows else None

    @contextmanager
    def statements(self, engine: Engine | AsyncEngine) -> Iterator[Statements]:
        """Record what *engine* executes within the block."""
        seen = Statements()
        target = engine.sync_engine if isinstance(engine, AsyncEngine) else engine

        def record(
            connection: object, cursor: object, sql: str, parameters: object, *_rest: object
        ) -> None:
            seen.sql.append(sql)
            seen.parameters.append(parameters)

        event.listen(target, "before_cursor_execute", record)
        try:
            yield seen
        finally:
            event.remove(target, "before_cursor_execute", record)

    # --- the end --------------------------------------------------------------------------------

    def note(self, evidence: str) -> None:
        """Keep *evidence* for the report of a check that passes."""
        self.notes.append(evidence)

    def close(self) -> None:
        """Dispose of every engine; the runner calls it after the check."""
        with contextlib.suppress(Exception):
            self._closing.close()
        if self._runner is not None:
            with contextlib.suppress(Exception):
                self._runner.close()


def passwords_of(url: str) -> set[str]:
    """The passwords that *url* holds, each as it is written, as it reads, and encoded again."""
    parts = urlsplit(url)
    written = {parts.password or "", *re.findall(r"(?:^|&)\w*password=([^&]*)", parts.query)}
    plain = {unquote(password) for password in written}
    return (written | plain | {quote(password, safe="") for password in plain}) - {""}


def hide(text: str, passwords: Iterable[str]) -> str:
    """*text* with ``***`` for each of *passwords*."""
    for password in sorted(passwords, key=len, reverse=True):  # one may be a part of another
        text = text.replace(password, "***")
    return text


def describe(error: BaseException) -> str:
    """*error* in a line: type and message."""
    message = " ".join(hide(str(error), PASSWORDS).split())
    return f"{type(error).__name__}: {message}"[:600] if message else type(error).__name__


@contextmanager
def must_raise(*expected: type[BaseException]) -> Iterator[None]:
    """The block has to raise one of *expected*; else AssertionError."""
    names = " or ".join(kind.__name__ for kind in expected)
    try:
        yield
    except expected:
        return
    raise AssertionError(f"nothing was raised; expected {names}")
