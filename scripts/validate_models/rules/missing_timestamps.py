"""A table that does not say when its rows were made."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule, sql_type


def check(project: Project) -> Iterator[Hit]:
    """Tables with columns of their own and no timestamp that has a default."""
    for table in project.tables:
        own = [column for column in table.columns if not column.foreign_keys]
        if len(own) < 2:
            continue
        if not any(
            sql_type(column).startswith("TIMESTAMP") and (column.default or column.server_default)
            for column in own
        ):
            mapper = project.owners.get(table)
            yield Hit(f"no row of {table.name} says when it was made", mapper=mapper, table=table)


RULE = Rule(
    name="missing-timestamps",
    severity="info",
    family="design",
    title="A table without the time of its rows",
    why="The day that something went wrong nobody can tell which rows are from then. It cannot "
    "be added later for the rows that are there.",
    fix="    created_at: Mapped[datetime] = mapped_column(server_default=func.now())",
    url=f"{DOCS}/orm/declarative_mixins.html",
    check=check,
    default=False,
    bad="""
class Ticket(Base):  # found
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
""",
)
