"""A shared table most of whose columns are one class's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper

from ..core import DOCS, Hit, Project, Rule

LEAST = 8


def has(mapper: Mapper[Any], column: Column[Any]) -> bool:
    """Whether *mapper* maps *column*."""
    try:
        mapper.get_property_by_column(column)
    except SQLAlchemyError:
        return False
    return True


def check(project: Project) -> Iterator[Hit]:
    """Single-table hierarchies whose base has less than half of the columns."""
    for table, base in project.owners.items():
        number = len(table.columns)
        if base.polymorphic_on is None or base.inherits is not None or number < LEAST:
            continue
        own = sum(has(base, column) for column in table.columns)
        if own * 2 < number:
            text = f"{number - own} of the {number} columns of {table.name} are NULL for most rows"
            yield Hit(text, mapper=base)


RULE = Rule(
    name="sparse-single-table",
    severity="info",
    family="inheritance",
    title="Single-table inheritance with many columns of subclasses",
    why="None of them can be NOT NULL without a CHECK, and every reader of the table sees all "
    "of them.",
    fix="Joined-table inheritance for the subclasses that have many, or JSONB for what only "
    "they need.",
    url=f"{DOCS}/orm/inheritance.html#joined-table-inheritance",
    check=check,
    default=False,
    bad="""
class Ticket(Base):  # found
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "ticket"}


class Incident(Ticket):
    cause: Mapped[str | None]
    impact: Mapped[str | None]
    service: Mapped[str | None]
    __mapper_args__ = {"polymorphic_identity": "incident"}


class Order(Ticket):
    item: Mapped[str | None]
    quantity: Mapped[int | None]
    carrier: Mapped[str | None]
    __mapper_args__ = {"polymorphic_identity": "order"}
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "ticket"}


class Incident(Ticket):
    __tablename__ = "incidents"

    id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), primary_key=True)
    cause: Mapped[str]
    impact: Mapped[str]
    service: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "incident"}
""",
)
