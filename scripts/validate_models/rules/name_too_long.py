"""A name that PostgreSQL cuts."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.schema import conv
from sqlalchemy.sql.elements import quoted_name

from ..core import POSTGRES, Hit, Project, Rule

BYTES = 63


def too_long(name: object) -> bool:
    """Whether *name*, as it was given, is longer; SQLAlchemy cuts those that it made itself."""
    # A name that a convention made is a conv, or a truncated label: legal at any length.
    given = isinstance(name, str) and type(name) in {str, quoted_name} and type(name) is not conv
    return given and len(str(name).encode()) > BYTES


def check(project: Project) -> Iterator[Hit]:
    """Tables, columns, indexes and constraints whose given name is too long."""
    for table in project.tables:
        mapper = project.owners.get(table)
        if too_long(table.name):
            yield Hit(f"{shown(table.name)} is the name of a table", mapper=mapper, table=table)
        for column in table.columns:
            if too_long(column.name):
                yield project.at(column, f"{shown(column.name)} is the name of a column")
        named: list[tuple[str, object]] = [("an index", index.name) for index in table.indexes]
        named += [("a constraint", item.name) for item in table.constraints]
        for kind, name in sorted((kind, str(name)) for kind, name in named if too_long(name)):
            yield Hit(f"{shown(name)} is the name of {kind}", mapper=mapper, table=table, item=name)


def shown(name: str) -> str:
    """The beginning of *name*, and its length in bytes."""
    return f"{name[:20]}… ({len(name.encode())} bytes)"


RULE = Rule(
    name="name-too-long",
    severity="error",
    family="names",
    title=f"A name of more than {BYTES} bytes",
    why="SQLAlchemy refuses it with IdentifierError; where the characters are few and the bytes "
    "many, PostgreSQL cuts it, and what looks for the whole name finds nothing.",
    fix="A shorter name. Names that a convention makes are cut by SQLAlchemy, and are right.",
    url=f"{POSTGRES}/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (
        Index(  # found
            "ix_tickets_that_are_neither_resolved_nor_closed_by_their_creation_time", "created_at"
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (Index("ix_tickets_created_at", "created_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets_of_customers_that_have_a_contract"

    id: Mapped[int] = mapped_column(primary_key=True)
    the_time_at_which_it_was_created: Mapped[datetime] = mapped_column(index=True, unique=True)
""",
)
