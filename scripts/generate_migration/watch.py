"""What the statements of a revision do: seen from within, on the connection that runs them.

Before and after each statement one query asks PostgreSQL for the locks, the counters and the files
of this session.  It changes nothing, and takes no lock but on the catalogue.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import op
from sqlalchemy import Connection, Engine, event

from .as_sent import as_sent
from .core import BrokenOff, Lock, Statement

# Each name with its schema: a revision may have changed search_path.  The counters are those of
# this transaction (PostgreSQL, "pg_stat_xact_all_tables"); the transaction has one virtual id.
PROBE = """
SELECT pg_catalog.json_build_object(
    'transaction', (
        SELECT l.virtualxid FROM pg_catalog.pg_locks AS l
        WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'virtualxid'
    ),
    'lock_timeout', pg_catalog.current_setting('lock_timeout'),
    'statement_timeout', pg_catalog.current_setting('statement_timeout'),
    'locks', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_array(l.relation::pg_catalog.int8, l.mode)
            ORDER BY l.relation, l.mode)
        FROM pg_catalog.pg_locks AS l
        WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted
    ),
    'relations', (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
            c.oid::pg_catalog.int8,
            pg_catalog.concat(n.nspname, '.', c.relname),
            c.relkind,
            c.relfilenode::pg_catalog.int8,
            pg_catalog.pg_stat_get_xact_numscans(c.oid),
            pg_catalog.pg_stat_get_xact_tuples_returned(c.oid),
            pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid)
                + pg_catalog.pg_stat_get_xact_tuples_updated(c.oid)
                + pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid)
        ))
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    )
)::pg_catalog.text
"""
TABLES = {"r", "m", "p", "f"}
# Nothing may run before the first of these, and the others end or begin what we look at.
NOT_ASKED = re.compile(
    r"\s*(SET\s+(LOCAL\s+|SESSION\s+)?TRANSACTION|SET\s+SESSION\s+CHARACTERISTICS"
    r"|BEGIN|START|COMMIT|END|ROLLBACK|ABORT|PREPARE)\b",
    re.IGNORECASE,
)
# Outside of a transaction a lock is gone before anybody can look.  What may run inside of one gets
# one of its own, for as long as it takes: to other sessions that is no difference.
MAY_BE_WRAPPED = re.compile(
    r"\s*(ALTER\s+(TABLE|INDEX|VIEW|MATERIALIZED|SEQUENCE)"
    r"|CREATE\s+(UNIQUE\s+)?INDEX|CREATE\s+(TABLE|TRIGGER|OR\s+REPLACE|VIEW|MATERIALIZED)"
    r"|DROP\s+(TABLE|INDEX|VIEW|MATERIALIZED|TRIGGER|SEQUENCE|TYPE)"
    r"|INSERT|UPDATE|DELETE|MERGE|TRUNCATE|REFRESH)\b",
    re.IGNORECASE,
)
OF_SCHEMA = re.compile(r"\s*(ALTER|CREATE|REINDEX|CLUSTER|REFRESH)\b", re.IGNORECASE)
# It changes nothing that stays, and hardly fails.
OF_SESSION = re.compile(r"\s*(SET|RESET|SHOW|DISCARD)\b", re.IGNORECASE)
MAY_NOT = re.compile(r"\bCONCURRENTLY\b|;\s*\S|\bPROCEDURE\b", re.IGNORECASE)


@dataclass(frozen=True)
class Relation:
    """A table, an index, a sequence or a view; the numbers are those of the transaction."""

    name: str
    kind: str
    file: int
    scans: int
    scanned: int
    written: int


@dataclass(frozen=True)
class Seen:
    """The session at one moment."""

    transaction: str
    lock_timeout: str
    statement_timeout: str
    locks: frozenset[tuple[int, str]]
    relations: Mapping[int, Relation]


@dataclass(frozen=True)
class Running:
    """A statement that has begun."""

    revision: str
    path: Path
    line: int
    before: Seen | None
    alone: bool = False  # in no transaction
    wrapped: bool = False  # in one that we began for it


class Watch:
    """Collects the statements of revisions, in order.

    *scripts* names the revision of each file, as its code objects name the file; *upgrade* says
    which way it goes.  What env.py and Alembic itself run is left out.  With *break_at* it raises
    ``BrokenOff`` after that many commits within the revisions.
    """

    def __init__(self, scripts: Mapping[str, str], *, upgrade: bool, break_at: int = 0) -> None:
        self.statements: list[Statement] = []
        self.version_table: tuple[str, str | None] | None = None  # and its schema, once known
        self.one_transaction = False  # for all revisions of a run
        self.broken_off: BrokenOff | None = None
        self._scripts = scripts
        self._upgrade = upgrade
        self._commits_left = break_at
        self._after_commit: set[int] = set()  # the lines before which there was one
        self._last: tuple[str, int] | None = None  # the transaction and line of the last statement
        self._running: Running | None = None
        self._known: dict[str, frozenset[int]] = {}
        self._transactions: dict[str, list[str]] = {}

    @contextmanager
    def on(self) -> Iterator[None]:
        """Within: look at every statement of every engine."""
        with ExitStack() as stack:
            for name in ("before_cursor_execute", "after_cursor_execute", "handle_error"):
                function = getattr(self, f"_{name}")
                event.listen(Engine, name, function)
                stack.callback(event.remove, Engine, name, function)
            yield

    def _before_cursor_execute(
        self, connection: Connection, _cursor: Any, statement: str, *_: Any
    ) -> None:
        self._running = None
        if self.broken_off is not None:  # a revision that hides it comes no further
            raise self.broken_off
        place = self._place()
        if connection.dialect.name != "postgresql":
            return
        if place is None:
            if self._commits_left and self.one_transaction and self._is_record(statement):
                self._break_off(look(connection).transaction, None)
            return
        revision, path, line = place
        # A revision runs, so Alembic has a context.
        context = op.get_context()
        self.version_table = (context.version_table, context.version_table_schema)
        self.one_transaction = not context.opts.get("transaction_per_migration")
        if NOT_ASKED.match(statement):
            self._running = Running(revision, path, line, None)
            return
        alone = bool(getattr(connection.connection.dbapi_connection, "autocommit", False))
        wrapped = alone and MAY_BE_WRAPPED.match(statement) and not MAY_NOT.search(statement)
        if wrapped:
            tell(connection, "BEGIN")
        before = look(connection)
        if self._commits_left and not OF_SESSION.match(statement):
            self._break_off(before.transaction, line, connection if wrapped else None)
            self._last = before.transaction, line
        self._known.setdefault(revision, frozenset(before.relations))
        self._running = Running(revision, path, line, before, alone, bool(wrapped))

    def _break_off(
        self, transaction: str, line: int | None, wrapped: Connection | None = None
    ) -> None:
        """Raise, if what came before *line*, or the end, was committed, and often enough."""
        if self._last is None or self._last[0] == transaction or line in self._after_commit:
            return
        if line is not None:
            self._after_commit.add(line)
        self._commits_left -= 1
        if not self._commits_left:
            if wrapped is not None:
                tell(wrapped, "ROLLBACK")
            end = f"after line {self._last[1]}, since a later revision failed"
            self.broken_off = BrokenOff(end if line is None else f"before line {line}")
            raise self.broken_off

    def _is_record(self, statement: str) -> bool:
        """Whether Alembic records the revision: with all revisions in one transaction, that goes
        back when a later one fails, and what an autocommit block has done does not.
        """
        table = self.version_table[0] if self.version_table else ""
        words = rf"\s*(INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s[^(=]*{re.escape(table)}\b"
        return bool(table) and re.match(words, statement, re.IGNORECASE) is not None

    def _after_cursor_execute(
        self,
        connection: Connection,
        _cursor: Any,
        statement: str,
        parameters: Any,
        context: Any,
        executemany: bool,
    ) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        options = context.execution_options if context is not None else {}
        style = "" if options.get("no_parameters") else connection.dialect.paramstyle
        sql = as_sent(statement, parameters, style, many=executemany)
        after = look(connection) if running.before is not None else None
        if running.wrapped:
            tell(connection, "COMMIT")
        self.statements.append(self._statement(running, sql, after))

    def _handle_error(self, context: Any) -> None:
        running, self._running = self._running, None
        if running is None or context.statement is None:
            return
        if running.wrapped and context.connection is not None:
            tell(context.connection, "ROLLBACK")
        if running.before is not None and not running.alone:
            # What was refused is told too: it is what there is to mend.
            parameters = context.parameters
            many = isinstance(parameters, list)
            sql = as_sent(context.statement, parameters, context.dialect.paramstyle, many=many)
            self.statements.append(self._statement(running, sql, running.before))

    def _place(self) -> tuple[str, Path, int] | None:
        """The revision whose code is running: the line of its file that is nearest to us."""
        frame = sys._getframe(2)
        while frame is not None:
            revision = self._scripts.get(frame.f_code.co_filename)
            if revision is not None:
                return revision, Path(frame.f_code.co_filename), frame.f_lineno
            if frame.f_back is None:
                return None
            frame = frame.f_back
        return None

    def _statement(self, running: Running, sql: str, after: Seen | None) -> Statement:
        """What the two looks say of the statement between them."""
        where: dict[str, Any] = {"path": running.path, "line": running.line}
        before = running.before
        if before is None or after is None:
            return Statement(running.revision, self._upgrade, sql, **where)
        known = self._known[running.revision]
        relations = {
            # A table that was dropped has its name from before.
            oid: after.relations.get(oid) or relation
            for oid, relation in {**after.relations, **before.relations}.items()
            if oid in known and not self._is_versions(relation.name)
        }
        pairs = [
            (relation, before.relations[oid], after.relations[oid])
            for oid, relation in relations.items()
            if oid in before.relations and oid in after.relations and relation.kind in TABLES
        ]
        inside = before.transaction == after.transaction
        return Statement(
            running.revision,
            self._upgrade,
            sql,
            **where,
            transaction=self._number(running, after) if inside and not running.wrapped else None,
            lock_timeout=before.lock_timeout,
            statement_timeout=before.statement_timeout,
            held=locks(after.locks, relations) if inside else (),
            taken=locks(after.locks - before.locks, relations) if inside else (),
            scanned=counted((r.name, rows_read(sql, b, a)) for r, b, a in pairs if inside),
            written=counted((r.name, a.written - b.written) for r, b, a in pairs if inside),
            rewritten=tuple(sorted(r.name for r, b, a in pairs if b.file != a.file)),
        )

    def _is_versions(self, name: str) -> bool:
        """Whether *name* is Alembic's own table, which Alembic locks in the same transaction."""
        table = self.version_table[0] if self.version_table else "alembic_version"
        return name.rpartition(".")[2] in {table, f"{table}_pkc"}

    def _number(self, running: Running, after: Seen) -> int:
        """Which transaction of the revision this is, from 1."""
        numbers = self._transactions.setdefault(running.revision, [])
        if after.transaction not in numbers:
            numbers.append(after.transaction)
        return numbers.index(after.transaction) + 1


def locks(found: frozenset[tuple[int, str]], relations: Mapping[int, Relation]) -> tuple[Lock, ...]:
    """Those on *relations*, by name."""
    named = (Lock(relations[oid].name, mode) for oid, mode in found if oid in relations)
    return tuple(sorted(named, key=lambda lock: (lock.relation, lock.mode)))


def rows_read(sql: str, before: Relation, after: Relation) -> int:
    """The rows of a table that sequential scans read.

    What changes a schema reads all of it once for itself and once for each index: that is the table
    once.
    """
    rows, scans = after.scanned - before.scanned, after.scans - before.scans
    return -(-rows // scans) if scans > 1 and OF_SCHEMA.match(sql) else rows


def counted(pairs: Iterator[tuple[str, int]]) -> dict[str, int]:
    """The numbers that are not nothing."""
    return {name: number for name, number in sorted(pairs) if number > 0}


def look(connection: Connection) -> Seen:
    """The session of *connection* now, asked below SQLAlchemy's events."""
    (told,) = ask(connection, PROBE)
    found = json.loads(told)
    return Seen(
        found["transaction"],
        found["lock_timeout"],
        found["statement_timeout"],
        frozenset((oid, mode) for oid, mode in found["locks"] or ()),
        {oid: Relation(*rest) for oid, *rest in found["relations"] or ()},
    )


def ask(connection: Connection, sql: str) -> Sequence[Any]:
    """The one row of *sql*."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(sql)
        return tuple(cursor.fetchone() or ())
    finally:
        cursor.close()


def tell(connection: Connection, sql: str) -> None:
    """Run *sql*, which returns no row."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(sql)
    finally:
        cursor.close()
