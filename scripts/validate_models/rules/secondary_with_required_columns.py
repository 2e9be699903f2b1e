"""A ``secondary`` table with columns that the relationship cannot fill."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.orm import RelationshipProperty

from ..core import DOCS, Hit, Project, Rule, column_names


def left_empty(prop: RelationshipProperty[Any], table: Table) -> list[Column[Any]]:
    """The columns of *table* that must have a value, and get none when a link is added."""
    filled = {remote for _, remote in prop.synchronize_pairs}
    filled |= {remote for _, remote in prop.secondary_synchronize_pairs or ()}
    return [
        column
        for column in table.columns
        if column not in filled
        and not column.nullable
        and column.default is None
        and column.server_default is None
        and column is not table.autoincrement_column
    ]


def check(project: Project) -> Iterator[Hit]:
    """Many-to-many relationships, not only to read, whose every INSERT fails; a table once."""
    seen: set[Table] = set()
    for mapper, prop in project.relationships():
        table = prop.secondary
        if not isinstance(table, Table) or table in seen or prop.viewonly:
            continue
        empty = left_empty(prop, table)
        if empty:
            seen.add(table)
            yield Hit(
                f"adding to {prop.key} leaves {column_names(empty)} of {table.name} NULL",
                mapper=mapper,
                attribute=prop.key,
            )


RULE = Rule(
    name="secondary-with-required-columns",
    severity="warning",
    family="collections",
    title="A many-to-many over a table with columns of its own",
    why="The relationship writes the two foreign keys and nothing else: the first append() fails, "
    "null value violates the not-null constraint.",
    fix="A class for the links (association object), and this relationship with viewonly=True; or "
    "a default for the column.",
    url=f"{DOCS}/orm/basic_relationships.html#association-object",
    check=check,
    bad="""
class Membership(Base):
    __tablename__ = "memberships"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    team_id: Mapped[int] = mapped_column(ForeignKey("teams.id"), primary_key=True, index=True)
    role: Mapped[str]


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    teams: Mapped[list["Team"]] = relationship(secondary="memberships")  # found


class Team(Base):
    __tablename__ = "teams"

    id: Mapped[int] = mapped_column(primary_key=True)
""",
    good="""
class Membership(Base):
    __tablename__ = "memberships"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    team_id: Mapped[int] = mapped_column(ForeignKey("teams.id"), primary_key=True, index=True)
    role: Mapped[str]


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    teams: Mapped[list["Team"]] = relationship(secondary="memberships", viewonly=True, lazy="raise")


class Team(Base):
    __tablename__ = "teams"

    id: Mapped[int] = mapped_column(primary_key=True)
""",
    near_miss="""
links = Table(
    "links",
    Base.metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("team_id", ForeignKey("teams.id"), nullable=False, index=True),
    Column("note", Text),
    Column("role", Text, nullable=False, default="member"),
    Column("made_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("user_id", "team_id"),
)


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    teams: Mapped[list["Team"]] = relationship(secondary=links, lazy="raise")


class Team(Base):
    __tablename__ = "teams"

    id: Mapped[int] = mapped_column(primary_key=True)
""",
)
