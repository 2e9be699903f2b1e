"""One name, two types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sqlalchemy import Column

from ..core import POSTGRES, Hit, Project, Rule, sql_type
from .foreign_key_type import family

COMMON = {"id", "key", "value", "data", "type", "kind", "code", "number", "name", "version"}


def check(project: Project) -> Iterator[Hit]:
    """Columns whose type is of another family than most of the same name."""
    named: dict[str, list[Column[object]]] = {}
    for _, column in project.columns():
        if column.name not in COMMON and family(sql_type(column)):
            named.setdefault(column.name, []).append(column)
    for columns in named.values():
        families = Counter(family(sql_type(column)) for column in columns)
        if len(families) == 1:
            continue
        usual, _ = min(families.items(), key=lambda item: (-item[1], str(item[0])))
        model = next(column for column in columns if family(sql_type(column)) == usual)
        for column in columns:
            if family(sql_type(column)) != usual:
                here, there = sql_type(column).lower(), sql_type(model).lower()
                yield project.at(column, f"it is {here}, and {model.table.name} has it as {there}")


RULE = Rule(
    name="column-type-varies",
    severity="info",
    family="design",
    title="A name that has another type elsewhere",
    why="Who joins or compares the two gets an error, or a cast that no index serves.",
    fix="One type for one name, or another name.",
    url=f"{POSTGRES}/typeconv-oper.html",
    check=check,
    default=False,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    device_number: Mapped[int]


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    device_number: Mapped[int]


class File(Base):
    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    device_number: Mapped[str]  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    device_number: Mapped[int]


class File(Base):
    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    device_number: Mapped[int]
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    device_number: Mapped[int]
    code: Mapped[int]


class File(Base):
    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    device_number: Mapped[int] = mapped_column(SmallInteger)
    code: Mapped[str]
""",
)
