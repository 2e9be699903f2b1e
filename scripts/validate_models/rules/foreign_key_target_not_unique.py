"""A foreign key to columns that nothing keeps unique."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule, column_names, resolved, unique_sets


def check(project: Project) -> Iterator[Hit]:
    """Foreign keys whose targets are not exactly the columns of a key or a unique index."""
    for _, key in project.foreign_keys():
        columns = [column for element in key.elements if (column := resolved(element)) is not None]
        table = key.referred_table
        if table.info.get("is_view") or set(columns) in unique_sets(table):
            continue
        yield project.at(
            next(iter(key.columns)),
            f"nothing keeps {column_names(columns)} of {table.name} unique",
        )


RULE = Rule(
    name="foreign-key-target-not-unique",
    severity="error",
    family="keys",
    title="A foreign key to columns that are not unique",
    why="PostgreSQL refuses it: no unique constraint matches the columns. It must be exactly these "
    "columns: a part of a key, or a unique index over some of the rows, does not do.",
    fix="Refer to the primary key, or:  UniqueConstraint('tenant_id', 'number')  on the target.",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-FK",
    check=check,
    bad="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("users.name"), index=True)  # found
""",
    good="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("users.name"), index=True)
""",
    near_miss="""
class User(Base):
    __tablename__ = "users"
    __table_args__ = (
        UniqueConstraint("number", "tenant_id"),
        Index("uq_users_name", "name", unique=True),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    number: Mapped[int]
    name: Mapped[str]


class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "owner"], ["users.tenant_id", "users.number"]),
        Index(None, "tenant_id", "owner"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    owner: Mapped[int]
    name: Mapped[str] = mapped_column(ForeignKey("users.name"), index=True)
""",
)
