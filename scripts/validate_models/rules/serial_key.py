"""A serial key where identity would do."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule, sql_type


def check(project: Project) -> Iterator[Hit]:
    """Keys that SQLAlchemy makes SERIAL."""
    for table in project.tables:
        column = table.autoincrement_column
        if column is None or column.identity is not None or column.default is not None:
            continue
        if column.server_default is None and sql_type(column).endswith(("INT", "INTEGER")):
            yield project.at(column, "the key is made serial, which takes any number that is given")


RULE = Rule(
    name="serial-key",
    severity="info",
    family="keys",
    title="A serial key",
    why="A row that is inserted with a number of its own is taken, and the sequence reaches "
    "that number later: duplicate key. The sequence also has rights and an owner of its own.",
    fix="    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)",
    url=f"{POSTGRES}/ddl-identity-columns.html",
    check=check,
    default=False,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
""",
)
