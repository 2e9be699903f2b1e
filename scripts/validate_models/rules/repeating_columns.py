"""Columns that count."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule

NUMBERED = re.compile(r"([a-z_]*[a-z])_?(\d+)")


def check(project: Project) -> Iterator[Hit]:
    """Three columns or more whose names differ by a number from 1 on, of one type."""
    for table in project.tables:
        series: dict[tuple[str, str], set[int]] = {}
        for column in table.columns:
            match = NUMBERED.fullmatch(column.name.lower())
            if match:
                key = (match[1], type(column.type).__name__)
                series.setdefault(key, set()).add(int(match[2]))
        for (name, _), numbers in series.items():
            if len(numbers) >= 3 and numbers & {0, 1} and max(numbers) <= len(numbers):
                first = next(
                    column for column in table.columns if column.name.lower().startswith(name)
                )
                yield project.at(first, f"{table.name} has {len(numbers)} columns {name}")


RULE = Rule(
    name="repeating-columns",
    severity="info",
    family="design",
    title="The same column several times",
    why="A query must ask each of them, an index holds one of them, and the next one is a "
    "migration.",
    fix="A table of its own, a row for each; or ARRAY, with a GIN index.",
    url=f"{POSTGRES}/arrays.html",
    check=check,
    default=False,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    phone_1: Mapped[str | None]  # found
    phone_2: Mapped[str | None]
    phone_3: Mapped[str | None]
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    phones: Mapped[list[str]] = mapped_column(ARRAY(Text))
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    address_1: Mapped[str]
    address_2: Mapped[str | None]
    sha256: Mapped[str]
    sha512: Mapped[str]
    sha1: Mapped[str]
""",
)
