"""An index over what a key indexes already."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule
from ._indexes import at_index, indexes_of, keys_of, simple_columns


def check(project: Project) -> Iterator[Hit]:
    """Indexes over exactly the columns of the primary key or of a unique constraint or index."""
    for table in project.tables:
        keys = list(keys_of(table))
        keys += [
            (f"the unique index {other.name}", columns)
            for other in indexes_of(table)
            if other.unique and (columns := simple_columns(other)) is not None
        ]
        for index in indexes_of(table):
            columns = simple_columns(index)
            if columns is None or index.unique:
                continue
            same = next((name for name, key in keys if key == columns), None)
            if same:
                yield at_index(project, index, f"{index.name} repeats {same}")


RULE = Rule(
    name="key-redundant-index",
    severity="warning",
    family="indexes",
    title="An index repeats a key",
    why="A primary key and a unique constraint are indexes themselves: the second one costs every "
    "INSERT and serves no query.",
    fix="Remove index=True, or the Index.",
    url=f"{POSTGRES}/indexes-unique.html",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (UniqueConstraint("number"),)

    id: Mapped[int] = mapped_column(primary_key=True, index=True)  # found
    number: Mapped[str] = mapped_column(index=True)  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(unique=True)
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        Index("ix_tickets_id", "id"),
        Index("ix_tickets_covering", "number", postgresql_include=["title"]),
    )

    tenant_id: Mapped[int]
    id: Mapped[int]
    number: Mapped[str] = mapped_column(unique=True, index=True)
    title: Mapped[str]
""",
)
