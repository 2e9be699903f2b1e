"""Import tickets out of a CSV file."""

import csv
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from models import Ticket
from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session


@dataclass
class Report:
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: list[tuple[int, str]] = field(default_factory=list)


def import_tickets(engine: Engine, path: Path, chunk: int = 1000) -> Report:
    report = Report()
    rows = []
    with Session(engine) as session, path.open(newline="") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            try:
                if not row["title"].strip():
                    raise ValueError("title is blank")
                rows.append(
                    {
                        "number": row["number"],
                        "title": row["title"],
                        "hours": Decimal(row["hours"]) if row["hours"] else None,
                        "opened_at": datetime.fromisoformat(row["opened_at"]),
                    }
                )
            except (ValueError, InvalidOperation) as error:
                report.rejected.append((line, str(error)))
            if len(rows) == chunk:
                store(session, rows, report)
                rows = []
        if rows:
            store(session, rows, report)
    return report


def store(session, rows, report):
    numbers = [row["number"] for row in rows]
    known = set(session.scalars(select(Ticket.number).where(Ticket.number.in_(numbers))))
    statement = insert(Ticket).values(rows)
    statement = statement.on_conflict_do_update(
        index_elements=["number"],
        set_={name: statement.excluded[name] for name in ("title", "hours", "opened_at")},
    )
    session.execute(statement)
    session.commit()
    report.updated += len(known)
    report.inserted += len(rows) - len(known)
