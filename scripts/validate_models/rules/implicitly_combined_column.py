"""One attribute over the columns of two tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column
from sqlalchemy.orm import ColumnProperty

from ..core import DOCS, Hit, Project, Rule, label, resolved

EXPLICIT = re.compile(r"column_property")


def linked(columns: list[Column[Any]]) -> bool:
    """Whether each column but one refers to another of them: the key of joined inheritance."""
    free = [
        column
        for column in columns
        if not any(resolved(key) in columns for key in column.foreign_keys)
    ]
    return len(free) <= 1


def check(project: Project) -> Iterator[Hit]:
    """Attributes of a joined subclass that also write a column of the same name in the base."""
    for mapper in project.mappers:
        if mapper.inherits is None or mapper.concrete:
            continue
        for prop in mapper.column_attrs:
            if not isinstance(prop, ColumnProperty) or prop.parent is not mapper:
                continue
            columns = [column for column in prop.columns if isinstance(column, Column)]
            tables = {column.table for column in columns}
            source = project.source_of(mapper, prop.key)
            if len(tables) < 2 or linked(columns) or not source or EXPLICIT.search(source):
                continue
            names = " and ".join(f"{column.table.name}.{column.name}" for column in columns[:2])
            yield Hit(
                f"{label(mapper, prop.key)} writes {names}", mapper=mapper, attribute=prop.key
            )


RULE = Rule(
    name="implicitly-combined-column",
    severity="warning",
    family="inheritance",
    title="A subclass's column has the name of one in the base's table",
    why="One attribute then stands for both: every INSERT and UPDATE writes the value into the two "
    "tables, and what stands in the base's is never read. SQLAlchemy warns: implicitly combining.",
    fix="Leave it out of the subclass, or give it a name and an attribute of its own.",
    url=f"{DOCS}/orm/inheritance.html#joined-table-inheritance",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    note: Mapped[str | None]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "ticket"}


class Incident(Ticket):
    __tablename__ = "incidents"

    id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), primary_key=True)
    note: Mapped[str | None]  # found
    __mapper_args__ = {"polymorphic_identity": "incident"}
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    note: Mapped[str | None]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "ticket"}


class Incident(Ticket):
    __tablename__ = "incidents"

    id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), primary_key=True)
    cause: Mapped[str | None]
    __mapper_args__ = {"polymorphic_identity": "incident"}
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    made_at: Mapped[datetime]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "ticket"}


class Incident(Ticket):
    __tablename__ = "incidents"

    id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), primary_key=True)
    started_at: Mapped[datetime] = mapped_column("made_at")
    __mapper_args__ = {"polymorphic_identity": "incident"}
""",
)
