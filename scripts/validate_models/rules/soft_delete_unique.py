"""A unique name that rows hold after they were deleted."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlalchemy import Column, Table, UniqueConstraint

from ..core import POSTGRES, Hit, Project, Rule
from ._indexes import at_index, indexes_of, names, simple_columns

DELETED = re.compile(r"(is_)?(deleted|removed|archived)(_(at|on))?")


def mark_of(table: Table) -> Column[object] | None:
    """The column that says that a row is deleted; None where there is none."""
    return next((column for column in table.columns if DELETED.fullmatch(column.name)), None)


def check(project: Project) -> Iterator[Hit]:
    """Unique constraints and indexes over all rows of tables with soft deletion."""
    for table in project.tables:
        mark = mark_of(table)
        if mark is None:
            continue
        constraints = [item for item in table.constraints if isinstance(item, UniqueConstraint)]
        for item in sorted(constraints, key=lambda each: each.columns.keys()):
            columns = list(item.columns)
            if columns and mark not in columns:
                name = str(item.name) if item.name else None
                text = f"a row that is {mark.name} still holds {names(columns)}"
                yield project.at(columns[0], text, item=name)
        for index in indexes_of(table):
            found = simple_columns(index)
            if index.unique and found and mark not in found:
                yield at_index(project, index, f"a row that is {mark.name} holds {names(found)}")


RULE = Rule(
    name="soft-delete-unique",
    severity="info",
    family="design",
    title="Unique over deleted rows too",
    why="After a soft deletion nobody can have the name or the address again: duplicate key, "
    "over a row that no query shows. Where it must stay taken for ever, that is right.",
    fix="    Index('uq_users_email', 'email', unique=True, postgresql_where=text('deleted_at IS "
    "NULL'))",
    url=f"{POSTGRES}/indexes-partial.html",
    check=check,
    default=False,
    bad="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    login: Mapped[str] = mapped_column(unique=True)  # found
    deleted_at: Mapped[datetime | None]
""",
    good="""
class User(Base):
    __tablename__ = "users"
    __table_args__ = (
        Index("uq_login", "login", unique=True, postgresql_where=text("deleted_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    login: Mapped[str]
    deleted_at: Mapped[datetime | None]
""",
)
