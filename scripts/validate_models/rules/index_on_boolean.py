"""An index over a boolean and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule, sql_type
from ._indexes import at_index, indexes_of, simple_columns


def check(project: Project) -> Iterator[Hit]:
    """B-trees of all rows over one boolean."""
    for table in project.tables:
        for index in indexes_of(table):
            columns = simple_columns(index) or []
            if [sql_type(column) for column in columns] == ["BOOLEAN"] and not index.unique:
                yield at_index(project, index, f"{index.name} has two values to look up")


RULE = Rule(
    name="index-on-boolean",
    severity="info",
    family="indexes",
    title="An index over a boolean",
    why="Where both values are frequent no query uses it; where one is rare, half of it or more is "
    "never used: an index of the rare rows alone is smaller, and serves their order too.",
    fix="    Index('ix_tickets_open', 'made_at', postgresql_where=text('is_open'))",
    url=f"{POSTGRES}/indexes-partial.html",
    check=check,
    default=False,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    is_open: Mapped[bool] = mapped_column(index=True)  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (Index("ix_tickets_open", "made_at", postgresql_where=text("is_open")),)

    id: Mapped[int] = mapped_column(primary_key=True)
    is_open: Mapped[bool]
    made_at: Mapped[datetime]
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (
        Index("ix_open", "is_open", postgresql_where=text("is_open")),
        Index("ix_open_made", "is_open", "made_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    is_open: Mapped[bool]
    made_at: Mapped[datetime]
""",
)
