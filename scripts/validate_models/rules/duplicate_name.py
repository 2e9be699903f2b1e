"""Two things of one schema with one name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Enum,
    ForeignKeyConstraint,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    TypeDecorator,
    UniqueConstraint,
)

from ..core import POSTGRES, Hit, Project, Rule
from ._indexes import at_index, indexes_of

RELATIONS = (PrimaryKeyConstraint, UniqueConstraint)
PER_TABLE = (CheckConstraint, ForeignKeyConstraint)
Space = tuple[MetaData, str | None]


def named_of(table: Table) -> list[Any]:
    """The constraints and the indexes that have a name on every server, in a fixed order."""
    constraints = [item for item in table.constraints if isinstance(item.name, str)]
    constraints.sort(key=lambda item: (str(item.name), type(item).__name__))
    found = [*constraints, *indexes_of(table)]
    return [item for item in found if getattr(item, "_ddl_if", None) is None]


def enum_of(kind: Any) -> Enum | None:
    """The native enumeration that a column's type makes; None where it makes none."""
    while isinstance(kind, TypeDecorator):
        kind = kind.impl_instance
    kind = getattr(kind, "item_type", kind)
    if not isinstance(kind, Enum) or not kind.native_enum or not isinstance(kind.name, str):
        return None
    return kind if getattr(kind, "create_type", True) else None


def check(project: Project) -> Iterator[Hit]:
    """Names of indexes, keys and enumerations that their schema has already."""
    taken: dict[tuple[Space, str], str] = {}
    labels: dict[tuple[Space, str], tuple[Enum, str]] = {}
    for table in project.tables:
        taken.setdefault(((table.metadata, table.schema), table.name), f"the table {table.name}")
    for table in project.tables:
        space = (table.metadata, table.schema)
        for item in named_of(table):
            if isinstance(item, RELATIONS) or (isinstance(item, Index) and item.name):
                known = taken.setdefault((space, str(item.name)), f"something in {table.name}")
                mine = f"something in {table.name}"
                if known != mine or second_of(table, item):
                    where = known if known != mine else f"something else in {table.name}"
                    yield hit_at(project, table, item, f"{item.name} is the name of {where} too")
            elif isinstance(item, PER_TABLE) and second_of(table, item):
                yield hit_at(project, table, item, f"{table.name} has two constraints {item.name}")
        for column in table.columns:
            kind = enum_of(column.type)
            if kind is None:
                continue
            key = ((table.metadata, kind.schema or table.metadata.schema), str(kind.name))
            other, where = labels.setdefault(key, (kind, f"{table.name}.{column.name}"))
            if other.enums != kind.enums:
                yield project.at(
                    column, f"{where} has an enumeration {kind.name} too, with other labels"
                )


def second_of(table: Table, item: Any) -> bool:
    """Whether another constraint or index of the same table has that name, and comes first."""
    same = [each for each in named_of(table) if each.name == item.name]
    return same[0] is not item


def hit_at(project: Project, table: Table, item: Any, message: str) -> Hit:
    """A hit at an index or a constraint."""
    if isinstance(item, Index):
        return at_index(project, item, message)
    mapper = project.owners.get(table)
    return Hit(message, mapper=mapper, table=table, item=str(item.name))


RULE = Rule(
    name="duplicate-name",
    severity="error",
    family="names",
    title="Two things with one name",
    why="Indexes and keys share the names of a schema with its tables: CREATE raises 'relation "
    "already exists'. Of two enumerations with one name create_all() makes the first alone, and "
    "the labels of the other are refused.",
    fix="A name that holds the table's, best by a naming convention:\n"
    '    "ix": "ix_%(table_name)s_%(column_0_N_name)s"',
    url=f"{POSTGRES}/sql-createindex.html",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (Index("ix_made_at", "made_at"),)  # found

    id: Mapped[int] = mapped_column(primary_key=True)
    made_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(Enum("open", "closed", name="state"))  # found


class Comment(Base):
    __tablename__ = "comments"
    __table_args__ = (Index("ix_made_at", "made_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    made_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(Enum("draft", "sent", name="state"))
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    made_at: Mapped[datetime] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(Enum("open", "closed", name="ticket_state"))


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    made_at: Mapped[datetime] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(Enum("draft", "sent", name="comment_state"))
""",
    near_miss="""
from sqlalchemy.sql.elements import conv

State = Enum("open", "closed", name="state")


class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (
        CheckConstraint("id > 0", name=conv("positive")),
        Index("ix_made_at", "made_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    made_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(State)


class Comment(Base):
    __tablename__ = "comments"
    __table_args__ = (
        CheckConstraint("id > 0", name=conv("positive")),
        Index("ix_made_at", "made_at"),
        {"schema": "desk"},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    made_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(State)
    past: Mapped[str] = mapped_column(Enum("open", "closed", name="state"))
""",
)
