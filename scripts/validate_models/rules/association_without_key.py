"""An association table that holds a link twice."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Table

from ..core import DOCS, Hit, Project, Rule, unique_sets


def check(project: Project) -> Iterator[Hit]:
    """Tables between two others that nothing keeps free of duplicates."""
    seen: set[Table] = set()
    for _, prop in project.relationships():
        table = prop.secondary
        if not isinstance(table, Table) or table in seen or table not in project.tables:
            continue
        seen.add(table)
        if not unique_sets(table) and not any(index.unique for index in table.indexes):
            yield Hit(f"{table.name} has no primary key", table=table)


RULE = Rule(
    name="association-without-key",
    severity="warning",
    family="keys",
    title="An association table without a primary key",
    why="The same link can be inserted twice; removing it through the collection then fails: "
    "StaleDataError, two rows matched where one was expected. Nothing indexes the links either.",
    fix="    Column('ticket_id', ForeignKey('tickets.id'), primary_key=True),\n"
    "    Column('tag_id', ForeignKey('tags.id'), primary_key=True, index=True)",
    url=f"{DOCS}/orm/basic_relationships.html#many-to-many",
    check=check,
    bad="""
ticket_tags = Table(  # found
    "ticket_tags",
    Base.metadata,
    Column("ticket_id", ForeignKey("tickets.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("tag_id", ForeignKey("tags.id", ondelete="CASCADE"), nullable=False, index=True),
)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    tags: Mapped[list["Tag"]] = relationship(secondary=ticket_tags)


class Tag(Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
""",
    good="""
ticket_tags = Table(
    "ticket_tags",
    Base.metadata,
    Column("ticket_id", ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True, index=True),
)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    tags: Mapped[list["Tag"]] = relationship(secondary=ticket_tags, lazy="raise")


class Tag(Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
""",
    near_miss="""
ticket_tags = Table(
    "ticket_tags",
    Base.metadata,
    Column("ticket_id", ForeignKey("tickets.id", ondelete="CASCADE"), nullable=False),
    Column("tag_id", ForeignKey("tags.id", ondelete="CASCADE"), nullable=False, index=True),
    UniqueConstraint("ticket_id", "tag_id"),
)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    tags: Mapped[list["Tag"]] = relationship(secondary=ticket_tags, lazy="raise")


class Tag(Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
""",
)
