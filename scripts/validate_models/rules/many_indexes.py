"""A table with many indexes."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule
from ._indexes import indexes_of, keys_of

MOST = 10


def check(project: Project) -> Iterator[Hit]:
    """Tables with more than ten indexes, keys included."""
    for table in project.tables:
        number = len(indexes_of(table)) + len(list(keys_of(table)))
        if number > MOST:
            mapper = project.owners.get(table)
            yield Hit(f"{table.name} has {number} indexes", mapper=mapper, table=table)


RULE = Rule(
    name="many-indexes",
    severity="info",
    family="indexes",
    title=f"More than {MOST} indexes on one table",
    why="Each INSERT writes them all, and so does an UPDATE of any column in one of them; each is "
    "weighed for each query.",
    fix="Ask pg_stat_user_indexes which are used:  --database-url, on a server with traffic.",
    url=f"{POSTGRES}/monitoring-stats.html#MONITORING-PG-STAT-ALL-INDEXES-VIEW",
    check=check,
    default=False,
    bad="""
class Ticket(Base):  # found
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    a: Mapped[int] = mapped_column(index=True)
    b: Mapped[int] = mapped_column(index=True)
    c: Mapped[int] = mapped_column(index=True)
    d: Mapped[int] = mapped_column(index=True)
    e: Mapped[int] = mapped_column(index=True)
    f: Mapped[int] = mapped_column(index=True)
    g: Mapped[int] = mapped_column(index=True)
    h: Mapped[int] = mapped_column(index=True)
    i: Mapped[int] = mapped_column(index=True)
    j: Mapped[int] = mapped_column(unique=True)
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    a: Mapped[int] = mapped_column(index=True)
    j: Mapped[int] = mapped_column(unique=True)
""",
)
