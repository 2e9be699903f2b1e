"""A class that SQLAlchemy cannot configure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper

from ..core import DOCS, Hit, Project, Rule, label


def guilty_attribute(project: Project, mapper: Mapper[Any], text: str) -> str | None:
    """The attribute that the message speaks of, or whose source has the name it misses."""
    name = re.escape(mapper.class_.__name__)
    match = re.search(rf"\b{name}\.(\w+)", text)
    if match and project.source_of(mapper, match[1]):
        return match[1]
    missing = re.search(r"expression '([^']+)'", text)
    for key in vars(mapper.class_) if missing else ():
        source = project.source_of(mapper, key)
        if missing and source and "relationship" in source and missing[1] in source:
            return str(key)
    return None


def check(project: Project) -> Iterator[Hit]:
    """The mappers that failed, each with its own error."""
    causes = [item for item in project.broken if isinstance(item[1], SQLAlchemyError)]
    # A bare AttributeError is what follows from another class that failed.
    for mapper, error in causes or project.broken:
        text = " ".join(str(error).split())
        yield Hit(
            f"{label(mapper)} cannot be configured: {text}",
            mapper=mapper,
            attribute=guilty_attribute(project, mapper, text),
        )


RULE = Rule(
    name="broken-mapper",
    severity="error",
    family="relationships",
    title="A mapper cannot be configured",
    why="The first query of any class, this one or another, raises InvalidRequestError. The other "
    "rules leave this class out: run again once it is mended.",
    fix="Mend what the message names: a class that is not imported, a missing foreign key, "
    "foreign_keys= where there are two, back_populates on both sides.",
    url=f"{DOCS}/orm/relationship_api.html",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    files: Mapped[list["Attachment"]] = relationship()  # found


class Tag(Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
""",
    good="""
class Tag(Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
""",
)
