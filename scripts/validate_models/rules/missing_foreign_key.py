"""A column that names a table and does not refer to it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Column, Table

from ..core import POSTGRES, Hit, Project, Rule, sql_type


def target_of(column: Column[object], tables: dict[str, Table]) -> Table | None:
    """The table that ``<name>_id`` names, where its key has the same type."""
    name, _, end = column.name.lower().rpartition("_")
    if end != "id" or not name:
        return None
    for plural in (name, f"{name}s", f"{name}es", f"{name[:-1]}ies"):
        table = tables.get(plural)
        if table is None:
            continue
        key = list(table.primary_key.columns)
        if len(key) == 1 and sql_type(key[0]) == sql_type(column):
            return table
    return None


def check(project: Project) -> Iterator[Hit]:
    """Columns named after a table of their metadata and schema, in no foreign key."""
    beside: dict[tuple[int, str | None], dict[str, Table]] = {}
    for table in project.tables:
        beside.setdefault((id(table.metadata), table.schema), {})[table.name.lower()] = table
    for table in project.tables:
        tables = beside[id(table.metadata), table.schema]
        for column in table.columns:
            name = column.name.removesuffix("_id")
            if column.foreign_keys or column.primary_key or f"{name}_type" in table.columns:
                continue
            target = target_of(column, tables)
            if target is not None:
                yield project.at(column, f"nothing keeps {column.name} to rows of {target.name}")


RULE = Rule(
    name="missing-foreign-key",
    severity="info",
    family="keys",
    title="A column that looks like a foreign key",
    why="PostgreSQL takes a number that no row has, and a DELETE leaves numbers of rows that "
    "are gone. It is a guess by the name: the column may hold the key of another system.",
    fix="    owner_id: Mapped[int] = mapped_column(ForeignKey('users.id'), index=True)",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-FK",
    check=check,
    default=False,
    bad="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(index=True)  # found
""",
    good="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
""",
    near_miss="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    request_id: Mapped[int]
    user_type: Mapped[str]
    user_id: Mapped[int]


class Import(Base):
    __tablename__ = "imports"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[str]
""",
)
