"""A name that stands in double quotes wherever SQL is written."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule

PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")


def check(project: Project) -> Iterator[Hit]:
    """Tables and columns with capitals, blanks or signs."""
    for table in project.tables:
        if not PLAIN.fullmatch(table.name):
            mapper = project.owners.get(table)
            yield Hit(f'"{table.name}" needs its quotes in SQL', mapper=mapper, table=table)
        for column in table.columns:
            if not PLAIN.fullmatch(column.name):
                yield project.at(column, f'"{column.name}" needs its quotes in SQL')


RULE = Rule(
    name="quoted-name",
    severity="info",
    family="names",
    title="A name with capitals, blanks or signs",
    why="SQLAlchemy quotes it; whoever writes SQL must. Unquoted, PostgreSQL reads createdAt as "
    "createdat, which does not exist.",
    fix="    createdAt: Mapped[datetime] = mapped_column('created_at')",
    url=f"{POSTGRES}/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS",
    check=check,
    default=False,
    bad="""
class Ticket(Base):  # found
    __tablename__ = "Tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    createdAt: Mapped[datetime]  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    createdAt: Mapped[datetime] = mapped_column("created_at")
""",
)
