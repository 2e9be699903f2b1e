"""The ORM and the database do different things when a parent goes."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule
from ._cascades import ONETOMANY, child_columns, foreign_key_of, on_delete


def check(project: Project) -> Iterator[Hit]:
    """Collections whose delete depends on whether the ORM or plain SQL deletes the parent."""
    for mapper, prop in project.relationships():
        if prop.direction is not ONETOMANY or prop.viewonly or prop.passive_deletes:
            continue
        columns = child_columns(prop)
        key = foreign_key_of(columns)
        if key is None:
            continue
        if prop.cascade.delete and on_delete(key) == "SET NULL":
            message = "the ORM deletes the children, and the database keeps them with NULL"
        elif (
            not prop.cascade.delete
            and on_delete(key) == "CASCADE"
            and all(column.nullable for column in columns)
        ):
            message = "the database deletes the children, and the ORM keeps them with NULL"
        else:
            continue
        yield Hit(message, mapper=mapper, attribute=prop.key)


RULE = Rule(
    name="cascade-disagrees",
    severity="warning",
    family="cascades",
    title="The ORM and the database disagree on what goes with a parent",
    why="session.delete(parent) and delete(Parent), or psql, leave different rows behind.",
    fix="Say the same on both sides:\n"
    "    ondelete='CASCADE' with cascade='all, delete-orphan', passive_deletes=True\n"
    "    ondelete='SET NULL' with passive_deletes=True and no delete cascade",
    url=f"{DOCS}/orm/cascades.html#using-foreign-key-on-delete-cascade-with-orm-relationships",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    comments: Mapped[list["Comment"]] = relationship(cascade="all, delete-orphan")  # found
    files: Mapped[list["File"]] = relationship()  # found


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


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int | None] = mapped_column(
        ForeignKey("tickets.id", ondelete="CASCADE"), index=True
    )
    ticket: Mapped[Ticket | None] = relationship(back_populates="comments", lazy="raise")
""",
)
