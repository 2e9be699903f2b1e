"""``Mapped[str]`` over a column that takes NULL."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.orm import ColumnProperty

from ..core import DOCS, Hit, Project, Rule, label
from ._annotations import annotation_of


def check(project: Project) -> Iterator[Hit]:
    """Columns that are nullable though their resolved annotation allows no None."""
    for mapper in project.mappers:
        if mapper.single:
            continue  # a subclass in its base's table: the column is NULL for the others
        for prop in mapper.column_attrs:
            if not isinstance(prop, ColumnProperty) or prop.parent is not mapper:
                continue
            (column, *more) = prop.columns
            if more or column.table is not mapper.local_table or not column.nullable:
                continue
            if column.primary_key or column.computed is not None:
                continue
            known = annotation_of(mapper, prop.key)
            if known is not None and known.optional is False:
                yield Hit(
                    f"{label(mapper, prop.key)} is annotated without None, and the column is "
                    "nullable",
                    mapper=mapper,
                    attribute=prop.key,
                )


RULE = Rule(
    name="nullability-disagrees",
    severity="warning",
    family="relationships",
    title="The annotation allows no None, and the column does",
    why="nullable=True wins over Mapped[str]: rows hold NULL, and the type checker lets every use "
    "pass that fails on None.",
    fix="    title: Mapped[str | None]\nor leave nullable=True out.",
    url=f"{DOCS}/orm/declarative_tables.html#mapped-column-derives-the-datatype-and-nullability-"
    "from-the-mapped-annotation",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(nullable=True)  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    body: Mapped[str]
""",
    near_miss="""
Note = Annotated[str | None, mapped_column(Text)]
Maybe = Optional[str]


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    note: Mapped[Note]
    hint: Mapped[Maybe]
    # None until the flush, never in the database: the documentation has this form.
    number: Mapped[str | None] = mapped_column(nullable=False, server_default="new")

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "ticket"}


class Incident(Ticket):
    cause: Mapped[str] = mapped_column(nullable=True)

    __mapper_args__ = {"polymorphic_identity": "incident"}
""",
)
