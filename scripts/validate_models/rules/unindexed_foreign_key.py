"""A foreign key that no index begins with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Column, Table

from ..core import POSTGRES, Hit, Project, Rule, column_names, option, unique_sets
from ._indexes import keys_of

REFUSED = re.compile(r"\bindex\s*=\s*False\b")


def leading_columns(table: Table) -> Iterator[list[Column[Any]]]:
    """The plain columns that each key and each index of all rows begins with."""
    from sqlalchemy.dialects.postgresql import ExcludeConstraint  # --list-rules needs none of it

    for _, columns in keys_of(table):
        yield columns
    for index in table.indexes:
        where = option(index, "where")
        leading: list[Column[Any]] = []
        for item in index.expressions:
            column = item if isinstance(item, Column) else sorted_column(item)
            if column is None:
                break
            leading.append(column)
        if where is None or (leading and is_not_null(str(where), leading[0].name)):
            yield leading
    for constraint in table.constraints:
        if isinstance(constraint, ExcludeConstraint):
            yield list(constraint.columns)


def sorted_column(item: Any) -> Column[Any] | None:
    """The column of ``column.desc()``; None for an expression."""
    element = getattr(item, "element", None)
    return element if isinstance(element, Column) and hasattr(item, "modifier") else None


def is_not_null(where: str, name: str) -> bool:
    """Whether a partial index leaves out nothing but the NULLs of the foreign key itself."""
    pattern = rf'\(?\s*("?\w+"?\.)?"?{re.escape(name)}"?\s+IS\s+NOT\s+NULL\s*\)?'
    return re.fullmatch(pattern, where.strip(), re.I) is not None


def is_refused(project: Project, columns: Iterable[Column[Any]]) -> bool:
    """Whether the author wrote ``index=False`` at each of *columns*."""
    for column in columns:
        if column.index is not False:  # None, where nothing was said
            return False
        mapper, key = project.owner(column.table, column)
        source = project.source_of(mapper, key) if mapper is not None and key else None
        if source is not None and not REFUSED.search(source):
            return False  # a layer above, as SQLModel, says it of every column
    return True


def check(project: Project) -> Iterator[Hit]:
    """Foreign keys whose columns are not the first of any index, in any order."""
    for table, key in project.foreign_keys():
        columns = set(key.columns)
        if any(columns <= set(leading[: len(columns)]) for leading in leading_columns(table)):
            continue
        if any(found <= columns for found in unique_sets(table)):
            continue  # a part of it finds one row
        if is_refused(project, key.columns):
            continue
        first = next(iter(key.columns))
        yield project.at(
            first,
            f"no index begins with {column_names(key.columns)}, "
            f"which refers to {key.referred_table.name}",
        )


RULE = Rule(
    name="unindexed-foreign-key",
    severity="warning",
    family="indexes",
    title="A foreign key without an index",
    why="PostgreSQL indexes the key that is referred to, not the column that refers. Each DELETE "
    "of a parent, and each join from it, reads the whole table of children.",
    fix="    mapped_column(ForeignKey('users.id'), index=True)\n"
    "or an index that begins with the column. Where none is wanted, index=False says so, and the "
    "key is left alone.",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-FK",
    check=check,
    bad="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (
        Index("ix_live", "owner_id", postgresql_where=text("deleted_at IS NULL")),
        Index("ix_second", "deleted_at", "creator_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"))  # found
    creator_id: Mapped[int] = mapped_column(ForeignKey("users.id"))  # found
    deleted_at: Mapped[datetime | None]
""",
    good="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
""",
    near_miss="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (
        Index("ix_tickets_newest", "owner_id", text("created_at DESC")),
        Index("ix_assigned", "assignee_id", postgresql_where=text("assignee_id IS NOT NULL")),
        UniqueConstraint("creator_id", "created_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    assignee_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    creator_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]
    # There are five teams, and none is ever deleted.
    team_id: Mapped[int] = mapped_column(ForeignKey("teams.id"), index=False)


class Team(Base):
    __tablename__ = "teams"

    id: Mapped[int] = mapped_column(primary_key=True)


class Membership(Base):
    __tablename__ = "memberships"
    __table_args__ = (Index(None, "ticket_id"),)

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), primary_key=True)


class Part(Base):
    __tablename__ = "parts"
    __table_args__ = (
        ForeignKeyConstraint(
            ["member_ticket", "member_user"], ["memberships.ticket_id", "memberships.user_id"]
        ),
        Index(None, "member_user", "member_ticket", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    member_user: Mapped[int]
    member_ticket: Mapped[int]


class Detail(Base):
    __tablename__ = "details"
    __table_args__ = (
        ForeignKeyConstraint(
            ["member_user", "member_ticket"], ["memberships.user_id", "memberships.ticket_id"]
        ),
    )

    member_user: Mapped[int] = mapped_column(primary_key=True)
    member_ticket: Mapped[int]
""",
)
