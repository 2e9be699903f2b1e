"""A table of one column."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule


def check(project: Project) -> Iterator[Hit]:
    """Tables with one column or none; those of joined inheritance too."""
    for table in project.tables:
        if len(table.columns) <= 1:
            mapper = project.owners.get(table)
            yield Hit(f"{table.name} has one column", mapper=mapper, table=table)


RULE = Rule(
    name="single-column-table",
    severity="info",
    family="design",
    title="A table of one column",
    why="A list of values may be an enumeration or a CHECK. As a joined subclass it costs a "
    "join in each query and holds nothing: single-table inheritance does the same without it.",
    fix="Leave the table out, or say in its comment what it is for.",
    url=f"{POSTGRES}/datatype-enum.html",
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

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
""",
)
