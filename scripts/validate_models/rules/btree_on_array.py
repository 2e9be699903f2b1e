"""A B-tree over an array or a document."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Column

from ..core import POSTGRES, Hit, Project, Rule, option, sql_type
from ._indexes import at_index, indexes_of, is_btree


def container(kind: str) -> str | None:
    """What to call a type that is searched by what it contains; None for any other."""
    if kind.endswith("]"):
        return "an array"
    return {"JSONB": "jsonb", "JSON": "json", "TSVECTOR": "tsvector"}.get(kind)


def check(project: Project) -> Iterator[Hit]:
    """B-trees that no containment search can use; a unique one keeps rows apart, and is meant."""
    for table in project.tables:
        for index in indexes_of(table):
            if index.unique or not is_btree(index) or option(index, "ops") is not None:
                continue
            for item in index.expressions:
                kind = container(sql_type(item)) if isinstance(item, Column) else None
                if isinstance(item, Column) and kind:
                    yield at_index(project, index, f"{index.name} is a B-tree over {kind}")
                    break


RULE = Rule(
    name="btree-on-array",
    severity="warning",
    family="indexes",
    title="A B-tree over an array or a document",
    why="A B-tree compares whole values: @>, &&, ? and @@ never use it, and a value of more than "
    "2704 bytes is refused by INSERT. Over json CREATE INDEX itself fails.",
    fix="    Index('ix_tickets_labels', 'labels', postgresql_using='gin')",
    url=f"{POSTGRES}/gin.html",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    labels: Mapped[list[str]] = mapped_column(ARRAY(Text), index=True)  # found
    extra: Mapped[dict[str, Any]] = mapped_column(JSONB, index=True)  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (Index(None, "labels", postgresql_using="gin"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    labels: Mapped[list[str]] = mapped_column(ARRAY(Text))
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (
        Index("ix_tickets_kind", text("(extra ->> 'kind')")),
        UniqueConstraint("labels"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    labels: Mapped[list[str]] = mapped_column(ARRAY(Text))
    extra: Mapped[dict[str, Any]] = mapped_column(JSONB)
""",
)
