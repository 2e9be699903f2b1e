"""A hybrid whose class level raises."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import sqlalchemy

from ..core import DOCS, Hit, Project, Rule, label

SA_21 = tuple(int(part) for part in sqlalchemy.__version__.split(".")[:2]) >= (2, 1)
CALLS = 100_000  # an expression needs hundreds; a second ends one that has no end


class Endless(BaseException):
    """No Exception: a getter may catch those."""


def ask_class(cls: type, key: str) -> None:
    """Read *key* of *cls*.  Raises ``Endless``: a document or an array can be indexed for ever."""
    left = CALLS

    def count(_frame: FrameType, event: str, _what: Any) -> None:
        nonlocal left
        left -= event == "call"
        if left < 0:
            raise Endless

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        getattr(cls, key)
    finally:
        sys.setprofile(before)


def check(project: Project) -> Iterator[Hit]:
    """Hybrids that fail when the class is asked, as every ORM bulk statement does on 2.1."""
    if "sqlalchemy.ext.hybrid" not in sys.modules:
        return  # nobody has one
    from sqlalchemy.ext.hybrid import HybridExtensionType

    for mapper in project.mappers:
        for key, descriptor in mapper.all_orm_descriptors.items():
            if descriptor.extension_type is not HybridExtensionType.HYBRID_PROPERTY:
                continue
            if mapper.inherits and key in mapper.inherits.all_orm_descriptors:
                continue
            try:
                ask_class(mapper.class_, key)
            except AttributeError:
                continue  # swallowed by the bulk statements
            except Endless:
                said = "never ends"
            except Exception as error:
                said = f"raises {type(error).__name__}"
            else:
                continue
            yield Hit(
                f"{label(mapper, key)} {said} at class level",
                mapper=mapper,
                attribute=key,
                severity=None if SA_21 else "warning",
            )


RULE = Rule(
    name="python-only-hybrid",
    severity="error",
    family="relationships",
    title="A hybrid property that works on objects alone",
    why="On 2.1 every ORM bulk INSERT and UPDATE of the class asks all its hybrids at class level, "
    "and fails with this error, though the rows do not name it; a loop over a JSON or ARRAY column "
    "never ends there. In a query it fails on 2.0 too. One that raises AttributeError is not told: "
    "bulk statements pass over it, a query fails.",
    fix="A plain @property, or an expression for the class:\n"
    "    @is_long.inplace.expression\n    @classmethod\n"
    "    def _is_long_sql(cls) -> ColumnElement[bool]: ...",
    url=f"{DOCS}/orm/extensions/hybrid.html#defining-expression-behavior-distinct-from-attribute-"
    "behavior",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]

    @hybrid_property
    def is_long(self) -> bool:  # found
        return len(self.title) > 80
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]

    @property
    def is_long(self) -> bool:
        return len(self.title) > 80
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]

    @hybrid_property
    def is_long(self) -> bool:
        return len(self.title) > 80

    @is_long.inplace.expression
    @classmethod
    def _is_long_sql(cls) -> ColumnElement[bool]:
        return func.length(cls.title) > 80

    @hybrid_property
    def is_first(self) -> bool:
        return self.id == 1
""",
)
