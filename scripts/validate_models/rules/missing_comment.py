"""A table that says nothing of itself."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule


def check(project: Project) -> Iterator[Hit]:
    """Tables without a comment."""
    for table in project.tables:
        if not table.comment:
            mapper = project.owners.get(table)
            yield Hit(f"{table.name} has no comment", mapper=mapper, table=table)


RULE = Rule(
    name="missing-comment",
    severity="info",
    family="design",
    title="A table without a comment",
    why="Who reads the database, a report or a dump sees names alone: docstrings stay in Python.",
    fix="    __table_args__ = {'comment': 'What a customer asked, one row a request'}",
    url=f"{POSTGRES}/sql-comment.html",
    check=check,
    default=False,
    bad="""
class Ticket(Base):  # found
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = {"comment": "What a customer asked, one row a request"}

    id: Mapped[int] = mapped_column(primary_key=True)
""",
)
