"""A table whose rows may be empty."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule


def check(project: Project) -> Iterator[Hit]:
    """Tables of three columns and more whose every column but the key may be NULL."""
    for table in project.tables:
        columns = [column for column in table.columns if not column.primary_key]
        if len(columns) >= 3 and all(column.nullable for column in columns):
            mapper = project.owners.get(table)
            yield Hit(f"a row of {table.name} may hold nothing", mapper=mapper, table=table)


RULE = Rule(
    name="all-nullable-table",
    severity="info",
    family="design",
    title="Every column may be NULL",
    why="Column() is nullable by default: mostly nobody has decided. Each reader must then "
    "expect None everywhere.",
    fix="nullable=False, or Mapped[str], where a row has no sense without it.",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-NOT-NULL",
    check=check,
    default=False,
    bad="""
class Ticket(Base):  # found
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    title = Column(Text)
    body = Column(Text)
    kind = Column(Text)
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    body: Mapped[str | None]
    kind: Mapped[str | None]
""",
)
