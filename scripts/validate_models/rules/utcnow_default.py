"""``datetime.utcnow`` as a default."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ..core import Hit, Project, Rule, sql_type


def is_utcnow(function: Any) -> bool:
    """Whether a default calls ``utcnow``; SQLAlchemy wraps what takes no context."""
    function = getattr(function, "__wrapped__", function)
    code = getattr(function, "__code__", None)
    if code is not None and code.co_names[-1:] == ("utcnow",):
        # Others have functions of that name: what the dotted name means decides.
        first, *rest = code.co_names
        function = functools.reduce(
            lambda found, name: getattr(found, name, None), rest, function.__globals__.get(first)
        )
    owner = getattr(function, "__self__", None)
    return (
        getattr(function, "__name__", "") == "utcnow"
        and isinstance(owner, type)
        and issubclass(owner, datetime)
    )


def check(project: Project) -> Iterator[Hit]:
    """Columns without time zone; with one, default-time-zone tells of worse."""
    for _, column in project.columns():
        if sql_type(column) != "TIMESTAMP WITHOUT TIME ZONE":
            continue
        for name, default in (("default", column.default), ("onupdate", column.onupdate)):
            if default is not None and default.is_callable and is_utcnow(default.arg):  # type: ignore[attr-defined]
                yield project.at(column, f"{name} calls datetime.utcnow, which is deprecated")


RULE = Rule(
    name="utcnow-default",
    severity="info",
    family="upgrading",
    title="datetime.utcnow as a default",
    why="Python 3.12 deprecates it: each INSERT gives a DeprecationWarning, and what it returns "
    "says nothing of UTC.",
    fix="    mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))",
    url="https://docs.python.org/3/library/datetime.html#datetime.datetime.utcnow",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    made_at: Mapped[datetime] = mapped_column(DateTime, default=datetime.utcnow)  # found
    seen_at: Mapped[datetime] = mapped_column(DateTime, onupdate=lambda: datetime.utcnow())  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    made_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))
""",
)
