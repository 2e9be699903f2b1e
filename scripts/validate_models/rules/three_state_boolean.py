"""A boolean that may be NULL without anybody having said so."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule, sql_type
from ._annotations import annotation_of

MEANT = re.compile(r"nullable\s*=\s*True")


def check(project: Project) -> Iterator[Hit]:
    """Nullable booleans whose annotation and arguments do not say nullable."""
    for table, column in project.columns():
        if not column.nullable or sql_type(column) != "BOOLEAN" or column.computed is not None:
            continue
        mapper, key = project.owner(table, column)
        if mapper is not None and mapper.single:
            continue
        if mapper is not None and key is not None:
            known = annotation_of(mapper, key)
            if known is not None and known.optional is not False:
                continue
            if MEANT.search(project.source_of(mapper, key) or "nullable=True"):
                continue
        elif column._user_defined_nullable is True:
            continue
        yield project.at(column, "the boolean may be NULL, and nothing says that this is meant")


RULE = Rule(
    name="three-state-boolean",
    severity="warning",
    family="types",
    title="A boolean has a third state",
    why="Column() is nullable by default: a row whose flag is NULL is found neither by "
    "where(flag) nor by where(~flag). default= fills only what the ORM inserts without a value.",
    fix="    Column(Boolean, nullable=False, server_default=text('false'))\n"
    "or Mapped[bool]. Where three states are meant: Mapped[bool | None].",
    url=f"{POSTGRES}/functions-logical.html",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    is_public = Column(Boolean, default=False)  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    is_public: Mapped[bool] = mapped_column(default=False)
    is_open = Column(Boolean, nullable=False, server_default=text("true"))
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    was_helpful: Mapped[bool | None]
    was_solved: Mapped[Optional[bool]] = mapped_column(default=None)
    was_answered = Column(Boolean, nullable=True)
""",
)
