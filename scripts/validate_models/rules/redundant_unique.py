"""Unique twice over the same columns."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import UniqueConstraint

from ..core import POSTGRES, Hit, Project, Rule
from ._indexes import at_index, indexes_of, names, simple_columns


def check(project: Project) -> Iterator[Hit]:
    """Unique constraints and indexes over exactly what a key keeps unique."""
    for table in project.tables:
        known = {tuple(table.primary_key.columns): "the primary key"}
        constraints = (item for item in table.constraints if isinstance(item, UniqueConstraint))
        # They come out of a set: by name, where the columns are the same.
        for item in sorted(constraints, key=lambda each: (each.columns.keys(), str(each.name))):
            columns = list(item.columns)
            nulls = item.dialect_options["postgresql"].get("nulls_not_distinct")
            if nulls or item.deferrable or not columns:
                continue
            if tuple(columns) in known:
                text = (
                    f"the unique constraint over {names(columns)} repeats {known[tuple(columns)]}"
                )
                name = str(item.name) if item.name else None
                yield project.at(columns[0], text, item=name)
            known.setdefault(tuple(columns), "another unique constraint")
        for index in indexes_of(table):
            found = simple_columns(index)
            if index.unique and found and tuple(found) in known:
                yield at_index(
                    project, index, f"the unique index {index.name} repeats {known[tuple(found)]}"
                )


RULE = Rule(
    name="redundant-unique",
    severity="warning",
    family="indexes",
    title="Unique twice over the same columns",
    why="PostgreSQL keeps one index for each: every INSERT checks and writes both.",
    fix="Remove unique=True from the key, or one of the two constraints.",
    url=f"{POSTGRES}/indexes-unique.html",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (Index("uq_number", "number", unique=True),)  # found

    id: Mapped[int] = mapped_column(primary_key=True, unique=True)  # found
    number: Mapped[str] = mapped_column(unique=True)
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
        UniqueConstraint("id", "tenant_id"),
        UniqueConstraint("tenant_id", "number"),
        UniqueConstraint("number", "tenant_id"),
        Index("uq_live", "number", unique=True, postgresql_where=text("is_live")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    number: Mapped[str]
    is_live: Mapped[bool]
""",
)
