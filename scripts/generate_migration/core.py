"""What a revision is judged by: the statements that it ran, the findings, what was proved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sqlalchemy import URL

from .hiding import hidden

FINE, FINDINGS, USAGE, NOT_READY = range(4)
SEVERITIES = ("info", "warning", "error")
POSTGRES = "https://www.postgresql.org/docs/18"
ALEMBIC = "https://alembic.sqlalchemy.org/en/latest"
# The modes that conflict with ROW EXCLUSIVE, which every INSERT, UPDATE and DELETE takes, weakest
# first (PostgreSQL, "Explicit Locking").
BLOCKS_WRITERS = ("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")


class Refused(Exception):
    """Ends the run: what was received, what was expected, what to try; no password."""

    def __init__(self, message: str, exit_code: int = USAGE) -> None:
        super().__init__(hidden(message))
        self.exit_code = exit_code


class BrokenOff(Exception):
    """An upgrade was broken off on purpose; *place*: ``before line 13``."""

    def __init__(self, place: str) -> None:
        super().__init__(f"broken off {place}")
        self.place = place


@dataclass(frozen=True)
class Lock:
    """A lock of a transaction on a table or an index; *relation* is ``schema.name``."""

    relation: str
    mode: str

    @property
    def blocks_writers(self) -> bool:
        """Whether an INSERT, UPDATE or DELETE must wait for it."""
        return self.mode in BLOCKS_WRITERS


@dataclass(frozen=True)
class Statement:
    """One statement that a revision ran on the scratch database, and what PostgreSQL did for it.

    Tables that the revision itself created are left out of *held*, *scanned*, *written* and
    *rewritten*: nobody waits for them.  All tables are named ``schema.name``.
    """

    revision: str
    upgrade: bool  # False: of the downgrade
    sql: str  # as it was sent, each parameter as a literal
    path: Path | None = None  # the revision's file and line that ran it
    line: int | None = None
    transaction: int | None = None  # its number within the revision; None: outside (autocommit)
    lock_timeout: str = "0"  # as SHOW says it when the statement began; "0" is without limit
    statement_timeout: str = "0"
    held: tuple[Lock, ...] = ()  # after it: its own and those of the transaction before it
    taken: tuple[Lock, ...] = ()  # those of *held* that it took itself
    scanned: Mapping[str, int] = field(default_factory=dict)  # rows read by sequential scans
    written: Mapping[str, int] = field(default_factory=dict)  # rows inserted, updated, deleted
    rewritten: tuple[str, ...] = ()  # tables whose file was replaced


@dataclass(frozen=True)
class Finding:
    """What is wrong with a revision, where, and the safe recipe."""

    rule: str
    severity: str
    message: str
    why: str = ""
    fix: str = ""
    path: Path | None = None
    line: int | None = None
    revision: str = ""
    statement: str = ""
    url: str = ""


@dataclass(frozen=True)
class Step:
    """One step of the proof; *seen* says what came out, a line for each difference."""

    name: str
    passed: bool
    seen: str = ""


@dataclass(frozen=True)
class Unfilled:
    """A table that got no rows, so that nothing is proved of its data; *reason* is PostgreSQL's."""

    table: str
    reason: str


@dataclass(frozen=True)
class Proof:
    """What was tried with one revision on a filled copy, and what came out."""

    revision: str
    steps: tuple[Step, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)  # by table, before the upgrade
    unfilled: tuple[Unfilled, ...] = ()
    statements: tuple[Statement, ...] = ()  # of the first upgrade

    @property
    def passed(self) -> bool:
        """Whether every step did; a table without rows does not hide here."""
        return all(step.passed for step in self.steps)


class Databases(Protocol):
    """Databases of our own on the scratch server."""

    def clone(self, url: URL, /) -> AbstractContextManager[URL]:
        """Within: a copy of the database at *url*, dropped at the end."""
        ...


class Alembic(Protocol):
    """The user's Alembic project, run on a database of ours whatever its ``env.py`` names."""

    def upgrade(self, url: URL, revision: str, *, break_at: int = 0) -> Sequence[Statement]:
        """Upgrade the database at *url* to *revision*: the statements of the revisions.

        Raises ``BrokenOff`` at the first statement after the *break_at*-th commit, if there are
        that many within the revisions; those of one line, in a loop, are one.
        """
        ...

    def downgrade(self, url: URL, revision: str) -> Sequence[Statement]:
        """Downgrade the database at *url* by the one *revision*, its head: to what was before."""
        ...

    def differences(self, url: URL) -> Sequence[str]:
        """What autogenerate, with our comparisons, would still write for the models."""
        ...
