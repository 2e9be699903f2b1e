"""The same index twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule
from ._indexes import at_index, definition, indexes_of


def check(project: Project) -> Iterator[Hit]:
    """Indexes whose DDL differs by the name alone."""
    for table in project.tables:
        seen: dict[str, str] = {}
        # Only one with as many columns as another may be the same.
        lengths = Counter(len(index.expressions) for index in table.indexes)
        for index in indexes_of(table):
            if lengths[len(index.expressions)] == 1:
                continue
            text = definition(index)
            # One name twice is more than a waste, and duplicate-name tells of it.
            if text in seen and seen[text] != str(index.name):
                yield at_index(project, index, f"{index.name} is the same index as {seen[text]}")
            seen.setdefault(text, str(index.name))


RULE = Rule(
    name="duplicate-index",
    severity="warning",
    family="indexes",
    title="The same index twice",
    why="Every INSERT writes both, both take room in memory, and queries use one.",
    fix="Remove one: index=True, or the Index in __table_args__.",
    url=f"{POSTGRES}/indexes-intro.html",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (Index("ix_title_again", "title"),)  # found

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(index=True)
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(index=True)
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (
        Index("ix_tickets_title_live", "title", postgresql_where=text("deleted_at IS NULL")),
        Index("ix_tickets_title_lower", func.lower(text("title"))),
        Index("ix_tickets_title_pattern", "title", postgresql_ops={"title": "text_pattern_ops"}),
        Index("ix_tickets_title_hash", "title", postgresql_using="hash"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(index=True)
    deleted_at: Mapped[datetime | None]
""",
)
