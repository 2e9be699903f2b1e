"""``delete-orphan`` without ``delete``."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule


def check(project: Project) -> Iterator[Hit]:
    """Relationships whose cascade has the one and not the other."""
    for mapper, prop in project.relationships():
        if prop.cascade.delete_orphan and not prop.cascade.delete:
            yield Hit(
                f"{prop.key} has delete-orphan, and not delete", mapper=mapper, attribute=prop.key
            )


RULE = Rule(
    name="orphan-without-delete",
    severity="warning",
    family="collections",
    title="delete-orphan without delete",
    why="A child that is taken out of the collection is deleted; one whose parent is deleted gets "
    "a NULL key instead, or fails on it. SQLAlchemy warns of it when the class is made.",
    fix="    relationship(cascade='all, delete-orphan', passive_deletes=True)",
    url=f"{DOCS}/orm/cascades.html#delete-orphan",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    comments: Mapped[list["Comment"]] = relationship(  # found
        cascade="save-update, merge, delete-orphan"
    )


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int | None] = mapped_column(ForeignKey("tickets.id"), index=True)
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
)
