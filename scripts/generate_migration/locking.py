"""What a revision's statements did to those who write, as PostgreSQL told it.

Each rule takes the statements of one direction of one revision in their order, and yields findings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from .advice import BATCHES, LOCK_TIMEOUT, SPLIT, index_name, quoted, recipe
from .core import Finding, Statement
from .rules import (
    MANY,
    SHARE,
    at,
    earlier,
    finding,
    gives_way,
    milliseconds,
    read,
    since,
    strong,
    takes_strong,
    unseen,
)
from .sql import Table, begins, is_one_of, made, same, says, spoken, targets

NOT_COUNTED: Mapping[str, int] = MappingProxyType({})


def is_plain_index(sql: str) -> bool:
    """Whether *sql* builds an index while writers wait; ON ONLY a parent reads no row."""
    return begins(sql, r"CREATE\s+(UNIQUE\s+)?INDEX\b(?!\s+CONCURRENTLY)") and not says(
        sql, r"\bON\s+ONLY\b"
    )


def indexes(statements: Sequence[Statement]) -> Iterator[Finding]:
    """``blocking-index``: built without CONCURRENTLY on a table that was there before."""
    new = made(statements)
    for statement in statements:
        named = targets(statement.sql)
        if not is_plain_index(statement.sql) or not named or is_one_of(named[0], new):
            continue
        taken = strong(statement.taken)
        if not taken and not unseen(statement):
            continue  # a temporary table: nobody waits
        table = next((each for each in taken if same(named[0], each)), ".".join(named[0]))
        rows = sum(statement.scanned.get(each, 0) for each in taken)  # and of its partitions
        yield finding(
            "blocking-index",
            statement,
            f"{index_name(statement.sql) or 'an index'} is built on {table} under "
            f"{spoken(taken.get(table, 'ShareLock'))}{read(rows)}",
            recipe(statement.sql),
        )


def rewrites(statements: Sequence[Statement]) -> Iterator[Finding]:
    """``blocking-rewrite``: a table that was there before got a new file."""
    for statement in statements:
        # These two put a new file there on purpose, and say so.
        if begins(statement.sql, r"(TRUNCATE|REFRESH)\b"):
            continue
        for table in statement.rewritten:
            mode = strong(statement.held).get(table, "AccessExclusiveLock")
            yield finding(
                "blocking-rewrite",
                statement,
                f"{table} is written anew under {spoken(mode)}"
                f"{read(statement.scanned.get(table, 0))}",
                recipe(statement.sql),
            )


def backfills(
    statements: Sequence[Statement], rows: Mapping[str, int] = NOT_COUNTED
) -> Iterator[Finding]:
    """``blocking-backfill``: UPDATE or DELETE of many rows in one transaction.

    *rows* are those of each table before the revision, where they were counted.
    """
    new = made(statements)
    for statement in statements:
        if not is_backfill(statement, statements, new, rows):
            continue
        named = targets(statement.sql)
        table = ".".join(named[0]) if named else next(iter(statement.written), "a table")
        written = max(statement.written.values(), default=0)
        counted = f"{written} rows of {table}" if written else f"all rows of {table}"
        held = [f"{spoken(mode)} on {other}" for other, mode in strong(earlier(statement)).items()]
        under = f", while {' and '.join(held)} {'are' if len(held) > 1 else 'is'} held"
        yield finding(
            "blocking-backfill",
            statement,
            f"{counted} are written in one transaction{under if held else ''}",
            BATCHES.format(table=quoted(*named[0]) if named else table),
        )


def is_backfill(
    statement: Statement,
    statements: Sequence[Statement],
    new: Iterable[Table],
    rows: Mapping[str, int] = NOT_COUNTED,
) -> bool:
    """Whether *statement* changes many rows at once.  A batch by key, committed, does not."""
    sql = statement.sql
    if begins(sql, r"DO\b"):
        committed = re.search(r"\bCOMMIT\b", sql, re.IGNORECASE)
        return writes_many(statement, rows) and not committed
    if not begins(sql, r"(UPDATE|DELETE|MERGE|WITH\b.*\b(UPDATE|DELETE))\b"):
        return False
    # Not seen: without WHERE it is all of them.
    if statement.transaction is None and not statement.written:
        named = targets(sql)
        return bool(named) and not is_one_of(named[0], new) and not says(sql, r"\bWHERE\b")
    if not writes_many(statement, rows):
        return False
    alone = statement.transaction is None or not any(
        other is not statement
        and other.transaction == statement.transaction
        and (targets(other.sql) == targets(sql) or strong(other.taken))
        for other in statements
    )
    return not (alone and is_batch(sql))


def writes_many(statement: Statement, rows: Mapping[str, int]) -> bool:
    """Whether it writes many rows, or much of a table: in yours that much is many.

    A table has as many rows as were counted, or as the statement itself read.
    """
    for table, written in statement.written.items():
        there = max(rows.get(table, 0), statement.scanned.get(table, 0))
        if written >= MANY or (there >= MANY and written >= SHARE * there):
            return True
    return False


def is_batch(sql: str) -> bool:
    """Whether *sql* names a part of the rows: LIMIT, BETWEEN, or both ends of a range."""
    return says(sql, r"\bLIMIT\b|\bFETCH\s+(FIRST|NEXT)\b|\bBETWEEN\b|<=?[^>].*>=?|>=?.*<=?")


def scans(statements: Sequence[Statement]) -> Iterator[Finding]:
    """``blocking-scan``: a statement reads a table under a lock of its own that blocks writers."""
    for statement in statements:
        if is_plain_index(statement.sql) or statement.rewritten:
            continue  # another rule says it of both
        # What a DO block does is not read, but a lock that it took itself was for its own work.
        own = takes_strong(statement.sql)
        held = strong(statement.held if own else statement.taken)
        read_ = [
            f"{rows} rows of {table} are read under {spoken(held[table])}"
            for table, rows in statement.scanned.items()
            if rows and table in held
        ]
        if read_:
            yield finding("blocking-scan", statement, ", ".join(read_), recipe(statement.sql))


def shared_transactions(
    statements: Sequence[Statement], rows: Mapping[str, int] = NOT_COUNTED
) -> Iterator[Finding]:
    """``heavy-statements-share-a-transaction``: much work under the lock of an earlier statement.

    Of the table that is locked, any row counts; of others, many.
    """
    new = made(statements)
    for statement in statements:
        held = strong(earlier(statement))
        if not held or is_backfill(statement, statements, new, rows) or statement.rewritten:
            continue
        own = strong(statement.taken) if takes_strong(statement.sql) else {}
        for table, seen in statement.scanned.items():
            if takes_strong(statement.sql) and table in strong(statement.held):
                continue  # it would block alone as well, and blocking-scan says so
            if not seen or (table not in held and seen < MANY) or table in own:
                continue
            locked = table if table in held else next(iter(held))
            yield finding(
                "heavy-statements-share-a-transaction",
                statement,
                f"{seen} rows of {table} are read while {spoken(held[locked])} on {locked}"
                f"{since(statement, locked, statements)} is held",
                SPLIT,
            )
            break


def two_tables(statements: Sequence[Statement]) -> Iterator[Finding]:
    """``two-tables-share-a-transaction``: a second table is locked while a first one is.

    Only tables that a statement is about: that a foreign key locks the other table as well cannot
    be helped.
    """
    held: dict[int, dict[str, Statement]] = {}  # by transaction: table, and who locked it
    told: set[int] = set()
    for statement in statements:
        number, mine = statement.transaction, own_tables(statement)
        if number is None or not mine:
            continue
        before = {
            table: other for table, other in held.get(number, {}).items() if table not in mine
        }
        held.setdefault(number, {}).update(dict.fromkeys(mine, statement))
        if before and number not in told and not gives_way(statement.lock_timeout):
            told.add(number)
            (second, mode), (first, other) = next(iter(mine.items())), next(iter(before.items()))
            yield finding(
                "two-tables-share-a-transaction",
                statement,
                f"{spoken(mode)} on {second} is asked for with lock_timeout = "
                f"{statement.lock_timeout}, while {spoken(own_tables(other)[first])} on "
                f"{first}{at(other)} is held",
                f"{SPLIT}\nOr set a lock_timeout below 1s, and run the revision again.",
            )


def own_tables(statement: Statement) -> dict[str, str]:
    """The tables that *statement* is about and locked against writers, with the mode."""
    named = targets(statement.sql)
    return {
        table: mode
        for table, mode in strong(statement.taken).items()
        if any(same(name, table) for name in named)
    }


def lock_timeouts(statements: Sequence[Statement]) -> Iterator[Finding]:
    """``no-lock-timeout``: once a revision, at the first statement that could wait for ever."""
    new = made(statements)
    waiting = [
        (statement, relations)
        for statement in statements
        if milliseconds(statement.lock_timeout) == 0
        if (relations := asked_for(statement, new))
    ]
    if waiting:
        statement, relations = waiting[0]
        more = f"; so do {len(waiting) - 1} more statements" if len(waiting) > 1 else ""
        yield finding(
            "no-lock-timeout",
            statement,
            f"{relations} waits for its lock without limit (lock_timeout = 0){more}",
            LOCK_TIMEOUT,
        )


def asked_for(statement: Statement, new: Sequence[Table]) -> str:
    """The strong lock that *statement* asks for on a table that was there, or ""."""
    taken = strong(statement.taken)
    if taken:
        table = next(iter(taken))
        return f"{spoken(taken[table])} on {table}"
    named = targets(statement.sql)
    waits = unseen(statement) and takes_strong(statement.sql)
    if waits and named and not is_one_of(named[0], new):
        return f"the lock on {'.'.join(named[0])}"
    return ""
