"""What the text of a revision's statements says: settings of the session, and work outside of
transactions.

Each rule takes the statements of one direction of one revision in their order, and yields findings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .advice import index_name, may_scan, quoted, recipe
from .core import Finding, Statement
from .rules import at, finding, milliseconds, unseen
from .sql import NAME, apart, bare, begins, excerpt, is_one_of, made, parts, targets


def settings_left(statements: Sequence[Statement]) -> Iterator[Finding]:
    """``timeouts-not-reset``: SET without RESET, of any setting of the session."""
    changed: dict[str, tuple[Statement, str]] = {}
    for statement in apart(statements):
        name, value = session_setting(statement.sql)
        if name == "all":
            changed.clear()
        elif name and value is None:
            changed.pop(name, None)
        elif name and value is not None:
            changed[name] = (statement, value)
    for name, (statement, value) in changed.items():
        first = statements[0]
        began = {
            "lock_timeout": first.lock_timeout,
            "statement_timeout": first.statement_timeout,
        }.get(name)
        if began is not None and milliseconds(began) == milliseconds(value):
            continue  # put back by hand
        yield finding(
            "timeouts-not-reset",
            statement,
            f"{name} is changed for the session, and not reset",
            f'op.execute("RESET {name}")  # at the end; or SET LOCAL, within a transaction',
        )


_SETTING = rf"(?:TIME\s+ZONE|SESSION\s+AUTHORIZATION|{NAME}(?:\.{NAME})?)"
_SET = re.compile(
    rf"SET\s+(?:SESSION\s+(?!AUTHORIZATION))?(?P<name>{_SETTING})\s*(?:=|\bTO\b|\s)\s*(?P<value>.+)",
    re.IGNORECASE | re.DOTALL,
)
_CONFIG = re.compile(
    r"SELECT\s+(?:pg_catalog\.)?set_config\(\s*'(?P<name>[\w.]+)'\s*,\s*'(?P<value>[^']*)'\s*,"
    r"\s*false\s*\)",
    re.IGNORECASE,
)


def session_setting(sql: str) -> tuple[str, str | None]:
    """The name and the value that *sql* sets for the session; None for RESET; "" where it does not.

    ``SET LOCAL``, ``SET TRANSACTION`` and ``SET CONSTRAINTS`` end with the transaction.
    """
    words = sql.strip().rstrip("; ")
    reset = re.fullmatch(rf"RESET\s+({_SETTING})", words, re.I)
    if reset:
        return plain(reset[1]), None
    if re.match(r"DISCARD\s+ALL$", words, re.I):
        return "all", None
    if re.match(r"SET\s+(LOCAL|TRANSACTION|CONSTRAINTS|SESSION\s+CHARACTERISTICS)\b", words, re.I):
        return "", None
    match = _SET.fullmatch(words) or _CONFIG.fullmatch(words)
    if not match:
        return "", None
    value = match["value"].strip().strip("'")
    name = plain(match["name"])
    back = value.lower() in ({"default", "none"} if name == "role" else {"default"})
    return name, None if back else value


def plain(setting: str) -> str:
    """The name of *setting*: ``TIME ZONE`` is ``timezone``."""
    words = setting.lower().split()
    return "timezone" if words == ["time", "zone"] else "_".join(words)


def local_settings(statements: Sequence[Statement]) -> Iterator[Finding]:
    """``set-local-without-effect``: SET LOCAL outside a transaction."""
    for statement in apart(statements):
        if statement.transaction is None and begins(statement.sql, r"SET\s+LOCAL\b"):
            yield finding(
                "set-local-without-effect",
                statement,
                f"{excerpt(statement.sql, 60)} has no effect here",
                'op.execute("SET … = \'…\'") before, op.execute("RESET …") at the end',
            )


def outside_a_transaction(statements: Sequence[Statement]) -> Iterator[Finding]:
    """``statement-outside-a-transaction``: heavy DDL whose locks nobody saw."""
    new = made(statements)
    for statement in statements:
        named = targets(statement.sql)
        if not unseen(statement) or not may_scan(statement.sql):
            continue
        if statement.rewritten or (named and is_one_of(named[0], new)):
            continue
        yield finding(
            "statement-outside-a-transaction",
            statement,
            f"{excerpt(statement.sql, 60)} ran in an autocommit block",
            "Only what PostgreSQL refuses in a transaction needs the block (CONCURRENTLY, "
            "VACUUM), and batches. Move it out:\n" + recipe(statement.sql),
        )


def added_values(statements: Sequence[Statement]) -> Iterator[Finding]:
    """``add-value-in-transaction``: a value is added to an enum and used in one transaction."""
    for index, statement in enumerate(statements):
        added = re.match(
            r"\s*ALTER\s+TYPE\s+.+?\s+ADD\s+VALUE\s+(?:IF\s+NOT\s+EXISTS\s+)?('(?:[^']|'')*')",
            statement.sql,
            re.IGNORECASE | re.DOTALL,
        )
        if not added or statement.transaction is None:
            continue
        for other in statements[index + 1 :]:
            adds = begins(other.sql, r"ALTER\s+TYPE\b")
            if other.transaction == statement.transaction and added[1] in other.sql and not adds:
                yield finding(
                    "add-value-in-transaction",
                    other,
                    f"{added[1]} is used in the transaction that adds it{at(statement)}",
                    f'with op.get_context().autocommit_block():\n    op.execute("{statement.sql}")',
                )
                break


def broken_builds(statements: Sequence[Statement]) -> Iterator[Finding]:
    """``index-not-repeatable``: CREATE INDEX CONCURRENTLY without dropping a broken one first."""
    new = made(statements)
    dropped: set[str] = set()
    for statement in apart(statements):
        drop = re.match(
            rf"DROP\s+INDEX\s+(?:CONCURRENTLY\s+)?IF\s+EXISTS\s+((?:{NAME}\s*\.\s*)?{NAME})",
            bare(statement.sql),
            re.IGNORECASE,
        )
        if drop:
            dropped.add(parts(drop[1])[-1])
        name, named = index_name(statement.sql), targets(statement.sql)
        concurrent = begins(statement.sql, r"CREATE\s+(UNIQUE\s+)?INDEX\s+CONCURRENTLY\b")
        if concurrent and name and name not in dropped and not is_one_of(named[0], new):
            yield finding(
                "index-not-repeatable",
                statement,
                f"{name} is built without dropping what a broken build left",
                f'op.execute("DROP INDEX CONCURRENTLY IF EXISTS '
                f'{quoted(*named[0][:-1], name)}")  # right before',
            )
