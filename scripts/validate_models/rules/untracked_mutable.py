"""A list or a dict whose changes in place are not seen."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import ARRAY, JSON, Column, PickleType
from sqlalchemy.dialects.postgresql import HSTORE
from sqlalchemy.orm import ColumnProperty

from ..core import DOCS, Hit, Project, Rule
from ._values import is_tracked


def check(project: Project) -> Iterator[Hit]:
    """Columns of documents and arrays without a Mutable type."""
    for mapper in project.mappers:
        for prop in mapper.column_attrs:
            if not isinstance(prop, ColumnProperty) or prop.parent is not mapper:
                continue
            column = prop.columns[0]
            if not isinstance(column, Column) or column.computed is not None:
                continue
            kinds = (ARRAY, JSON, HSTORE, PickleType)
            if isinstance(column.type, kinds) and not is_tracked(mapper, prop.key):
                text = f"a change within {prop.key} is not written"
                yield Hit(text, mapper=mapper, attribute=prop.key)


RULE = Rule(
    name="untracked-mutable",
    severity="info",
    family="types",
    title="A document or an array without change tracking",
    why="ticket.extra['seen'] = True changes the object and nothing else: the flush writes no "
    "UPDATE. Where such values are only ever assigned as a whole, nothing is lost.",
    fix="    extra: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSONB))\nor "
    "assign a new value.",
    url=f"{DOCS}/orm/extensions/mutable.html",
    check=check,
    default=False,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    extra: Mapped[dict[str, Any]] = mapped_column(JSONB)  # found
    labels: Mapped[list[str]] = mapped_column(ARRAY(Text))  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    extra: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSONB))
""",
)
