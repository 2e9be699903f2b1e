"""The rules over observed statements: what each one is about, and the words that they share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .core import ALEMBIC, BLOCKS_WRITERS, POSTGRES, SEVERITIES, Finding, Lock, Statement
from .sql import actions, begins, excerpt, says

# Rows that a statement may write before it is a backfill.  A table of the copy has more.
MANY = 100
# Of such a table, the part that may be written.  The copy fills every fourth value with NULL, an
# enumeration's in turn; a statement by key writes a few.
SHARE = 0.1
# PostgreSQL's deadlock_timeout as it is delivered, in milliseconds.
DEADLOCK_TIMEOUT = 1000
LOCKING = f"{POSTGRES}/explicit-locking.html#LOCKING-TABLES"
ALTER_TABLE = f"{POSTGRES}/sql-altertable.html#SQL-ALTERTABLE-NOTES"
AUTOCOMMIT = (
    f"{ALEMBIC}/api/runtime.html#alembic.runtime.migration.MigrationContext.autocommit_block"
)


@dataclass(frozen=True)
class Rule:
    """What a rule's findings have in common."""

    severity: str
    why: str
    url: str


RULES: Mapping[str, Rule] = {
    "blocking-scan": Rule(
        "error", "Whoever writes to the table waits until every row was looked at.", ALTER_TABLE
    ),
    "blocking-rewrite": Rule(
        "error",
        "Whoever reads or writes the table waits until it and its indexes are written anew.",
        ALTER_TABLE,
    ),
    "blocking-index": Rule(
        "error",
        "A plain CREATE INDEX takes SHARE: whoever writes waits until it is built.",
        f"{POSTGRES}/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY",
    ),
    "blocking-backfill": Rule(
        "error",
        "Every row stays locked until the transaction ends: whoever changes one of them waits. "
        "The old row versions stay as long.",
        f"{POSTGRES}/explicit-locking.html#LOCKING-ROWS",
    ),
    "heavy-statements-share-a-transaction": Rule(
        "error",
        "A lock is held until the transaction ends, so it lasts as long as all that follows.",
        LOCKING,
    ),
    "two-tables-share-a-transaction": Rule(
        "warning",
        "A writer that holds the second table and asks for the first is a deadlock. With a "
        "lock_timeout below deadlock_timeout (1s) the migration gives way; else it may be the "
        "writer.",
        f"{POSTGRES}/explicit-locking.html#LOCKING-DEADLOCKS",
    ),
    "no-lock-timeout": Rule(
        "error",
        "While it waits behind one long transaction, every later statement on that table waits "
        "behind it.",
        f"{POSTGRES}/runtime-config-client.html#GUC-LOCK-TIMEOUT",
    ),
    "timeouts-not-reset": Rule(
        "warning",
        "SET lasts as long as the session: the revisions after this one run with it too.",
        f"{POSTGRES}/sql-set.html",
    ),
    "set-local-without-effect": Rule(
        "warning",
        "SET LOCAL ends with its transaction, and in an autocommit block that is the statement "
        "itself: PostgreSQL warns, and changes nothing.",
        f"{POSTGRES}/sql-set.html",
    ),
    "statement-outside-a-transaction": Rule(
        "warning",
        "Its locks were gone before they could be looked at, and what it did cannot be rolled back "
        "with the rest: nothing is proved of it here.",
        AUTOCOMMIT,
    ),
    "add-value-in-transaction": Rule(
        "error",
        "PostgreSQL refuses a value that was added in the same transaction (unsafe use of new "
        "value).",
        f"{POSTGRES}/sql-altertype.html",
    ),
    "index-not-repeatable": Rule(
        "warning",
        "A concurrent build that was broken off leaves an INVALID index behind: the next attempt "
        "fails on its name, or IF NOT EXISTS keeps it as it is.",
        f"{POSTGRES}/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY",
    ),
}


# The only way back from a type that rewrites nothing: longer text, a value more.  It is told.
AS_IT_MUST = frozenset({"blocking-rewrite"})


def finding(rule: str, statement: Statement, message: str, fix: str) -> Finding:
    """A finding of *rule* at *statement*.

    A downgrade's is a warning at most: it runs on a bad day, and blocks for a reason.
    """
    severity = RULES[rule].severity
    if not statement.upgrade:
        most = "info" if rule in AS_IT_MUST else "warning"
        severity = min(severity, most, key=SEVERITIES.index)
    return Finding(
        rule=rule,
        severity=severity,
        message=message if statement.upgrade else f"downgrade: {message}",
        why=RULES[rule].why,
        fix=fix,
        path=statement.path,
        line=statement.line,
        revision=statement.revision,
        statement=excerpt(statement.sql, 300),
        url=RULES[rule].url,
    )


def strong(locks: Iterable[Lock]) -> dict[str, str]:
    """The strongest mode that blocks writers, by relation."""
    found: dict[str, str] = {}
    for lock in locks:
        if lock.blocks_writers:
            known = found.get(lock.relation, lock.mode)
            found[lock.relation] = max(known, lock.mode, key=BLOCKS_WRITERS.index)
    return found


def earlier(statement: Statement) -> list[Lock]:
    """The locks that *statement* found held when it began."""
    return [lock for lock in statement.held if lock not in statement.taken]


def is_write(sql: str) -> bool:
    """Whether *sql* changes or reads rows, and no schema."""
    return begins(sql, r"(SELECT|WITH|INSERT|UPDATE|DELETE|MERGE|COPY|VALUES|DO|CALL|ANALYZE)\b")


def takes_strong(sql: str) -> bool:
    """Whether *sql* by itself takes a lock that blocks writers.

    VALIDATE CONSTRAINT, CONCURRENTLY, CREATE STATISTICS, COMMENT and VACUUM do not.
    """
    if is_write(sql) or says(sql, r"\bCONCURRENTLY\b"):
        return False
    validating = [re.match(r"VALIDATE\s+CONSTRAINT", each, re.I) for each in actions(sql)]
    if validating:
        return not all(validating)
    return not begins(sql, r"(COMMENT|VACUUM(?!\s*\(?\s*FULL)|CREATE\s+STATISTICS|SET|RESET)\b")


def gives_way(lock_timeout: str) -> bool:
    """Whether a statement gives up before PostgreSQL looks for a deadlock."""
    return 0 < milliseconds(lock_timeout) < DEADLOCK_TIMEOUT


def milliseconds(setting: str) -> float:
    """A time as SHOW prints it or SET takes it: ``500ms``, ``2s``, ``1min``, ``0``; NaN else."""
    match = re.fullmatch(r"\s*'?\s*([\d.]+)\s*(us|ms|s|min|h|d|)\s*'?\s*", setting)
    if not match:
        return float("nan")
    units = {"us": 0.001, "ms": 1, "": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
    return float(match[1]) * units[match[2]]


def read(rows: int) -> str:
    """How many rows were read on the way, where any were."""
    return f", and {rows} rows are read" if rows else ""


def at(statement: Statement) -> str:
    """`` (line 7)``, where it is known."""
    return f" (line {statement.line})" if statement.line else ""


def since(statement: Statement, relation: str, statements: Sequence[Statement]) -> str:
    """The line that took the lock on *relation*."""
    for other in statements:
        same_block = other.transaction == statement.transaction
        if same_block and relation in strong(other.taken):
            return at(other)
    return ""


def unseen(statement: Statement) -> bool:
    """Whether its locks were gone before anybody could look: CONCURRENTLY, VACUUM, DO …

    Of a statement on a new table alone no lock is listed either.
    """
    return statement.transaction is None and not statement.held
