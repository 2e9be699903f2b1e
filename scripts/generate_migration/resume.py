"""Whether an upgrade that failed half-way can be run again.

An autocommit block commits what stands before it, and each of its own statements.  Where a later
one fails, for want of a lock say, the revision is not recorded: the next attempt begins at its
first line.  So the upgrade is broken off after each of its commits, and run again to its end.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import URL

from .contents import contents_of
from .core import Alembic, BrokenOff, Databases, Refused, Statement
from .places import place_of
from .refusal import reason
from .schema import differences, readable, schema_of
from .scratch import with_connection

MOST = 8  # commits after which it is tried: two copies of the database each


def has_commits(statements: Sequence[Statement]) -> bool:
    """Whether any of *statements* may be committed while the revision is not recorded."""
    transactions = {each.transaction for each in statements}
    return None in transactions or len(transactions) > 1


def resumed(
    alembic: Alembic, databases: Databases, before: URL, revision: str, *, version_table: str
) -> tuple[list[str], list[str]] | None:
    """What the second attempt fails at, or makes otherwise; and what was not tried.

    On copies of *before*, without rows.  None where nothing is committed on the way.
    Raises ``Refused`` alone.
    """

    def schema(url: URL) -> list[str]:
        return with_connection(url, lambda each: schema_of(each, version_table=version_table))

    def rows(url: URL) -> dict[str, int]:
        held = with_connection(url, lambda each: contents_of(each, version_table=version_table))
        return {name: table.rows for name, table in held.items()}

    with databases.clone(before) as url:
        if failed := attempt(alembic, url, revision):
            return [], [f"not tried: without rows {failed}"]
        whole, whole_rows = schema(url), rows(url)
    faults: dict[str, list[str]] = {}
    for number in range(1, MOST + 1):
        with databases.clone(before) as url:
            place = broken_off(alembic, url, revision, number)
            if place is None:
                return (told(faults), []) if number > 1 else None
            # On a copy: whoever is connected still, and holds a lock of env.py's, is cut off.
            with databases.clone(url) as again:
                failed = attempt(alembic, again, revision)
                found = [failed] if failed else readable(differences(whole, schema(again)))
                found += [] if failed else repeated(whole_rows, rows(again))
        for each in found:
            faults.setdefault(each, []).append(place)
    with databases.clone(before) as url:
        more = broken_off(alembic, url, revision, MOST + 1)
    return told(faults), [f"not tried: what follows the first {MOST} commits"] if more else []


def broken_off(alembic: Alembic, url: URL, revision: str, number: int) -> str | None:
    """Upgrade the database at *url* as far as commit *number*: where; None with fewer commits."""
    try:
        alembic.upgrade(url, revision, break_at=number)
    except Refused:
        raise
    except BrokenOff as broken:
        return broken.place
    except (Exception, SystemExit) as error:  # a moment ago it went through
        return f"by {reason(error)}{place_of(error)}"
    return None


def repeated(once: dict[str, int], twice: dict[str, int]) -> list[str]:
    """The tables that have another number of rows."""
    return [
        f"{name}: {twice[name]} rows, not {number}"
        for name, number in once.items()
        if twice.get(name, number) != number
    ]


def told(faults: dict[str, list[str]]) -> list[str]:
    """Each fault, and where the upgrade was broken off before it."""
    return [
        f"{each}, when it was broken off {spoken(places)}, and run again"
        for each, places in faults.items()
    ]


def attempt(alembic: Alembic, url: URL, revision: str) -> str:
    """Upgrade the database at *url*: what it failed at, and where; or nothing."""
    try:
        alembic.upgrade(url, revision)
    except Refused:
        raise
    except (Exception, SystemExit) as error:  # whatever the revision raises
        return reason(error) + place_of(error)
    return ""


def spoken(places: Sequence[str]) -> str:
    """``before line 3, before line 4 and after line 5``."""
    return " and ".join([", ".join(places[:-1]), places[-1]] if places[1:] else places)
