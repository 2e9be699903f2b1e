"""A primary key of type numeric or float."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule, sql_type


def check(project: Project) -> Iterator[Hit]:
    """Sole keys of a type that is no integer, with nothing that fills them."""
    for table in project.tables:
        columns = list(table.primary_key.columns)
        if len(columns) != 1 or columns[0].foreign_keys or columns[0].autoincrement is False:
            continue
        (column,) = columns
        filled = column.default is not None or column.server_default is not None
        if not filled and sql_type(column).startswith(("NUMERIC", "FLOAT", "DOUBLE", "REAL")):
            yield project.at(column, "2.0 makes this key a serial integer, 2.1 fills it no more")


RULE = Rule(
    name="numeric-key",
    severity="warning",
    family="upgrading",
    title="A primary key of type numeric or float",
    why="SQLAlchemy 2.0 makes it SERIAL, an integer of four bytes whatever the model says; 2.1 "
    "makes the type that is written, and an INSERT without a value fails on NULL.",
    fix="    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)\n"
    "or autoincrement=False, where the number comes from elsewhere.",
    url=f"{DOCS}/changelog/migration_21.html",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[Decimal] = mapped_column(Numeric(20, 0), primary_key=True)  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[Decimal] = mapped_column(Numeric(20, 0), primary_key=True, autoincrement=False)
""",
)
