"""An e-mail address that is unique to the letter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import CheckConstraint, Column, Table, TypeDecorator

from ..core import POSTGRES, Hit, Project, Rule, sql_type, unique_sets

EMAIL = re.compile(r"(^|_)e?_?mail(_address)?$", re.I)
# A text in quotes and a parameter: lower('email') is the word email, and no column.
VALUE = re.compile(r"'(?:[^']|'')*'|(?<!:):\w+")


def is_lowered(project: Project, table: Table, column: Column[Any]) -> bool:
    """Whether something else sees to it: a check, a unique index, a validator, a type."""
    mapper, key = project.owner(table, column)
    if mapper is not None and key is not None and key in mapper.validators:
        return True
    if isinstance(column.type, TypeDecorator) or getattr(column.type, "collation", None):
        return True
    texts = [str(item.sqltext) for item in table.constraints if isinstance(item, CheckConstraint)]
    unique = (index for index in table.indexes if index.unique)
    texts += [str(item) for index in unique for item in index.expressions]
    lowered = re.compile(rf"\b(lower|upper|casefold)\s*\([^)]*\b{re.escape(column.name)}\b", re.I)
    return any(lowered.search(VALUE.sub("''", text)) for text in texts)


def check(project: Project) -> Iterator[Hit]:
    """Unique e-mail columns of a type that tells A from a."""
    for table in project.tables:
        for column in table.columns:
            if not EMAIL.search(column.name) or not sql_type(column).startswith(
                ("VARCHAR", "TEXT")
            ):
                continue
            unique = any(column in found for found in unique_sets(table))
            if unique and not is_lowered(project, table, column):
                yield project.at(column, "Ann@x.org and ann@x.org are two different addresses")


RULE = Rule(
    name="email-unique-by-case",
    severity="warning",
    family="keys",
    title="An e-mail address is unique to the letter",
    why="UNIQUE compares letters: one person signs up twice, and signs in to one of two accounts.",
    fix="    Index('uq_users_email_lower', func.lower(text('email')), unique=True)\n"
    "or the type citext.",
    url=f"{POSTGRES}/indexes-expressional.html",
    check=check,
    bad="""
class User(Base):
    __tablename__ = "users"
    __table_args__ = (Index("ix_users_email_lower", func.lower(text("email"))),)

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)  # found
""",
    good="""
class User(Base):
    __tablename__ = "users"
    __table_args__ = (Index("uq_users_email_lower", func.lower(text("email")), unique=True),)

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
""",
    near_miss="""
class User(Base):
    __tablename__ = "users"
    __table_args__ = (CheckConstraint("email = lower(email)", name="email_lower"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    work_email: Mapped[str] = mapped_column(CITEXT, unique=True)
    old_email: Mapped[str] = mapped_column(unique=True)
    email_count: Mapped[str] = mapped_column(unique=True)

    @validates("old_email")
    def _lower(self, key: str, value: str) -> str:
        return value.lower()
""",
)
