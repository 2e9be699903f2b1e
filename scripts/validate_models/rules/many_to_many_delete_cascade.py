"""A delete cascade over an association table."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule
from ._cascades import MANYTOMANY


def check(project: Project) -> Iterator[Hit]:
    """Many-to-many that delete what others share; single_parent says that nothing is shared."""
    for mapper, prop in project.relationships():
        if prop.direction is MANYTOMANY and prop.cascade.delete and not prop.single_parent:
            yield Hit(
                f"deleting a {mapper.class_.__name__} deletes each {prop.mapper.class_.__name__} "
                "of it, though others have it too",
                mapper=mapper,
                attribute=prop.key,
            )


RULE = Rule(
    name="many-to-many-delete-cascade",
    severity="error",
    family="cascades",
    title="A delete cascade on a many-to-many",
    why="The cascade deletes the far rows, not the links: they are gone for everybody. The links "
    "themselves are removed without any cascade.",
    fix="Leave the cascade out:  relationship(secondary=ticket_tags)",
    url=f"{DOCS}/orm/cascades.html#using-delete-cascade-with-many-to-many-relationships",
    check=check,
    bad="""
ticket_tags = Table(
    "ticket_tags",
    Base.metadata,
    Column("ticket_id", ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True, index=True),
)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    tags: Mapped[list["Tag"]] = relationship(secondary=ticket_tags, cascade="all, delete")  # found


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
ticket_files = Table(
    "ticket_files",
    Base.metadata,
    Column("ticket_id", ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True),
    Column("file_id", ForeignKey("files.id", ondelete="CASCADE"), primary_key=True, index=True),
)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    files: Mapped[list["File"]] = relationship(
        secondary=ticket_files, cascade="all, delete-orphan", single_parent=True, lazy="raise"
    )


class File(Base):
    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
""",
)
