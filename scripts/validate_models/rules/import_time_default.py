"""``default=datetime.now()``: called once, when the module is imported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Column

from ..core import DOCS, Hit, Project, Rule

UUID_CALL = re.compile(r"\buuid[1-8]\(")


def is_moment(value: object) -> bool:
    """Whether *value* is a time that a clock gave: near now, or with microseconds."""
    if isinstance(value, datetime):
        if value.replace(tzinfo=None) in {datetime.min, datetime.max}:
            return False
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return value.microsecond != 0 or abs(aware - datetime.now(UTC)) < timedelta(days=1)
    if isinstance(value, date):
        return abs(value - datetime.now(UTC).date()) <= timedelta(days=1)
    return False


def is_drawn(project: Project, column: Column[Any], value: object) -> bool:
    """Whether *value* is a UUID that the source draws by a call."""
    mapper, key = project.owner(column.table, column)
    source = project.source_of(mapper, key) if mapper is not None and key else None
    return isinstance(value, UUID) and bool(source and UUID_CALL.search(source))


def check(project: Project) -> Iterator[Hit]:
    """Scalar defaults that were computed by the import."""
    for _, column in project.columns():
        for name, default in (("default", column.default), ("onupdate", column.onupdate)):
            if default is None or not default.is_scalar:
                continue
            value = default.arg  # type: ignore[attr-defined]
            if is_moment(value) or is_drawn(project, column, value):
                yield project.at(column, f"{name} is the fixed value {value}, made by the import")


RULE = Rule(
    name="import-time-default",
    severity="error",
    family="defaults",
    title="A default is computed once, when the module is imported",
    why="The parentheses call the function during the import: every row that this process inserts "
    "gets the same moment, or the same UUID.",
    fix="Pass the function, or let the server do it:\n"
    "    default=lambda: datetime.now(UTC)\n    server_default=func.now()",
    url=f"{DOCS}/core/defaults.html#python-executed-functions",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=datetime.now(UTC))  # found
    due_at: Mapped[datetime] = mapped_column(default=datetime.now(UTC) + timedelta(9))  # found
    token: Mapped[uuid.UUID] = mapped_column(default=uuid.uuid4())  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))
    token: Mapped[uuid.UUID] = mapped_column(default=uuid.uuid4)
""",
    near_miss="""
NOBODY = uuid.UUID("6f2c4a52-2f5e-4a0e-9a52-1f1f7f1c9b11")


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    since: Mapped[datetime] = mapped_column(default=datetime(1970, 1, 1, tzinfo=UTC))
    until: Mapped[datetime] = mapped_column(default=datetime.max.replace(tzinfo=UTC))
    tenant: Mapped[uuid.UUID] = mapped_column(default=NOBODY)
""",
)
