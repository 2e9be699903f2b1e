"""A class whose objects are spread over many tables."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule

MOST = 2


def check(project: Project) -> Iterator[Hit]:
    """Joined-table inheritance over more than two tables."""
    for mapper in project.mappers:
        if mapper.concrete or mapper.single or mapper.inherits is None:
            continue
        tables = {each.local_table for each in mapper.iterate_to_root()}
        if len(tables) > MOST:
            text = f"each {mapper.class_.__name__} is a row in {len(tables)} tables"
            yield Hit(text, mapper=mapper)


RULE = Rule(
    name="deep-inheritance",
    severity="info",
    family="inheritance",
    title="Joined-table inheritance over more than two tables",
    why="Each query joins all of them, and each INSERT and DELETE is a statement for each, in "
    "order.",
    fix="Fewer levels: single-table inheritance for the lower ones, or a one-to-one to what "
    "only some have.",
    url=f"{DOCS}/orm/inheritance.html#joined-table-inheritance",
    check=check,
    default=False,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "ticket"}


class Incident(Ticket):
    __tablename__ = "incidents"

    id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), primary_key=True)
    cause: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "incident"}


class Outage(Incident):  # found
    __tablename__ = "outages"

    id: Mapped[int] = mapped_column(ForeignKey("incidents.id"), primary_key=True)
    service: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "outage"}
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
    __mapper_args__ = {"polymorphic_identity": "incident"}


class Outage(Incident):
    service: Mapped[str | None]
    __mapper_args__ = {"polymorphic_identity": "outage"}
""",
)
