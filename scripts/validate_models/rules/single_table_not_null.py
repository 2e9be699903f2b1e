"""A NOT NULL column that only one class of a shared table fills."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper

from ..core import DOCS, Hit, Project, Rule


def has(mapper: Mapper[Any], column: Column[Any]) -> bool:
    """Whether *mapper* maps *column*."""
    try:
        mapper.get_property_by_column(column)
    except SQLAlchemyError:
        return False
    return True


def without_value(table: Table) -> list[Column[Any]]:
    """The columns of *table* to which an INSERT must give a value."""
    return [
        column
        for column in table.columns
        if not column.nullable
        and not column.primary_key
        and column.default is None
        and column.server_default is None
    ]


def check(project: Project) -> Iterator[Hit]:
    """Columns that some concrete class of their table lacks, so that it cannot be inserted."""
    for table, base in project.owners.items():
        if base.polymorphic_on is None or base.inherits is not None:
            continue
        members = [
            mapper
            for mapper in base.self_and_descendants
            if mapper.polymorphic_identity is not None and not mapper.concrete
        ]
        for column in without_value(table):
            lacking = [mapper for mapper in members if not has(mapper, column)]
            if lacking and len(lacking) < len(members):
                name = min(mapper.class_.__name__ for mapper in lacking)
                yield project.at(column, f"no {name} can be inserted: it has no {column.name}")


RULE = Rule(
    name="single-table-not-null",
    severity="error",
    family="inheritance",
    title="Single-table inheritance with a NOT NULL column of a subclass",
    why="All classes share the table, and the others insert NULL there: null value violates the "
    "not-null constraint. Mapped[str] in a subclass is NOT NULL.",
    fix="    cause: Mapped[str] = mapped_column(nullable=True)\n"
    "and CheckConstraint(\"kind <> 'incident' OR cause IS NOT NULL\"), if it must be there.",
    url=f"{DOCS}/orm/inheritance.html#single-table-inheritance",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "ticket"}


class Incident(Ticket):
    cause: Mapped[str]  # found
    __mapper_args__ = {"polymorphic_identity": "incident"}
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "ticket"}


class Incident(Ticket):
    cause: Mapped[str] = mapped_column(nullable=True)
    __mapper_args__ = {"polymorphic_identity": "incident"}
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_abstract": True}


class Incident(Ticket):
    cause: Mapped[str] = mapped_column(use_existing_column=True)
    impact: Mapped[str] = mapped_column(server_default="low")
    __mapper_args__ = {"polymorphic_identity": "incident"}


class Problem(Ticket):
    cause: Mapped[str] = mapped_column(use_existing_column=True)
    __mapper_args__ = {"polymorphic_identity": "problem"}


class Question(Ticket):
    __tablename__ = "questions"

    id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), primary_key=True)
    answer: Mapped[str]
    __mapper_args__ = {"polymorphic_abstract": True}
""",
)
