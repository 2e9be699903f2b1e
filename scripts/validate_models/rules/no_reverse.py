"""A collection whose children do not know their parent."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule
from ._cascades import ONETOMANY


def check(project: Project) -> Iterator[Hit]:
    """One-to-many without a reverse, by back_populates or by backref."""
    for mapper, prop in project.relationships():
        if prop.direction is not ONETOMANY or prop.viewonly or not prop.uselist:
            continue
        if not prop._reverse_property:
            yield Hit(
                f"{prop.mapper.class_.__name__} has no relationship back",
                mapper=mapper,
                attribute=prop.key,
            )


RULE = Rule(
    name="no-reverse",
    severity="info",
    family="relationships",
    title="A collection without the way back",
    why="The child cannot be asked for its parent without a query, and an object that is added by "
    "its foreign key alone is missing from a collection that is loaded.",
    fix="A many-to-one on the child, and back_populates on both.",
    url=f"{DOCS}/orm/basic_relationships.html#one-to-many",
    check=check,
    default=False,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    comments: Mapped[list["Comment"]] = relationship(  # found
        cascade="all, delete-orphan", passive_deletes=True
    )


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), index=True)
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    comments: WriteOnlyMapped["Comment"] = relationship(
        back_populates="ticket", cascade="all, delete-orphan", passive_deletes=True
    )


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), index=True)
    ticket: Mapped[Ticket] = relationship(back_populates="comments", lazy="raise")
""",
    near_miss="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    updated_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), index=True)
    updated_by: Mapped[User | None] = relationship(lazy="raise")
""",
)
