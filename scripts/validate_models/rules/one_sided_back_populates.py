"""``back_populates`` on one side alone."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.orm import RelationshipProperty

from ..core import DOCS, Hit, Project, Rule, label


def check(project: Project) -> Iterator[Hit]:
    """Relationships that another one names, and that do not name it back."""
    for mapper, prop in project.relationships():
        name = prop.back_populates
        if not isinstance(name, str) or prop.viewonly:
            continue
        other = prop.mapper.attrs.get(name)
        if not isinstance(other, RelationshipProperty) or other.viewonly:
            continue
        if other.back_populates is None and other.backref is None:
            yield Hit(
                f"{label(mapper, prop.key)} names {name} in back_populates, and {name} does not "
                "name it",
                mapper=other.parent,
                attribute=other.key,
            )


RULE = Rule(
    name="one-sided-back-populates",
    severity="warning",
    family="collections",
    title="back_populates on one side alone",
    why="It works from the side that has it: what is set on the other is not seen here until it is "
    "loaded anew. SQLAlchemy does not warn of it.",
    fix="back_populates on both, each with the name of the other.",
    url=f"{DOCS}/orm/backref.html",
    check=check,
    bad="""
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
    ticket: Mapped[Ticket] = relationship(lazy="raise")  # found
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
    comments: Mapped[list["Comment"]] = relationship(
        back_populates="ticket", viewonly=True, lazy="raise"
    )


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), index=True)
    ticket: Mapped[Ticket] = relationship(lazy="raise")
""",
)
