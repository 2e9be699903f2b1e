"""A delete cascade that loads what the database would delete anyway."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule
from ._cascades import ONETOMANY, foreign_key_of, on_delete

LOADED = {"joined", "selectin", "subquery", "immediate", False}  # together with the parent


def check(project: Project) -> Iterator[Hit]:
    """Delete cascades over ON DELETE CASCADE without passive_deletes."""
    for mapper, prop in project.relationships():
        if prop.direction is not ONETOMANY or prop.viewonly or prop.passive_deletes:
            continue
        if not prop.uselist or prop.lazy in LOADED:
            continue  # one row; or there anyway, and passive_deletes is for what is not
        if prop.mapper.dispatch.before_delete or prop.mapper.dispatch.after_delete:
            continue  # somebody listens to each
        key = foreign_key_of(prop)
        if key is not None and prop.cascade.delete and on_delete(key) == "CASCADE":
            yield Hit(
                f"deleting a {mapper.class_.__name__} loads every row of {prop.key} first",
                mapper=mapper,
                attribute=prop.key,
            )


RULE = Rule(
    name="missing-passive-deletes",
    severity="info",
    family="cascades",
    title="Children are loaded only to be deleted",
    why="The foreign key has ON DELETE CASCADE, and still session.delete(parent) selects all "
    "children and deletes them itself. Where an ORM event listens to that, it is left alone.",
    fix="    relationship(cascade='all, delete-orphan', passive_deletes=True)",
    url=f"{DOCS}/orm/cascades.html#using-foreign-key-on-delete-cascade-with-orm-relationships",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    comments: Mapped[list["Comment"]] = relationship(cascade="all, delete-orphan")  # found


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), index=True)
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    comments: Mapped[list["Comment"]] = relationship(
        back_populates="ticket", cascade="all, delete-orphan", passive_deletes=True, lazy="raise"
    )


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), index=True)
    ticket: Mapped[Ticket] = relationship(back_populates="comments", lazy="raise")
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    # The comments are loaded with their ticket; the summary is one row.
    comments: Mapped[list["Comment"]] = relationship(
        back_populates="ticket", lazy="selectin", cascade="all, delete-orphan"
    )
    summary: Mapped["Summary | None"] = relationship(
        back_populates="ticket", cascade="all, delete-orphan", lazy="raise"
    )


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), index=True)
    ticket: Mapped[Ticket] = relationship(back_populates="comments", lazy="raise")


class Summary(Base):
    __tablename__ = "summaries"

    ticket_id: Mapped[int] = mapped_column(
        ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True
    )
    ticket: Mapped[Ticket] = relationship(back_populates="summary", lazy="raise")


class Folder(Base):
    __tablename__ = "folders"

    id: Mapped[int] = mapped_column(primary_key=True)
    files: Mapped[list["File"]] = relationship(
        back_populates="folder", cascade="all, delete-orphan", lazy="raise"
    )


class File(Base):
    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    folder_id: Mapped[int] = mapped_column(ForeignKey("folders.id", ondelete="CASCADE"), index=True)
    folder: Mapped[Folder] = relationship(back_populates="files", lazy="raise")


@event.listens_for(File, "after_delete")
def remove_from_disk(mapper: Any, connection: Any, file: File) -> None: ...
""",
)
