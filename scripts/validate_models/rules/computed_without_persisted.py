"""A generated column that 2.0 stores and 2.1 does not."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Column, Table

from ..core import DOCS, Hit, Project, Rule


def indexed(table: Table) -> set[Column[object]]:
    """The columns that an index, a key or a constraint of *table* is over."""
    found = {column for index in table.indexes for column in index.columns}
    for constraint in table.constraints:
        kind = type(constraint).__name__
        if kind in {"UniqueConstraint", "PrimaryKeyConstraint", "ExcludeConstraint"}:
            found |= set(getattr(constraint, "columns", ()))
    return found


def check(project: Project) -> Iterator[Hit]:
    """Computed() that leaves it to the versions, and indexes over what is not stored."""
    for table in project.tables:
        computed = [column for column in table.columns if column.computed is not None]
        keys = indexed(table) if computed else set()
        for column in computed:
            persisted = column.computed.persisted if column.computed is not None else True
            if persisted:
                continue
            if persisted is False and column in keys:
                yield project.at(
                    column, "PostgreSQL indexes no virtual generated column", severity="error"
                )
            elif persisted is None:
                index = ", and refuses its index" if column in keys else ""
                yield project.at(column, f"2.0 stores it; 2.1 on PostgreSQL 18 does not{index}")


RULE = Rule(
    name="computed-without-persisted",
    severity="warning",
    family="upgrading",
    title="Computed() without persisted",
    why="With 2.0 the column is STORED; with 2.1 and PostgreSQL 18 it is VIRTUAL: computed at each "
    "read, and CREATE INDEX over it fails. Migrations of both differ in silence.",
    fix="    Computed('price * quantity', persisted=True)",
    url=f"{DOCS}/changelog/migration_21.html",
    check=check,
    bad="""
class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[int]
    total: Mapped[int] = mapped_column(Computed("price * 2"))  # found
    tax: Mapped[int] = mapped_column(Computed("price / 5"), index=True)  # found
""",
    good="""
class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[int]
    total: Mapped[int] = mapped_column(Computed("price * 2", persisted=True))
    tax: Mapped[int] = mapped_column(Computed("price / 5", persisted=True), index=True)
""",
    near_miss="""
class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[int]
    total: Mapped[int] = mapped_column(Computed("price * 2", persisted=False))
""",
)
