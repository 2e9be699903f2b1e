"""An import of tickets that may be killed, run again, and asked what it refused.

Problem: an import that dies half-way leaves the question which rows are in.  Pattern: batches, each
with its checkpoint in the same transaction.  Rows are known by their number, so that what comes
twice changes nothing.  Bad rows go to a file, with line and reason, or stop everything.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import Engine, Select, Text, any_, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from ..database import session_factory
from ..models import ImportCheckpoint, Organization, User
from .records import ImportRefusedError, Kind, Record, Rejected, checked, records
from .upserting import TICKETS, upsert_rows

Checked: TypeAlias = tuple[Record, dict[str, Any]]


class BadRowsError(Exception):
    """All or nothing was asked for, and rows are bad: nothing was imported."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"{report.rejected} bad rows; nothing was imported")
        self.report = report


@dataclass
class Report:
    """What came of an import; *skipped* are the rows that an earlier run has done."""

    rows: int = 0
    skipped: int = 0
    rejected: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    examples: list[Rejected] = field(default_factory=list)
    """The first ten that were rejected."""

    def add(self, outcomes: Counter[str], rejected: Sequence[Rejected], count: int) -> None:
        """Count a batch."""
        self.rows += count
        self.outcomes = dict(Counter(self.outcomes) + outcomes)
        self.rejected += len(rejected)
        self.examples += rejected[: 10 - len(self.examples)]


@dataclass(frozen=True)
class Place:
    """Where an import stands: rows done, rejected ones included, and bytes of the reject file."""

    rows: int = 0
    reject_bytes: int = 0


def source_of(path: Path) -> str:
    """The name of the import: what is in the file, so that a changed file is another one."""
    with path.open("rb") as file:
        return f"tickets:sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def checkpoint_of(source: str) -> Select[ImportCheckpoint]:
    """The checkpoint, locked: a second process with the same file waits for this one's batch."""
    return (
        select(ImportCheckpoint)
        .where(ImportCheckpoint.source == source)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def begin(session: Session, source: str, *, again: bool) -> Place | None:
    """Where to go on; None where the import is finished, unless it is wanted *again*."""
    session.execute(insert(ImportCheckpoint).values(source=source).on_conflict_do_nothing())
    checkpoint = session.scalars(checkpoint_of(source)).one()
    if checkpoint.finished_at is not None:
        if not again:
            return None
        checkpoint.finished_at, checkpoint.position = None, ""
    return Place(**json.loads(checkpoint.position)) if checkpoint.position else Place()


def move(session: Session, source: str, old: Place, new: Place, *, finished: bool = False) -> None:
    """Write the checkpoint.  Raises ``ImportRefusedError`` where somebody else has moved it."""
    checkpoint = session.scalars(checkpoint_of(source)).one()
    found = Place(**json.loads(checkpoint.position)) if checkpoint.position else Place()
    if found != old or checkpoint.finished_at is not None:
        raise ImportRefusedError("another process imports this file at the same time")
    checkpoint.position, checkpoint.rows_done = json.dumps(asdict(new)), new.rows
    if finished:
        checkpoint.finished_at = session.scalars(select(func.now())).one()


# --- A batch --------------------------------------------------------------------------------------


def write(
    session: Session, batch: Sequence[Record | Rejected]
) -> tuple[Counter[str], list[Rejected]]:
    """Upsert what is good of *batch*: how many of each outcome, and what was rejected, by line."""
    rejected = [each for each in batch if isinstance(each, Rejected)]
    good: list[Checked] = []
    for record in batch:
        if isinstance(record, Record):
            try:
                good.append((record, checked(record.values)))
            except ValueError as error:
                rejected.append(Rejected(record.line, str(error), record.values))
    ready, unknown = with_ids(session, good)
    outcomes, refused = upsert_what_goes(session, ready)
    return outcomes, sorted([*rejected, *unknown, *refused], key=lambda each: each.line)


def with_ids(session: Session, rows: Sequence[Checked]) -> tuple[list[Checked], list[Rejected]]:
    """*rows* with the ids of their organization and creator; rejected, where there is none."""
    slugs = ids_by(session, Organization.slug, Organization.id, rows, "organization")
    emails = ids_by(session, func.lower(User.email), User.id, rows, "creator")
    ready: list[Checked] = []
    unknown: list[Rejected] = []
    for record, values in rows:
        slug, email = values.pop("organization"), values.pop("creator")
        if slug not in slugs:
            reason = f"organization: received {slug!r}; expected the slug of one that exists"
            unknown.append(Rejected(record.line, reason, record.values))
        elif email not in emails:
            reason = f"creator: received {email!r}; expected the email of a user"
            unknown.append(Rejected(record.line, reason, record.values))
        else:
            found = {"organization_id": slugs[slug], "creator_id": emails[email]}
            ready.append((record, values | found))
    return ready, unknown


def ids_by(
    session: Session, name: Any, key: Any, rows: Iterable[Checked], of: str
) -> dict[str, int]:
    """The ids of what *rows* name: one statement."""
    wanted = sorted({values[of] for _, values in rows})
    found = session.execute(select(name, key).where(name == any_(literal(wanted, ARRAY(Text)))))
    return {row[0]: row[1] for row in found}


def upsert_what_goes(
    session: Session, rows: Sequence[Checked]
) -> tuple[Counter[str], list[Rejected]]:
    """Upsert *rows*; where PostgreSQL refuses, halve them until it is told which one it was."""
    try:
        with session.begin_nested():
            found = upsert_rows(session, TICKETS, (values for _, values in rows))
            return Counter(row.outcome for row in found), []
    except (DataError, IntegrityError) as error:
        if len(rows) == 1:
            record = rows[0][0]
            return Counter(), [Rejected(record.line, reason_of(error), record.values)]
    middle = len(rows) // 2
    first, early = upsert_what_goes(session, rows[:middle])
    second, late = upsert_what_goes(session, rows[middle:])
    return first + second, early + late


def reason_of(error: DBAPIError) -> str:
    """The first line of what PostgreSQL said: the others quote the row."""
    return str(error.orig).partition("\n")[0]


# --- The file -------------------------------------------------------------------------------------


def import_tickets(
    engine: Engine,
    path: Path,
    *,
    kind: Kind,
    rejects: Path,
    batch: int = 5_000,
    again: bool = False,
    progress: Callable[[int, int], None] = lambda rows, read: None,
) -> Report:
    """Import the file, a transaction a batch; what was done by an earlier run is skipped.

    Bad rows are appended to *rejects*, as JSON Lines, each once.  *progress* gets the rows done and
    the bytes read.  Raises ``ImportRefusedError``.
    """
    factory, source, report = session_factory(engine), source_of(path), Report()
    with factory.begin() as session:
        place = begin(session, source, again=again)
    items = records(path, kind)
    if place is None:
        report.skipped = sum(1 for _ in items)
        return report
    report.skipped = sum(1 for _ in islice(items, place.rows))
    if rejects.exists():
        # What a killed run had written and not committed; it is written again.
        os.truncate(rejects, min(rejects.stat().st_size, place.reject_bytes))
    for part in batches(items, batch):
        with factory.begin() as session:
            outcomes, rejected = write(session, part)
            # Before the commit: what is too much can be cut off, what is lost cannot be found.
            size = append(rejects, rejected) if rejected else place.reject_bytes
            following = Place(place.rows + len(part), size)
            move(session, source, place, following)
        place = following
        report.add(outcomes, rejected, len(part))
        progress(place.rows, max((r.read for r in part if isinstance(r, Record)), default=0))
    with factory.begin() as session:
        move(session, source, place, place, finished=True)
    return report


def import_at_once(
    engine: Engine,
    path: Path,
    *,
    kind: Kind,
    batch: int = 5_000,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda rows, read: None,
) -> Report:
    """Import the whole file in one transaction, or nothing; a *dry_run* rolls back in any case.

    Raises ``BadRowsError``, not for a dry run, and ``ImportRefusedError``.
    """
    report = Report()
    with session_factory(engine)() as session:
        for part in batches(records(path, kind), batch):
            report.add(*write(session, part), len(part))
            progress(report.rows, max((r.read for r in part if isinstance(r, Record)), default=0))
        if dry_run:
            return report
        if report.rejected:
            raise BadRowsError(report)
        session.commit()
    return report


def batches(items: Iterator[Record | Rejected], size: int) -> Iterator[list[Record | Rejected]]:
    """*items*, *size* at a time."""
    while part := list(islice(items, size)):
        yield part


def append(path: Path, rejected: Sequence[Rejected]) -> int:
    """Append to the reject file, through to the disk: how many bytes it has then."""
    lines = "".join(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in rejected)
    data = lines.encode("utf-8", "replace")
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()
