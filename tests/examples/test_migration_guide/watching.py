"""Somebody writes while a migration runs, and somebody looks at what it locks and reads."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import psycopg
from sqlalchemy import Connection, Engine, event

from examples.migration_guide.environment import MigrationSettings
from tests.waiting import DEADLINE, LOCK_TIMEOUT, until

# Weakest first; from ShareLock on they conflict with ROW EXCLUSIVE, which every INSERT, UPDATE and
# DELETE takes (PostgreSQL, "Explicit Locking").
MODES = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
BLOCKS_WRITERS = MODES[MODES.index("ShareLock") :]
MANY = 1000
"""Rows; below it is a look by an index, or a writer."""
RELATIONS = """
SELECT c.oid, concat_ws('.', nullif(n.nspname, 'public'), c.relname), pg_relation_filenode(c.oid)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm') AND c.relname <> 'alembic_version'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""
LOCKS = """
SELECT relation, mode FROM pg_locks
WHERE pid = %s AND locktype = 'relation' AND relation = ANY (%s)
"""
COUNTERS = """
SELECT relid, seq_tup_read, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables
"""
DEFINES = re.compile(r"\s*(ALTER|CREATE)\b", re.IGNORECASE)
SETTING = re.compile(r"\s*(SET|RESET|SHOW)\b", re.IGNORECASE)
# What ends transactions of its own cannot be rehearsed in one.
COMMITS = re.compile(r"\s*DO\b.*\bCOMMIT\b", re.IGNORECASE | re.DOTALL)
CONCURRENT = re.compile(
    r"\s*(?:CREATE (?:UNIQUE )?INDEX CONCURRENTLY .*? ON (?:ONLY )?(?P<table>[\w.]+)"
    r"|(?:DROP INDEX|REINDEX INDEX) CONCURRENTLY (?:IF EXISTS )?(?P<index>[\w.]+)"
    r"|ALTER TABLE [\w.]+ DETACH PARTITION (?P<partition>[\w.]+) CONCURRENTLY)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass
class Watched:
    """What the statements of a block did to the tables that were there before it."""

    locks: dict[str, str] = field(default_factory=dict)
    """The strongest by table."""
    read: set[str] = field(default_factory=set)
    """Tables of which a DDL statement read many rows, under whatever lock."""
    written: set[str] = field(default_factory=set)
    """Tables of which one statement changed many rows: they are locked until it commits."""
    scans: list[str] = field(default_factory=list)
    """Work on many rows under a lock that blocks writers."""

    def note(self, table: str, mode: str) -> None:
        """Keep the stronger one."""
        self.locks[table] = max(mode, self.locks.get(table, MODES[0]), key=MODES.index)


@contextmanager
def watched(url: str) -> Iterator[Watched]:
    """See every statement of SQLAlchemy in the block; *url* is of the database that it is sent to.

    A statement outside a transaction has let go of its locks before one can look.  So it is
    rehearsed in a transaction that is rolled back; one that runs CONCURRENTLY cannot be, and is
    held up for a moment by somebody who writes to its table.  The writers of these tests speak to
    psycopg: they are not watched.
    """
    seen = Watched()
    eye = Eye(url, seen)

    def before(connection: Connection, _: Any, statement: str, parameters: Any, *more: Any) -> None:
        del more
        driver: Any = connection.connection.driver_connection
        if driver.autocommit:
            eye.rehearse(driver, statement, parameters)
        else:
            eye.start(driver)

    def after(connection: Connection, _: Any, statement: str, *more: Any) -> None:
        del more
        eye.let_go()
        driver: Any = connection.connection.driver_connection
        if not driver.autocommit:
            eye.look(driver, statement)

    def failed(_: Any) -> None:
        eye.let_go()

    listeners: dict[str, Callable[..., Any]] = {
        "before_cursor_execute": before,
        "after_cursor_execute": after,
        "handle_error": failed,
    }
    for name, listener in listeners.items():
        event.listen(Engine, name, listener)
    try:
        yield seen
    finally:
        for name, listener in listeners.items():
            event.remove(Engine, name, listener)


class Eye:
    """Looks at the locks and counters of a connection."""

    def __init__(self, url: str, seen: Watched) -> None:
        self.url, self.seen = url, seen
        self.over = threading.Event()
        self.holding: threading.Thread | None = None
        with psycopg.connect(url) as connection:
            found = connection.execute(RELATIONS).fetchall()
        self.names: dict[int, str] = {oid: name for oid, name, _ in found}
        self.files: dict[int, int] = {oid: file for oid, _, file in found}
        self.rehearsed: set[str] = set()
        self.counted: dict[int, tuple[int, ...]] = {}

    def start(self, driver: Any) -> None:
        """Remember the counters: they hold what earlier transactions did, for a while."""
        self.counted = {oid: tuple(more) for oid, *more in driver.execute(COUNTERS).fetchall()}

    def look(self, driver: Any, statement: str) -> None:
        """Note what the transaction of *driver* holds, and what *statement* has done."""
        seen, pid = self.seen, driver.info.backend_pid
        strongest: dict[str, str] = {}
        for oid, mode in driver.execute(LOCKS, [pid, list(self.names)]).fetchall():
            name = self.names[oid]
            seen.note(name, mode)
            strongest[name] = max(mode, strongest.get(name, MODES[0]), key=MODES.index)
        said = " ".join(statement.split())
        for oid, *counters in driver.execute(COUNTERS).fetchall():
            if oid not in self.names:
                continue
            name = self.names[oid]
            earlier = self.counted.get(oid, (0, 0))
            read, written = (now - then for now, then in zip(counters, earlier, strict=True))
            if read > MANY and DEFINES.match(statement):
                seen.read.add(name)
            if written > MANY:
                seen.written.add(name)
            mode = strongest.get(name, "")
            if mode in BLOCKS_WRITERS and max(read, written) > MANY:
                seen.scans.append(f"{name} under {mode}: {said}")
        for oid, _, file in driver.execute(RELATIONS).fetchall():
            if oid in self.names and file != self.files[oid]:
                seen.scans.append(f"{self.names[oid]} written anew: {said}")
                self.files[oid] = file

    def rehearse(self, driver: Any, statement: str, parameters: Any) -> None:
        """See what *statement* will do outside a transaction."""
        # One batch is like the other: the first of them is enough.
        if statement in self.rehearsed or SETTING.match(statement) or COMMITS.match(statement):
            return
        self.rehearsed.add(statement)
        if "CONCURRENTLY" in statement:
            self.hold(driver, statement)
            return
        # What is in the way of the rehearsal is no matter: a writer, who ends.
        for _ in range(1000):
            driver.execute("BEGIN")
            try:
                self.start(driver)
                driver.execute(statement, parameters or None)
                self.look(driver, statement)
                return
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                continue
            except psycopg.Error:
                return  # the statement itself is about to say so
            finally:
                driver.execute("ROLLBACK")

    def hold(self, driver: Any, statement: str) -> None:
        """Write to the table of *statement* until it waits for that; look at its locks; let go."""
        found = CONCURRENT.match(statement)
        assert found, f"no table is known of: {statement}"
        table = found["table"] or found["partition"]
        if found["index"]:
            query = (
                "SELECT indrelid::regclass::text FROM pg_index WHERE indexrelid = to_regclass(%s)"
            )
            row = driver.execute(query, [found["index"]]).fetchone()
            if row is None:
                return  # there is no such index: nothing to wait for
            (table,) = row
        elif found["table"]:
            self.seen.read.add(table)
        pid = driver.info.backend_pid
        holder = psycopg.connect(self.url)
        holder.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE".encode())
        self.over.clear()

        def waits() -> bool:
            query = "SELECT pg_backend_pid() = ANY (pg_blocking_pids(%s))"
            return holder.execute(query, [pid]).fetchone() == (True,)

        def watch() -> None:
            with holder:
                until(lambda: self.over.is_set() or waits(), f"it waits: {statement}")
                # What it waits for as well: DETACH asks for the partition last.
                for oid, mode in holder.execute(LOCKS, [pid, list(self.names)]).fetchall():
                    self.seen.note(self.names[oid], mode)

        self.holding = threading.Thread(target=watch)
        self.holding.start()

    def let_go(self) -> None:
        """End what holds a statement up: it is over."""
        if self.holding:
            self.over.set()
            self.holding.join(DEADLINE)
            self.holding = None


def while_open(url: str, statement: str, work: Callable[[], None]) -> None:
    """Run *work* while *statement* of somebody else is open, who commits once it is waited for."""
    patient = MigrationSettings(lock_timeout=LOCK_TIMEOUT, statement_timeout="0")
    given = patch.object(MigrationSettings, "from_x_arguments", lambda _: patient)
    query = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid)))"
    with (
        given,
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(url, autocommit=True) as eye,
        psycopg.connect(url) as somebody,
    ):
        somebody.execute(statement.encode())
        pid = somebody.info.backend_pid
        worker = pool.submit(work)
        until(lambda: worker.done() or eye.execute(query, [pid]).fetchone() == (True,), "it waits")
        assert not worker.done(), f"it did not wait: {worker.exception()}"
        somebody.commit()
        worker.result(DEADLINE)


@dataclass
class Writer:
    """Somebody at work: how much got done, and what was refused."""

    done: int = 0
    refused: list[str] = field(default_factory=list)


@contextmanager
def writing(
    url: str, code: tuple[str, ...], *, rows: int = 100_000, at_most: str = "20s"
) -> Iterator[Writer]:
    """Run *code* again and again as long as the block runs, waiting so long for a lock.

    Its ``%(id)s`` goes from 1 to *rows*.  Whatever PostgreSQL says against it is noted.
    """
    writer, over = Writer(), threading.Event()
    options = f"-c lock_timeout={at_most}"

    def work() -> None:
        with psycopg.connect(url, autocommit=True, options=options) as connection:
            while not over.wait(0.005):
                parameters: Mapping[str, int] = {"id": writer.done % rows + 1}
                try:
                    # By turns one statement a transaction, and all of them in one.
                    with connection.transaction() if writer.done % 2 else nullcontext():
                        for statement in code:
                            connection.execute(statement.encode(), parameters)
                except psycopg.Error as error:
                    writer.refused.append(f"{error.sqlstate} {error}")
                writer.done += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield writer
    finally:
        over.set()
        thread.join()
