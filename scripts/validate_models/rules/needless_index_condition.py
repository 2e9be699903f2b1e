"""``WHERE x IS NOT NULL`` on an index over a NOT NULL column."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule, option
from ._indexes import at_index, indexes_of
from .unindexed_foreign_key import is_not_null


def check(project: Project) -> Iterator[Hit]:
    """Partial indexes whose condition holds for every row."""
    for table in project.tables:
        for index in indexes_of(table):
            where = option(index, "where")
            if where is None:
                continue
            names = [column.name for column in table.columns if not column.nullable]
            found = next((name for name in names if is_not_null(str(where), name)), None)
            if found:
                yield at_index(project, index, f"{found} is NOT NULL: it leaves no row out")


RULE = Rule(
    name="needless-index-condition",
    severity="warning",
    family="indexes",
    title="A partial index over all rows",
    why="The column is never NULL, so the condition saves nothing. But a query must imply it: "
    "ORDER BY made_at LIMIT 10 alone does not, and reads the whole table, on PostgreSQL 18 too.",
    fix="Leave postgresql_where out, or let the column be nullable.",
    url=f"{POSTGRES}/indexes-partial.html",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (
        Index("ix_made_at", "made_at", postgresql_where=text("made_at IS NOT NULL")),  # found
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    made_at: Mapped[datetime]
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (Index("ix_made_at", "made_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    made_at: Mapped[datetime]
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (
        Index("ix_closed_at", "closed_at", postgresql_where=text("closed_at IS NOT NULL")),
        Index("ix_made_at", "made_at", postgresql_where=text("closed_at IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    made_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
""",
)
