"""Whether an upgrade that failed half-way can be run again.

An autocommit block commits what stands before it, and each of its own statements.  Where a later
one fails, for want of a lock say, the revision is not recorded: the next attempt begins at its
first line.  So the upgrade is broken off after its first commit, run again as far as its
second, and so on to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from sqlalchemy import URL

from .core import Alembic, BrokenOff, Databases, Refused, Statement
from .places import place_of
from .refusal import reason
from .schema import differences, readable, schema_of
from .scratch import with_connection

MOST = 8  # attempts that are broken off


def has_commits(statements: Sequence[Statement]) -> bool:
    """Whether something is committed before the last of *statements*."""
    return any(
        one.transaction is None or one.transaction != other.transaction
        for one, other in pairwise(statements)
    )


def resumed(
    alembic: Alembic, databases: Databases, before: URL, revision: str, *, version_table: str
) -> tuple[list[str], list[str]]:
    """What a further attempt fails at, or makes otherwise; and what was not tried.

    On copies of *before*, without rows.  Raises ``Refused`` alone.
    """

    def schema(url: URL) -> list[str]:
        return with_connection(url, lambda each: schema_of(each, version_table=version_table))

    with databases.clone(before) as url:
        if said := attempt(alembic, url, revision):
            return [], [f"not tried: without rows {said}"]
        whole = schema(url)
    lines, failed = list[int](), None
    with databases.clone(before) as url:
        while failed is None:
            try:
                number = len(lines) + 1
                failed = attempt(alembic, url, revision, number if number <= MOST else 0)
            except BrokenOff as broken:
                lines.append(broken.line)
        found = [failed] if failed else readable(differences(whole, schema(url)))
    where = spoken(lines[-1:] if failed else lines)
    told = f"when it was broken off before line {where} and run again"
    return [f"{each}, {told}" for each in found], []


def attempt(alembic: Alembic, url: URL, revision: str, break_at: int = 0) -> str:
    """Upgrade the database at *url*: what it failed at, and where; or nothing."""
    try:
        alembic.upgrade(url, revision, break_at=break_at)
    except (Refused, BrokenOff):
        raise
    except (Exception, SystemExit) as error:  # whatever the revision raises
        return reason(error) + place_of(error)
    return ""


def spoken(lines: Sequence[int]) -> str:
    """``3, 4 and 5``; a loop comes to one line again and again."""
    names = [str(line) for line in dict.fromkeys(lines)]
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
