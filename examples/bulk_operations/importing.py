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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import Engine, Select, Text, any_, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from ..database import session_factory
from ..models import ImportCheckpoint, Organization, Ticket, TicketPriority, User
from .records import ImportRefusedError, Kind, Record, Rejected, checked, records
from .upserting import TICKETS, upsert_rows

Checked: TypeAlias = tuple[Record, dict[str, Any]]
NOT_OURS = "ticket_number: received one that another organization has; expected a new one, or ours"


class BadRowsError(Exception):
    """All or nothing was asked for, and rows are bad: nothing was imported."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"{report.rejected} bad rows; nothing was imported")
        self.report = report


class TakenError(Exception):
    """Another organization has taken a number since we looked."""


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


def begin(session: Session, source: str, reject_bytes: int, *, again: bool) -> Place | None:
    """Where to go on; None where the import is finished, unless it is wanted *again*.

    A new one goes on after the *reject_bytes* that are in the reject file: they are of others.
    """
    session.execute(insert(ImportCheckpoint).values(source=source).on_conflict_do_nothing())
    checkpoint = session.scalars(checkpoint_of(source)).one()
    if checkpoint.finished_at is not None and not again:
        return None
    if checkpoint.finished_at is not None or not checkpoint.position:
        checkpoint.finished_at = None
        checkpoint.position = json.dumps(asdict(Place(0, reject_bytes)))
    return Place(**json.loads(checkpoint.position))


def hold(session: Session, source: str, place: Place) -> ImportCheckpoint:
    """The checkpoint, locked.  Raises ``ImportRefusedError`` where somebody else has moved it."""
    checkpoint = session.scalars(checkpoint_of(source)).one()
    if checkpoint.finished_at is not None or Place(**json.loads(checkpoint.position)) != place:
        raise ImportRefusedError("another process imports this file at the same time")
    return checkpoint


def move(checkpoint: ImportCheckpoint, place: Place) -> None:
    """Write where the import stands."""
    checkpoint.position, checkpoint.rows_done = json.dumps(asdict(place)), place.rows


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
    known, unknown = with_ids(session, good)
    ready, taken = with_priority(known, holders(session, known))
    outcomes, refused = upsert_what_goes(session, ready)
    return outcomes, sorted([*rejected, *unknown, *taken, *refused], key=lambda each: each.line)


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


def holders(session: Session, rows: Iterable[Checked]) -> dict[str, tuple[int, TicketPriority]]:
    """Whose the numbers of *rows* are, and the priority of their tickets, which are locked."""
    numbers = sorted({values["ticket_number"] for _, values in rows})
    found = session.execute(
        select(Ticket.ticket_number, Ticket.organization_id, Ticket.priority)
        .where(
            Ticket.ticket_number == any_(literal(numbers, ARRAY(Text))),
            Ticket.deleted_at.is_(None),
        )
        .order_by(Ticket.ticket_number)
        .with_for_update(key_share=True)
    )
    return {number: (owner, priority) for number, owner, priority in found}


def with_priority(
    rows: Iterable[Checked], held: Mapping[str, tuple[int, TicketPriority]]
) -> tuple[list[Checked], list[Rejected]]:
    """*rows*, each with the priority of its ticket unless it gives one; rejected, what is not ours.

    A number is the organization's that has it already, or brings it first.
    """
    known = dict(held)
    ready: list[Checked] = []
    taken: list[Rejected] = []
    for record, values in rows:
        number, ours = values["ticket_number"], values["organization_id"]
        owner, priority = known.get(number, (ours, TicketPriority.MEDIUM))
        if owner != ours:
            taken.append(Rejected(record.line, NOT_OURS, record.values))
            continue
        known[number] = (ours, values.get("priority", priority))
        ready.append((record, values | {"priority": known[number][1]}))
    return ready, taken


def upsert_what_goes(
    session: Session, rows: Sequence[Checked]
) -> tuple[Counter[str], list[Rejected]]:
    """Upsert *rows*; where PostgreSQL refuses, halve them until it is told which one it was."""
    try:
        with session.begin_nested():
            found = upsert_rows(session, TICKETS, (values for _, values in rows))
            if with_priority(rows, holders(session, rows))[1]:  # committed while we waited
                raise TakenError
            return Counter(row.outcome for row in found), []
    except (DataError, IntegrityError, TakenError) as error:
        if len(rows) == 1:
            record = rows[0][0]
            reason = NOT_OURS if isinstance(error, TakenError) else reason_of(error)
            return Counter(), [Rejected(record.line, reason, record.values)]
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
    if rejects.exists() and rejects.samefile(path):
        raise ImportRefusedError(f"received {rejects} for its own rejects; expected another file")
    factory, source, report = session_factory(engine), source_of(path), Report()
    with factory.begin() as session:
        place = begin(session, source, size_of(rejects), again=again)
    items = records(path, kind)
    if place is None:
        report.skipped = sum(1 for _ in items)
        return report
    report.skipped = sum(1 for _ in islice(items, place.rows))
    for part in batches(items, batch):
        with factory.begin() as session:
            checkpoint = hold(session, source, place)
            cut(rejects, place.reject_bytes, path.name)
            outcomes, rejected = write(session, part)
            # Before the commit: what is too much can be cut off, what is lost cannot be found.
            size = append(rejects, rejected, path.name) if rejected else place.reject_bytes
            following = Place(place.rows + len(part), size)
            move(checkpoint, following)
        place = following
        report.add(outcomes, rejected, len(part))
        progress(place.rows, max((r.read for r in part if isinstance(r, Record)), default=0))
    with factory.begin() as session:
        hold(session, source, place).finished_at = session.scalars(select(func.now())).one()
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


def size_of(path: Path) -> int:
    """Its bytes; 0 where it is not there."""
    return path.stat().st_size if path.exists() else 0


def cut(path: Path, after: int, name: str) -> None:
    """Drop what a killed run has rejected of file *name* and not committed: it is written again.

    What others have written to the reject file since stays.
    """
    if size_of(path) <= after:
        return
    with path.open("r+b") as file:
        file.seek(after)
        lines = file.readlines()
        kept = [line for line in lines if not is_of(line, name)]
        if len(kept) < len(lines):
            file.seek(after)
            file.writelines(kept)
            file.truncate()


def is_of(line: bytes, name: str) -> bool:
    """Whether *line* tells a rejected row of file *name*, or is the beginning of one."""
    if not line.endswith(b"\n"):
        return True
    try:
        said = json.loads(line)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("file") == name


def append(path: Path, rejected: Sequence[Rejected], name: str) -> int:
    """Append rows of file *name* to the reject file, through to the disk: how long it is then."""
    told = ({"file": name, **asdict(each)} for each in rejected)
    lines = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in told)
    # Half of a surrogate pair as JSON names it.
    data = lines.encode("utf-8", "backslashreplace")
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()
