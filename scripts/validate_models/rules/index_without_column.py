"""An index over a text that was meant to be a column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Table
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import (
    BindParameter,
    Case,
    Cast,
    ClauseList,
    CollationClause,
    Extract,
    False_,
    Grouping,
    Label,
    Null,
    OperatorExpression,
    True_,
    Tuple,
    TypeCoerce,
)
from sqlalchemy.sql.functions import FunctionElement

from ..core import DOCS, Hit, Project, Rule
from ._indexes import at_index, indexes_of

# What names no column by itself.  text(), a column, a query, whatever else there is: may name one.
NAMELESS = (
    *(BindParameter, True_, False_, Null, FunctionElement, ClauseList, OperatorExpression),
    *(Case, Cast, CollationClause, Extract, Grouping, Label, Tuple, TypeCoerce),
)
LONGEST = 63  # a longer text is no name of a column


def text_instead(item: Any, table: Table) -> str | None:
    """A text in an expression over no column, one that is a column's name first; else None.

    Without a text it is a constant that is meant: one row alone may have true.
    """
    texts: list[str] = []
    for element in visitors.iterate(item):
        # A class of the user's may render any SQL.
        ours = type(element).__module__.startswith("sqlalchemy.")
        if not ours or not isinstance(element, NAMELESS):
            return None
        if isinstance(element, BindParameter) and isinstance(element.value, str):
            texts.append(element.value)
    return next((text for text in texts if text in table.columns), texts[0] if texts else None)


def check(project: Project) -> Iterator[Hit]:
    """Indexes with an expression over texts alone."""
    for table in project.tables:
        for index in indexes_of(table):
            found = (text_instead(item, table) for item in index.expressions)
            text = next((text for text in found if text is not None), None)
            if text is not None:
                yield at_index(
                    project,
                    index,
                    f"{index.name or 'an index'} has the text {text[:LONGEST]!r} for a column: "
                    "it is the same in every row",
                    severity=None if index.unique else "warning",
                )


RULE = Rule(
    name="index-without-column",
    severity="error",
    family="indexes",
    title="An index over a text instead of a column",
    why="func.lower('email') is the lower case of the word email: one value for all rows. Where "
    "the index is unique, the second INSERT is refused; where it is not (a warning), a query for "
    "the column reads the whole table.",
    fix="    Index('uq_users_email_lower', func.lower(text('email')), unique=True)\n"
    "or the column itself, in a class below its attribute: func.lower(email).",
    url=f"{DOCS}/core/constraints.html#functional-indexes",
    check=check,
    bad="""
class User(Base):
    __tablename__ = "users"
    __table_args__ = (
        Index("uq_users_email_lower", func.lower("email"), unique=True),  # found
        Index("ix_users_shown", func.coalesce("nickname", "name")),  # found
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    nickname: Mapped[str | None]
    name: Mapped[str]
""",
    good="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    nickname: Mapped[str | None] = mapped_column()
    name: Mapped[str] = mapped_column()

    __table_args__ = (
        Index("uq_users_email_lower", func.lower(text("email")), unique=True),
        Index("ix_users_shown", func.coalesce(nickname, name)),
    )
""",
    near_miss="""
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class Folded(FunctionElement[str]):
    inherit_cache = True


@compiles(Folded)
def _folded(element: Any, compiler: Any, **kw: Any) -> str:
    return f"lower({element.clauses.clauses[0].value})"


class User(Base):
    __tablename__ = "users"
    __table_args__ = (
        Index("ix_users_email", text("lower(email)")),
        Index("ix_users_email_name", func.lower(literal_column("email")), column("name")),
        Index("ix_users_shown", func.coalesce(text("nickname"), "nobody")),
        Index("ix_users_kind", func.lower(column("extra", JSONB)["kind"].astext)),
        Index("ix_users_name", desc("name")),
        Index("ix_users_folded", Folded("name")),
        Index("uq_users_one", cast(true(), Boolean), unique=True),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    nickname: Mapped[str | None]
    name: Mapped[str]
    extra: Mapped[dict[str, Any]] = mapped_column(JSONB)
""",
)
