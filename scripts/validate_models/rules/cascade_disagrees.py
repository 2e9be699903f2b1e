"""The ORM and the database do different things when a parent goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy.orm import RelationshipProperty

from ..core import DOCS, Hit, Project, Rule
from ._cascades import ONETOMANY, child_columns, foreign_key_of, on_delete

NEVER_LOADED = {"write_only", "dynamic"}


def check(project: Project) -> Iterator[Hit]:
    """Collections whose delete depends on whether the ORM or plain SQL deletes the parent."""
    for mapper, prop in project.relationships():
        # With passive_deletes="all" the ORM leaves them alone, loaded or not.
        if prop.direction is not ONETOMANY or prop.viewonly or prop.passive_deletes == "all":
            continue
        key = foreign_key_of(prop)
        message = disagreement(prop, on_delete(key)) if key is not None else None
        if message is not None:
            yield Hit(message, mapper=mapper, attribute=prop.key)


def disagreement(prop: RelationshipProperty[Any], action: str) -> str | None:
    """What the ORM and a foreign key with ON DELETE *action* do differently."""
    if prop.cascade.delete and action == "SET NULL" and not prop.passive_deletes:
        return "the ORM deletes the children, and the database keeps them with NULL"
    if prop.cascade.delete and action == "SET NULL" and prop.lazy not in NEVER_LOADED:
        return "the ORM deletes the children that are loaded, and the database keeps the others"
    if prop.cascade.delete or action != "CASCADE":
        return None
    optional = all(column.nullable for column in child_columns(prop))
    if not prop.passive_deletes and optional:
        return "the database deletes the children, and the ORM keeps them with NULL"
    if prop.passive_deletes and prop.lazy not in NEVER_LOADED:
        told = "the database deletes the children, and the ORM sets those that are loaded to NULL"
        return told if optional else f"{told}, and fails"
    return None


RULE = Rule(
    name="cascade-disagrees",
    severity="warning",
    family="cascades",
    title="The ORM and the database disagree on what goes with a parent",
    why="session.delete(parent) and delete(Parent), or psql, leave different rows behind; with "
    "passive_deletes=True it depends on what was loaded, too.",
    fix="Say the same on both sides:\n"
    "    ondelete='CASCADE' with cascade='all, delete-orphan', passive_deletes=True\n"
    "    ondelete='SET NULL' with passive_deletes=True and no delete cascade\n"
    "    ondelete='CASCADE' with passive_deletes='all', where the database alone deletes",
    url=f"{DOCS}/orm/cascades.html#using-foreign-key-on-delete-cascade-with-orm-relationships",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    comments: Mapped[list["Comment"]] = relationship(cascade="all, delete-orphan")  # found
    files: Mapped[list["File"]] = relationship()  # found
    links: Mapped[list["Link"]] = relationship(passive_deletes=True)  # found
    parts: Mapped[list["Part"]] = relationship(passive_deletes=True)  # found
    notes: Mapped[list["Note"]] = relationship(cascade="all", passive_deletes=True)  # found


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int | None] = mapped_column(
        ForeignKey("tickets.id", ondelete="SET NULL"), index=True
    )


class File(Base):
    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int | None] = mapped_column(
        ForeignKey("tickets.id", ondelete="CASCADE"), index=True
    )


class Link(Base):
    __tablename__ = "links"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int | None] = mapped_column(
        ForeignKey("tickets.id", ondelete="CASCADE"), index=True
    )


class Part(Base):
    __tablename__ = "parts"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), index=True)


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int | None] = mapped_column(
        ForeignKey("tickets.id", ondelete="SET NULL"), index=True
    )
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    comments: WriteOnlyMapped["Comment"] = relationship(
        back_populates="ticket", passive_deletes=True
    )


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int | None] = mapped_column(
        ForeignKey("tickets.id", ondelete="SET NULL"), index=True
    )
    ticket: Mapped[Ticket | None] = relationship(back_populates="comments", lazy="raise")
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    comments: WriteOnlyMapped["Comment"] = relationship(
        back_populates="ticket", cascade="all, delete-orphan", passive_deletes=True
    )
    files: Mapped[list["File"]] = relationship(
        back_populates="ticket", passive_deletes="all", lazy="raise"
    )
    links: WriteOnlyMapped["Link"] = relationship(back_populates="ticket", passive_deletes=True)


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int | None] = mapped_column(
        ForeignKey("tickets.id", ondelete="CASCADE"), index=True
    )
    ticket: Mapped[Ticket | None] = relationship(back_populates="comments", lazy="raise")


class File(Base):
    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), index=True)
    ticket: Mapped[Ticket] = relationship(back_populates="files", lazy="raise")


class Link(Base):
    __tablename__ = "links"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), index=True)
    ticket: Mapped[Ticket] = relationship(back_populates="links", lazy="raise")
""",
)
