"""Import tickets out of a CSV file; again and again, if need be."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from models import Ticket
from sqlalchemy import Engine, literal_column, or_
from sqlalchemy.dialects.postgresql import insert

COLUMNS = ("number", "title", "hours", "opened_at")
LIMIT = Decimal("1000000")


@dataclass
class Report:
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: list[tuple[int, str]] = field(default_factory=list)


def import_tickets(engine: Engine, path: Path, chunk: int = 1000) -> Report:
    """Import the file, one transaction a chunk."""
    report = Report()
    rows: dict[str, dict[str, Any]] = {}
    # The last line of a number wins, in whatever chunk: the others are never written.
    last = {row["number"]: line for line, row in valid_rows(path, Report())}
    for line, row in valid_rows(path, report):
        if last[row["number"]] != line:
            continue
        rows[row["number"]] = row
        if len(rows) >= chunk:
            store(engine, rows, report)
            rows = {}
    if rows:
        store(engine, rows, report)
    return report


def valid_rows(path: Path, report: Report) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines that can be stored; the others go into the report."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        begin = reader.line_num + 1
        while True:
            try:
                line = next(reader)
            except StopIteration:
                return
            # A quoted field may span lines: a row begins after the one before it ended.
            begin, number = reader.line_num + 1, begin if begin > 1 else 2
            try:
                yield number, parsed(line)
            except ValueError as error:
                report.rejected.append((number, str(error)))


def parsed(line: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a line.  Raises ``ValueError``."""
    if None in line or any(line.get(name) is None for name in COLUMNS):
        raise ValueError("expected four fields")
    values = {name: str(line[name]).strip() for name in COLUMNS}
    if any("\0" in value for value in values.values()):
        raise ValueError("holds a NUL character")
    if not values["number"] or not values["title"]:
        raise ValueError("number and title must not be blank")
    opened_at = datetime.fromisoformat(values["opened_at"])
    if opened_at.tzinfo is None:
        raise ValueError("opened_at has no time zone")
    hours = None
    if values["hours"]:
        try:
            hours = Decimal(values["hours"])
        except InvalidOperation:
            raise ValueError(f"hours: {values['hours']!r} is no number") from None
        if not hours.is_finite() or abs(hours) >= LIMIT:
            raise ValueError(f"hours: {values['hours']!r} is out of range")
        hours = round(hours, 2)
    return {
        "number": values["number"],
        "title": values["title"],
        "hours": hours,
        "opened_at": opened_at,
    }


def store(engine: Engine, rows: dict[str, dict[str, Any]], report: Report) -> None:
    """Upsert one chunk in one transaction."""
    statement = insert(Ticket.__table__).values(list(rows.values()))
    new = statement.excluded
    changing = [name for name in COLUMNS if name != "number"]
    statement = statement.on_conflict_do_update(
        index_elements=["number"],
        set_={name: new[name] for name in changing},
        where=or_(*(Ticket.__table__.c[name].is_distinct_from(new[name]) for name in changing)),
    ).returning(literal_column("old.id IS NULL"))
    with engine.begin() as connection:
        outcomes = list(connection.scalars(statement))
    report.inserted += sum(outcomes)
    report.updated += len(outcomes) - sum(outcomes)
    report.unchanged += len(rows) - len(outcomes)
