"""A delete cascade from the child to its parent."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Table

from ..core import DOCS, Hit, Project, Rule, unique_sets
from ._cascades import MANYTOONE


def check(project: Project) -> Iterator[Hit]:
    """Many-to-one that delete their parent; a unique key or single_parent makes it one-to-one."""
    for mapper, prop in project.relationships():
        if prop.direction is not MANYTOONE or not prop.cascade.delete or prop.single_parent:
            continue
        local = set(prop.local_columns)
        tables = {column.table for column in local}
        if any(
            unique and unique <= local
            for table in tables
            if isinstance(table, Table)
            for unique in unique_sets(table)
        ):
            continue
        parent = prop.mapper.class_.__name__
        yield Hit(
            f"deleting one {mapper.class_.__name__} deletes its {parent}, which others share",
            mapper=mapper,
            attribute=prop.key,
        )


RULE = Rule(
    name="many-to-one-delete-cascade",
    severity="error",
    family="cascades",
    title="A delete cascade on a many-to-one",
    why="Deleting one child deletes the parent, and the parent's other children with it, or fails "
    "on their foreign keys. The cascade belongs to the collection.",
    fix="    comments: Mapped[list[Comment]] = relationship(cascade='all, delete-orphan')",
    url=f"{DOCS}/orm/cascades.html#delete",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), index=True)
    ticket: Mapped[Ticket] = relationship(cascade="all")  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), index=True)
    ticket: Mapped[Ticket] = relationship(lazy="raise")
""",
    near_miss="""
class Address(Base):
    __tablename__ = "addresses"

    id: Mapped[int] = mapped_column(primary_key=True)


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    address_id: Mapped[int] = mapped_column(ForeignKey("addresses.id"), unique=True)
    address: Mapped[Address] = relationship(
        cascade="all", lazy="raise", foreign_keys=address_id
    )
    second_id: Mapped[int] = mapped_column(ForeignKey("addresses.id"), index=True)
    second: Mapped[Address] = relationship(
        cascade="all, delete-orphan", single_parent=True, lazy="raise", foreign_keys=second_id
    )
""",
)
