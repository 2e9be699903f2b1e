"""What a statement's text says of itself: where PostgreSQL cannot be asked, or says it by numbers.

It is no parser.  What it does not know it leaves alone: better a finding missed than a false one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

from .core import Statement

NAME = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
QUALIFIED = rf"{NAME}(?:\s*\.\s*{NAME}){{0,2}}"
_IF = r"(?:IF\s+(?:NOT\s+)?EXISTS\s+)?"
# What is read as one: a comment, a literal, a body between dollars, a quoted name.
_TOKEN = re.compile(
    r"""
    (?P<comment>--[^\n]* | /\*.*?\*/)
    | (?P<escaped>\bE'(?:[^'\\]|\\.|'')*')
    | (?P<literal>'(?:[^']|'')*')
    | (?P<dollar>\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
    | (?P<name>"(?:[^"]|"")+")
    """,
    re.DOTALL | re.VERBOSE | re.IGNORECASE,
)
_TARGETS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"ALTER\s+TABLE\s+{_IF}(?:ONLY\s+)?(?P<names>{QUALIFIED})",
        rf"CREATE\s+(?:UNIQUE\s+)?INDEX\s+.*?\bON\s+(?:ONLY\s+)?(?P<names>{QUALIFIED})",
        rf"CREATE\s+(?:OR\s+REPLACE\s+)?(?:CONSTRAINT\s+)?TRIGGER\s+.*?\bON\s+(?P<names>{QUALIFIED})",
        rf"DROP\s+TABLE\s+{_IF}(?P<names>{QUALIFIED}(?:\s*,\s*{QUALIFIED})*)",
        rf"TRUNCATE\s+(?:TABLE\s+)?(?:ONLY\s+)?(?P<names>{QUALIFIED}(?:\s*,\s*{QUALIFIED})*)",
        rf"LOCK\s+(?:TABLE\s+)?(?:ONLY\s+)?(?P<names>{QUALIFIED}(?:\s*,\s*{QUALIFIED})*)",
        rf"UPDATE\s+(?:ONLY\s+)?(?P<names>{QUALIFIED})",
        rf"DELETE\s+FROM\s+(?:ONLY\s+)?(?P<names>{QUALIFIED})",
    )
)
_MADE = re.compile(
    r"CREATE\s+(?:(?:GLOBAL|LOCAL|TEMP|TEMPORARY|UNLOGGED)\s+)*TABLE\s+"
    rf"{_IF}(?P<name>{QUALIFIED})",
    re.IGNORECASE,
)

Table = tuple[str, ...]
"""A table as a statement names it: ``("tickets",)`` or ``("desk", "tickets")``."""


@lru_cache(maxsize=1024)
def bare(sql: str) -> str:
    """*sql* without comments, with ``''`` for a literal, ``$$`` for a body, and single spaces."""

    def shortened(match: re.Match[str]) -> str:
        kind = match.lastgroup if match.lastgroup != "tag" else "dollar"
        if match["name"]:
            return match["name"]
        return " " if kind == "comment" else "$$" if match["dollar"] else "''"

    return " ".join(_TOKEN.sub(shortened, sql).split()).rstrip("; ")


def pieces(sql: str) -> list[str]:
    """The statements of a script, as they stand there."""
    found, start = [], 0
    for match in re.finditer(f"(?:{_TOKEN.pattern})|;", sql, _TOKEN.flags):
        if match[0] == ";":
            found.append(sql[start : match.start()])
            start = match.end()
    return [piece for piece in (*found, sql[start:]) if bare(piece)]


def apart(statements: Iterable[Statement]) -> list[Statement]:
    """*statements* with each piece of a script as one of its own, for rules that read text."""
    return [replace(each, sql=piece) for each in statements for piece in pieces(each.sql)]


def says(sql: str, pattern: str) -> bool:
    """Whether *pattern* is found in *sql*, comments and literals left aside."""
    return re.search(pattern, bare(sql), re.IGNORECASE) is not None


def begins(sql: str, pattern: str) -> bool:
    """Whether *sql* begins with *pattern*."""
    return re.match(pattern, bare(sql), re.IGNORECASE) is not None


def targets(sql: str) -> list[Table]:
    """The tables that *sql* alters, indexes, drops, locks or writes, as it names them.

    Not those that it only points at: a foreign key locks the other table as well.
    """
    for pattern in _TARGETS:
        match = pattern.match(bare(sql))
        if match:
            return [parts(name) for name in re.findall(QUALIFIED, match["names"])]
    return []


def made(statements: Iterable[Statement]) -> list[Table]:
    """The tables that *statements* create."""
    found = (_MADE.match(bare(statement.sql)) for statement in apart(statements))
    return [parts(match["name"]) for match in found if match]


def parts(name: str) -> Table:
    """``Desk."Odd.Name"`` as ``("desk", "Odd.Name")``: unquoted names are lower case."""
    return tuple(
        part[1:-1].replace('""', '"') if part.startswith('"') else part.lower()
        for part in re.findall(NAME, name)
    )


def same(named: Table, relation: str) -> bool:
    """Whether *named* may be *relation*, which PostgreSQL gave as ``schema.name``."""
    full = ".".join(named)
    return relation == full if len(named) > 1 else relation.endswith(f".{full}")


def is_one_of(named: Table, others: Iterable[Table]) -> bool:
    """Whether *named* is among *others*; where one has no schema, the names alone decide."""
    return any(
        named == other or (named[-1] == other[-1] and 1 in {len(named), len(other)})
        for other in others
    )


def actions(sql: str) -> Iterator[str]:
    """The actions of an ALTER TABLE: ``ADD COLUMN a int``, ``DROP COLUMN b``."""
    match = re.match(rf"ALTER\s+TABLE\s+{_IF}(?:ONLY\s+)?{QUALIFIED}\s+", bare(sql), re.IGNORECASE)
    depth, action = 0, ""
    for character in bare(sql)[match.end() :] if match else "":
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            yield action.strip()
            action = ""
        else:
            action += character
    if action.strip():
        yield action.strip()


def spoken(mode: str) -> str:
    """``AccessExclusiveLock`` as the documentation writes it: ``ACCESS EXCLUSIVE``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", mode.removesuffix("Lock")).upper()


def excerpt(sql: str, width: int = 100) -> str:
    """*sql* on one line, cut."""
    line = " ".join(sql.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"
