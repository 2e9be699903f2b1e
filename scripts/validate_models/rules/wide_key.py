"""A primary key of many columns."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule

MOST = 3


def check(project: Project) -> Iterator[Hit]:
    """Primary keys of more than three columns."""
    for table in project.tables:
        number = len(table.primary_key.columns)
        if number > MOST:
            mapper = project.owners.get(table)
            yield Hit(f"the key of {table.name} has {number} columns", mapper=mapper, table=table)


RULE = Rule(
    name="wide-key",
    severity="info",
    family="design",
    title="A primary key of more than three columns",
    why="Whatever refers to a row repeats all of them, in its own rows, its foreign key and its "
    "index; session.get() needs them in order.",
    fix="A generated key, and UniqueConstraint() over the columns.",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-PRIMARY-KEYS",
    check=check,
    default=False,
    bad="""
class Reading(Base):  # found
    __tablename__ = "readings"

    site: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    room: Mapped[int] = mapped_column(primary_key=True)
    sensor: Mapped[int] = mapped_column(primary_key=True)
    read_at: Mapped[datetime] = mapped_column(primary_key=True)
""",
    good="""
class Reading(Base):
    __tablename__ = "readings"
    __table_args__ = (UniqueConstraint("site", "room", "sensor", "read_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    site: Mapped[int]
    room: Mapped[int]
    sensor: Mapped[int]
    read_at: Mapped[datetime]
""",
)
