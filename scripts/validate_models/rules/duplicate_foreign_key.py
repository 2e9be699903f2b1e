"""The same foreign key twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..core import POSTGRES, Hit, Project, Rule, column_names, resolved


def check(project: Project) -> Iterator[Hit]:
    """Foreign keys from the same columns to the same columns as another of their table."""
    seen: set[tuple[Any, ...]] = set()
    for table, key in project.foreign_keys():
        pairs = frozenset((element.parent, resolved(element)) for element in key.elements)
        if (table, pairs) in seen:
            name = key.name if isinstance(key.name, str) else None
            yield project.at(
                next(iter(key.columns)),
                f"{column_names(key.columns)} has two foreign keys to {key.referred_table.name}",
                item=name,
            )
        seen.add((table, pairs))


RULE = Rule(
    name="duplicate-foreign-key",
    severity="warning",
    family="keys",
    title="The same foreign key twice",
    why="PostgreSQL keeps both: each INSERT and each change of the key looks up the parent twice, "
    "and each DELETE of a parent looks for children twice. Their ON DELETE may differ.",
    fix="Remove ForeignKey() from the column, or the ForeignKeyConstraint.",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-FK",
    check=check,
    bad="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_owner_again"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)  # found
""",
    good="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
""",
    near_miss="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Agent(Base):
    __tablename__ = "agents"

    id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (ForeignKeyConstraint(["owner_id"], ["agents.id"]),)

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    creator_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
""",
)
