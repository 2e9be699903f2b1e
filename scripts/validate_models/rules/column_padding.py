"""Columns in an order that wastes room."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Enum, Table

from ..core import POSTGRES, Hit, Project, Rule, sql_type

LEAST = 8
SIZES = (
    ("TIMESTAMP", 8, 8),
    ("TIME WITHOUT", 8, 8),
    ("BIG", 8, 8),
    ("DOUBLE", 8, 8),
    ("FLOAT", 8, 8),
    ("MONEY", 8, 8),
    ("INTEGER", 4, 4),
    ("SERIAL", 4, 4),
    ("DATE", 4, 4),
    ("REAL", 4, 4),
    ("SMALL", 2, 2),
    ("BOOLEAN", 1, 1),
    ("UUID", 16, 1),
)


def padding(table: Table) -> int:
    """The bytes between the columns before the first whose length varies, each one filled."""
    at = waste = 0
    for column in table.columns:
        kind = sql_type(column)
        known = next((item for item in SIZES if kind.startswith(item[0])), None)
        if isinstance(column.type, Enum) and column.type.native_enum:
            known = ("", 4, 4)
        if known is None or kind.endswith(("]", "RANGE")):
            break
        gap = -at % known[2]
        at += gap + known[1]
        waste += gap
    return waste


def check(project: Project) -> Iterator[Hit]:
    """Tables that lose eight bytes a row and more."""
    for table in project.tables:
        waste = padding(table)
        if waste >= LEAST:
            text = f"each row of {table.name} has {waste} bytes of padding"
            yield Hit(text, mapper=project.owners.get(table), table=table)


RULE = Rule(
    name="column-padding",
    severity="info",
    family="design",
    title="An order of columns that wastes room",
    why="PostgreSQL puts a value of eight bytes at a multiple of eight: a boolean before a "
    "bigint takes eight bytes. It counts from hundreds of millions of rows on; changing it "
    "rewrites the table.",
    fix="The widest first: bigint and timestamps, then integer and date, smallint, boolean, text.",
    url=f"{POSTGRES}/storage-page-layout.html",
    check=check,
    default=False,
    bad="""
class Ticket(Base):  # found
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    is_open: Mapped[bool]
    owner: Mapped[int]
    is_paid: Mapped[bool]
    price: Mapped[int]
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[int]
    price: Mapped[int]
    is_open: Mapped[bool]
    is_paid: Mapped[bool]
""",
)
