"""An index over many columns."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule
from ._indexes import at_index, indexes_of, is_btree

MOST = 3


def check(project: Project) -> Iterator[Hit]:
    """B-trees that are not unique, of more than three columns."""
    for table in project.tables:
        for index in indexes_of(table):
            number = len(list(index.expressions))
            if number > MOST and not index.unique and is_btree(index):
                yield at_index(project, index, f"{index.name} has {number} columns")


RULE = Rule(
    name="wide-index",
    severity="info",
    family="indexes",
    title=f"An index of more than {MOST} columns",
    why="A query uses the columns from the first on, as far as it compares them with =; what "
    "stands behind mostly makes the index larger and HOT updates rarer.",
    fix="The columns that are compared with =, then the one of the order; the others in "
    "postgresql_include, if at all.",
    url=f"{POSTGRES}/indexes-multicolumn.html",
    check=check,
    default=False,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (Index("ix_all", "kind", "state", "title", "made_at"),)  # found

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    state: Mapped[str]
    title: Mapped[str]
    made_at: Mapped[datetime]
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (Index("ix_newest", "kind", "state", "made_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    state: Mapped[str]
    made_at: Mapped[datetime]
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (UniqueConstraint("kind", "state", "title", "made_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    state: Mapped[str]
    title: Mapped[str]
    made_at: Mapped[datetime]
""",
)
