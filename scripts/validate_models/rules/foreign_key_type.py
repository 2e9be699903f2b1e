"""A foreign key of another type than its target."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule, resolved, sql_type

FAMILIES = {
    "integer": ("SMALLINT", "INTEGER", "BIGINT", "SERIAL", "BIGSERIAL", "SMALLSERIAL"),
    "text": ("VARCHAR", "TEXT", "CHAR", "CITEXT"),
    "uuid": ("UUID",),
    "numeric": ("NUMERIC", "DECIMAL"),
    "date": ("DATE",),
    "timestamp": ("TIMESTAMP",),
    "bytea": ("BYTEA",),
    "boolean": ("BOOLEAN",),
}
WIDTHS = {"SMALLINT": 2, "INTEGER": 4, "BIGINT": 8, "SERIAL": 4, "BIGSERIAL": 8}


@functools.lru_cache(maxsize=4096)
def family(kind: str) -> str | None:
    """The family of a type; None for what is not known well enough to judge."""
    word = kind.partition("(")[0].partition(" ")[0]
    if kind.endswith("]"):
        return None
    return next((name for name, words in FAMILIES.items() if word in words), None)


def check(project: Project) -> Iterator[Hit]:
    """Pairs of columns that PostgreSQL cannot compare, or whose numbers do not fit."""
    for _, key in project.foreign_keys():
        for element in key.elements:
            target = resolved(element)
            column = element.parent
            if target is None or column is None:
                continue
            here, there = sql_type(column), sql_type(target)
            mine, other = family(here), family(there)
            if mine is None or other is None:
                continue
            where = f"{target.table.name}.{target.name}"
            comparable = {mine, other} <= {"integer", "numeric"}
            if mine != other and not comparable:
                yield project.at(
                    column, f"{here.lower()} refers to {where}, which is {there.lower()}"
                )
            elif WIDTHS.get(here, 8) < WIDTHS.get(there, 0):
                yield project.at(
                    column,
                    f"{here.lower()} refers to {where}, which is {there.lower()}: "
                    "its larger numbers do not fit",
                    severity="warning",
                )


RULE = Rule(
    name="foreign-key-type",
    severity="error",
    family="keys",
    title="A foreign key and its target have different types",
    why="PostgreSQL refuses a foreign key between types that it cannot compare: DatatypeMismatch "
    "at CREATE TABLE. A narrower integer is taken, and fails once the numbers grow.",
    fix="Leave the type out: mapped_column(ForeignKey('users.id')) takes that of the target.",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-FK",
    check=check,
    bad="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    creator_id: Mapped[str] = mapped_column(Text, ForeignKey("users.id"), index=True)  # found
    owner_id: Mapped[int] = mapped_column(Integer, ForeignKey("users.id"), index=True)  # found
""",
    good="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    creator_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
""",
    near_miss="""
class Country(Base):
    __tablename__ = "countries"

    code: Mapped[str] = mapped_column(String(4), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, unique=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    country: Mapped[str] = mapped_column(String(7), ForeignKey("countries.code"), index=True)
    origin: Mapped[str] = mapped_column(ForeignKey("countries.code"), index=True)
    number: Mapped[int] = mapped_column(BigInteger, ForeignKey("countries.number"), index=True)
""",
)
