"""A naive default for a column with a time zone, and the reverse."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from types import CodeType
from typing import Any

from sqlalchemy import Column

from ..core import Hit, Project, Rule, sql_type

CLOCK = {"datetime", "dt", "now", "today", "utcnow"}
ZONES = {"UTC", "utc", "timezone", "ZoneInfo"}


def awareness(function: Any) -> str | None:
    """``"naive"`` or ``"aware"``: what the default gives; None where that cannot be told."""
    function = getattr(function, "__wrapped__", function)
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if isinstance(owner, type) and issubclass(owner, date):
        return "naive" if issubclass(owner, datetime) and name in {"utcnow", "now"} else None
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType) or code.co_freevars or code.co_argcount > 1:
        return None
    used = set(code.co_names)
    if used <= CLOCK and used & {"now", "utcnow"} and "datetime" in used:
        return "naive"
    if used <= CLOCK | ZONES and "now" in used and used & ZONES and "datetime" in used:
        return "aware"
    return None


def faults(column: Column[Any]) -> Iterator[str]:
    """What is wrong with the defaults of *column*."""
    kind = sql_type(column)
    wanted = {"TIMESTAMP WITH TIME ZONE": "aware", "TIMESTAMP WITHOUT TIME ZONE": "naive"}
    for name, default in (("default", column.default), ("onupdate", column.onupdate)):
        if default is None or not default.is_callable:
            continue
        found = awareness(default.arg)  # type: ignore[attr-defined]
        if found and kind in wanted and found != wanted[kind]:
            yield f"{name} gives {found} times to a column of type {kind.lower()}"


def check(project: Project) -> Iterator[Hit]:
    """Callable defaults whose time zone is not the column's."""
    for _, column in project.columns():
        for fault in faults(column):
            yield project.at(column, fault)


RULE = Rule(
    name="default-time-zone",
    severity="error",
    family="types",
    title="The default and the column disagree on the time zone",
    why="A naive time in a timestamptz column is read in the zone of the server's session "
    "(psycopg) or of the client's machine (asyncpg): hours off. asyncpg refuses an aware one in "
    "a column without time zone.",
    fix="    created_at: Mapped[datetime] = mapped_column(\n"
    "        DateTime(timezone=True), default=lambda: datetime.now(UTC))",
    url="https://docs.python.org/3/library/datetime.html#datetime.datetime.utcnow",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=datetime.utcnow)  # found
    updated_at: Mapped[datetime] = mapped_column(onupdate=lambda: datetime.now())  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
""",
    near_miss="""
def utc_now() -> datetime:
    return datetime.utcnow().replace(tzinfo=UTC)


def in_vienna() -> datetime:
    return datetime.now(ZoneInfo("Europe/Vienna"))


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=in_vienna)
    on_day: Mapped[date] = mapped_column(default=date.today)
""",
)
