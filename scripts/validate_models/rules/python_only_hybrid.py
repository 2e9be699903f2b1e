"""A hybrid whose class level raises."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy
from sqlalchemy.ext.hybrid import HybridExtensionType

from ..core import DOCS, Hit, Project, Rule, label

SA_21 = tuple(int(part) for part in sqlalchemy.__version__.split(".")[:2]) >= (2, 1)


def check(project: Project) -> Iterator[Hit]:
    """Hybrids that fail when the class is asked, as every ORM bulk statement does on 2.1."""
    for mapper in project.mappers:
        for key, descriptor in mapper.all_orm_descriptors.items():
            if descriptor.extension_type is not HybridExtensionType.HYBRID_PROPERTY:
                continue
            if mapper.inherits and key in mapper.inherits.all_orm_descriptors:
                continue
            try:
                getattr(mapper.class_, key)
            except AttributeError:
                continue  # swallowed by the bulk statements
            except Exception as error:
                yield Hit(
                    f"{label(mapper, key)} raises {type(error).__name__} at class level",
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
    "and fails with this error, though the rows do not name it. In a query it fails on 2.0 too.",
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
