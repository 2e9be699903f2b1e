"""A time of day with a zone, and no day."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule, sql_type


def check(project: Project) -> Iterator[Hit]:
    """Columns of type timetz."""
    for _, column in project.columns():
        if re.match(r"TIME\b.*\bWITH TIME ZONE$", sql_type(column)):
            yield project.at(column, "the column is a time of day with a fixed offset")


RULE = Rule(
    name="time-with-time-zone",
    severity="warning",
    family="types",
    title="A time of day with a time zone",
    why="Without a day no zone has an offset: the one at the INSERT is kept, summer time or not. "
    "12:00+02 and 10:00+00 are one moment, and not equal.",
    fix="    opens_at: Mapped[time] = mapped_column(Time)\nand the zone by name in another column.",
    url=f"{POSTGRES}/datatype-datetime.html#DATATYPE-TIMEZONES",
    check=check,
    bad="""
class Desk(Base):
    __tablename__ = "desks"

    id: Mapped[int] = mapped_column(primary_key=True)
    opens_at: Mapped[time] = mapped_column(Time(timezone=True))  # found
""",
    good="""
class Desk(Base):
    __tablename__ = "desks"

    id: Mapped[int] = mapped_column(primary_key=True)
    opens_at: Mapped[time] = mapped_column(Time)
""",
)
