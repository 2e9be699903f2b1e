"""An index whose columns begin a longer one."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule
from ._indexes import at_index, indexes_of, keys_of, simple_columns


def check(project: Project) -> Iterator[Hit]:
    """Indexes that a longer index or key over plain columns serves as well."""
    for table in project.tables:
        longer = list(keys_of(table))
        longer += [
            (str(other.name), columns)
            for other in indexes_of(table)
            if (columns := simple_columns(other)) is not None
        ]
        for index in indexes_of(table):
            columns = simple_columns(index)
            if not columns or index.unique:
                continue
            found = next(
                (
                    name
                    for name, other in longer
                    if len(other) > len(columns) and other[: len(columns)] == columns
                ),
                None,
            )
            if found:
                yield at_index(project, index, f"{index.name} is the beginning of {found}")


RULE = Rule(
    name="prefix-redundant-index",
    severity="info",
    family="indexes",
    title="An index is the beginning of a longer one",
    why="The longer index serves the same queries; each INSERT writes both. Keep the short one "
    "only where it is much smaller and hot.",
    fix="Remove the shorter one.",
    url=f"{POSTGRES}/indexes-multicolumn.html",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (Index("ix_status_created", "status", "created_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(index=True)  # found
    created_at: Mapped[datetime]
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (Index("ix_status_created", "status", "created_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str]
    created_at: Mapped[datetime]
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (
        Index("ix_status_created", "status", "created_at", postgresql_where=text("is_open")),
        Index("ix_created_status", "created_at", "status"),
        Index("uq_number", "number", unique=True),
        Index("ix_number_status", "number", "status"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str]
    status: Mapped[str] = mapped_column(index=True)
    is_open: Mapped[bool]
    created_at: Mapped[datetime]
""",
)
