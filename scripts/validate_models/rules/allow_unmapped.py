"""An annotation that SQLAlchemy passes over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_origin

from sqlalchemy.orm import Mapped

from ..core import DOCS, Hit, Project, Rule, label
from ._annotations import evaluate, raw_annotation


def check(project: Project) -> Iterator[Hit]:
    """Mapped attributes whose annotation is not Mapped, under ``__allow_unmapped__``."""
    for mapper in project.mappers:
        if not getattr(mapper.class_, "__allow_unmapped__", False):
            continue
        for prop in mapper.attrs:
            raw = raw_annotation(mapper.class_, prop.key)
            if raw is None or prop.parent is not mapper:
                continue
            found = evaluate(raw[0], raw[1]) if isinstance(raw[0], str) else raw[0]
            origin = get_origin(found)
            if found is None or (isinstance(origin, type) and issubclass(origin, Mapped)):
                continue
            yield Hit(
                f"{label(mapper, prop.key)} is annotated without Mapped[...]",
                mapper=mapper,
                attribute=prop.key,
            )


RULE = Rule(
    name="allow-unmapped",
    severity="info",
    family="annotations",
    title="__allow_unmapped__ hides annotations",
    why="SQLAlchemy reads neither the type nor whether None is allowed out of such an annotation: "
    "nothing checks that it is true.",
    fix="    title: Mapped[str] = mapped_column()\nand remove __allow_unmapped__.",
    url=f"{DOCS}/changelog/migration_20.html#migration-to-2-0-step-six-add-allow-unmapped-to-"
    "explicitly-typed-orm-models",
    check=check,
    default=False,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"
    __allow_unmapped__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    title: str = Column(Text, nullable=False)  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"
    __allow_unmapped__ = True

    id: Mapped[int] = mapped_column(primary_key=True)
    title = Column(Text, nullable=False)
    cached: dict[str, int] = {}
""",
)
