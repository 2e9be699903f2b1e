"""A subclass that its rows cannot name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy.orm import Mapper

from ..core import DOCS, Hit, Project, Rule, label


def check(project: Project) -> Iterator[Hit]:
    """Subclasses without an identity, or with that of another class of their hierarchy."""
    taken: dict[tuple[Mapper[Any], Any], Mapper[Any]] = {}
    for mapper in project.mappers:
        if mapper.polymorphic_on is None or mapper.concrete:
            continue
        identity = mapper.polymorphic_identity
        if identity is not None:
            other = taken.setdefault((mapper.base_mapper, identity), mapper)
            if other is not mapper:
                text = f"{label(mapper)} has the polymorphic_identity {identity!r} of"
                yield Hit(f"{text} {label(other)}", mapper=mapper)
        elif mapper.inherits is not None and is_last(mapper):
            yield Hit(f"{label(mapper)} has no polymorphic_identity", mapper=mapper)


def is_last(mapper: Mapper[Any]) -> bool:
    """Whether only objects of the class itself could have its rows."""
    return not mapper.polymorphic_abstract and len(list(mapper.self_and_descendants)) == 1


RULE = Rule(
    name="missing-polymorphic-identity",
    severity="warning",
    family="inheritance",
    title="A subclass without a polymorphic identity of its own",
    why="Its rows have no value in the discriminator: they fail where that is NOT NULL, and come "
    "back as objects of the base class where it is not. Where the declarative base has "
    "__mapper_args__, a subclass without its own takes its parent's identity: all the parent's "
    "rows come back as objects of the subclass.",
    fix="    __mapper_args__ = {'polymorphic_identity': 'incident'}\n"
    "or 'polymorphic_abstract': True, where only its subclasses have rows.",
    url=f"{DOCS}/orm/inheritance.html#building-deeper-hierarchies-with-polymorphic-abstract",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str | None]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "ticket"}


class Incident(Ticket):  # found
    pass


class Problem(Ticket):  # found
    __mapper_args__ = {"eager_defaults": True}
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str | None]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "ticket"}


class Incident(Ticket):
    __mapper_args__ = {"polymorphic_identity": "incident"}
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind"}


class Urgent(Ticket):
    __mapper_args__ = {"polymorphic_abstract": True}


class Incident(Urgent):
    __mapper_args__ = {"polymorphic_identity": "incident"}
""",
)
