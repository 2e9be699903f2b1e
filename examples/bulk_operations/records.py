"""Rows of tickets in a CSV or JSON Lines file: read one at a time, and checked with a reason."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..models import DONE, TicketPriority, TicketStatus

Kind: TypeAlias = Literal["csv", "jsonl"]
REQUIRED = ("ticket_number", "title", "description", "organization", "creator")
OPTIONAL = ("status", "priority", "created_at", "resolved_at")
# NUL, what was no UTF-8, and half of a surrogate pair, which JSON can name.
NOT_TEXT = re.compile("[\0\N{REPLACEMENT CHARACTER}\ud800-\udfff]")


class ImportRefusedError(Exception):
    """The file cannot be imported at all: what was received, what was expected."""


@dataclass(frozen=True)
class Record:
    """A row: its first line, from 1; what it says; how far the file was read for it, in bytes."""

    line: int
    values: dict[str, Any]
    read: int


@dataclass(frozen=True)
class Rejected:
    """A row that was not imported: its line, why, what it said."""

    line: int
    reason: str
    values: dict[str, Any]


def records(path: Path, kind: Kind) -> Iterator[Record | Rejected]:
    """The rows of the file, one at a time; what is none, as rejected.

    Raises ``ImportRefusedError`` where a CSV file does not name the columns that it needs, once.
    """
    with path.open("rb") as raw:
        # utf-8-sig: what spreadsheets write begins with a mark.
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline="")
        yield from (csv_records if kind == "csv" else json_records)(text, raw.tell)


def csv_records(text: io.TextIOWrapper, tell: Callable[[], int]) -> Iterator[Record | Rejected]:
    """The rows of a CSV file with a heading."""
    reader = csv.reader(text, strict=True)
    try:
        heading = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise ImportRefusedError(f"received a heading that is not CSV: {error}") from None
    if twice := sorted({name for name in heading if name and heading.count(name) > 1}):
        raise ImportRefusedError(f"received {', '.join(twice)} more than once in the heading")
    if missing := [name for name in REQUIRED if name not in heading]:
        raise ImportRefusedError(
            f"received the columns {', '.join(heading) or '(none)'}; missing {', '.join(missing)}"
        )
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield Rejected(line, f"not CSV: {error}", {})
            continue
        if row is None:
            return
        if not row:
            continue
        values = dict(zip(heading, row, strict=False))
        if len(row) != len(heading):
            reason = f"received {len(row)} values; expected {len(heading)}"
            yield Rejected(line, reason, values)
        else:
            # An empty cell is a value that was not given.
            kept = {k: v for k, v in values.items() if v != "" or k == "description"}
            yield Record(line, kept, tell())


def json_records(text: io.TextIOWrapper, tell: Callable[[], int]) -> Iterator[Record | Rejected]:
    """The rows of a file with a JSON object a line."""
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        said = {"text": line.rstrip("\r\n")}
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Rejected(number, f"not JSON: {error}", said)
            continue
        if not isinstance(values, dict):
            yield Rejected(number, f"received {type(values).__name__}; expected an object", said)
        elif nested := [name for name, each in values.items() if isinstance(each, dict | list)]:
            # Too deep for a copy, perhaps; the line is not.
            reason = f"{nested[0]}: received {type(values[nested[0]]).__name__}; expected text"
            yield Rejected(number, reason, said)
        else:
            kept = {k: v for k, v in values.items() if v is not None}
            yield Record(number, kept, tell())


def checked(values: dict[str, Any]) -> dict[str, Any]:
    """*values* as those of columns; organization and creator still by name, priority if given.

    Raises ``ValueError`` with the reason, for what PostgreSQL would refuse.
    """
    if missing := [name for name in REQUIRED if name not in values]:
        raise ValueError(f"missing {', '.join(missing)}")
    if unknown := sorted(values.keys() - {*REQUIRED, *OPTIONAL}):
        raise ValueError(f"unknown {', '.join(unknown)}")
    for name, value in values.items():
        if not isinstance(value, str):
            raise ValueError(f"{name}: received {type(value).__name__}; expected text")
        if NOT_TEXT.search(value):
            raise ValueError(f"{name}: not UTF-8 text")
    if not values["ticket_number"].strip():
        raise ValueError("ticket_number: received none")
    if not 0 < len(values["title"]) <= 500 or not values["title"].strip(" "):
        raise ValueError(f"title: received {len(values['title'])} characters; expected 1 to 500")
    status = one_of(TicketStatus, "status", values.get("status", TicketStatus.OPEN))
    created_at = moment("created_at", values.get("created_at")) or datetime.now(UTC)
    resolved_at = moment("resolved_at", values.get("resolved_at"))
    if status in DONE:
        resolved_at = resolved_at or created_at
    elif resolved_at is not None:
        raise ValueError(f"resolved_at: received one for a ticket that is {status.value}")
    found: dict[str, Any] = {
        "ticket_number": values["ticket_number"].strip(),
        "title": values["title"],
        "description": values["description"],
        "status": status,
        "created_at": created_at,
        "resolved_at": resolved_at,
        "organization": values["organization"].strip().lower(),
        "creator": values["creator"].strip().lower(),
    }
    if "priority" in values:
        found["priority"] = one_of(TicketPriority, "priority", values["priority"])
    return found


def one_of(kind: Any, name: str, value: str) -> Any:
    """*value* as a member of the enumeration.  Raises ``ValueError`` that names the members."""
    try:
        return kind(value)
    except ValueError:
        raise ValueError(f"{name}: received {value!r}; expected one of {', '.join(kind)}") from None


def moment(name: str, value: str | None) -> datetime | None:
    """*value* as a time with its zone.  Raises ``ValueError``."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError(f"{name}: received {value!r}; expected 2026-03-01T12:00:00+00:00")
    return found
