"""Deleting a parent through the ORM sets a NOT NULL foreign key to NULL."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule, label
from ._cascades import ONETOMANY, child_columns


def check(project: Project) -> Iterator[Hit]:
    """Collections that the ORM would detach from a parent that is deleted."""
    for mapper, prop in project.relationships():
        if prop.direction is not ONETOMANY or prop.viewonly or prop.passive_deletes:
            continue
        held = [column for column in child_columns(prop) if not column.nullable]
        if held and not prop.cascade.delete:
            name = label(prop.mapper, held[0].name)
            yield Hit(
                f"deleting a {mapper.class_.__name__} that has some sets {name} to NULL, "
                "which is NOT NULL",
                mapper=mapper,
                attribute=prop.key,
            )


RULE = Rule(
    name="parent-delete-nulls-key",
    severity="warning",
    family="cascades",
    title="Deleting a parent sets a NOT NULL foreign key to NULL",
    why="Without a delete cascade and passive_deletes, session.delete(parent) first detaches the "
    "children by an UPDATE to NULL: IntegrityError, whatever ON DELETE says.",
    fix="Children that go with their parent:\n"
    "    relationship(cascade='all, delete-orphan', passive_deletes=True) with ondelete='CASCADE'\n"
    "Children that hold it:\n"
    "    relationship(passive_deletes='all') with ondelete='RESTRICT'",
    url=f"{DOCS}/orm/cascades.html#using-foreign-key-on-delete-cascade-with-orm-relationships",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    comments: Mapped[list["Comment"]] = relationship(back_populates="ticket")  # found


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), index=True)
    ticket: Mapped[Ticket] = relationship(back_populates="comments")
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
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    tickets: WriteOnlyMapped["Ticket"] = relationship(
        back_populates="creator", foreign_keys="Ticket.creator_id", passive_deletes="all"
    )
    assigned: Mapped[list["Ticket"]] = relationship(
        back_populates="assignee", foreign_keys="Ticket.assignee_id", lazy="raise"
    )
    recent: Mapped[list["Ticket"]] = relationship(
        foreign_keys="Ticket.creator_id", viewonly=True, lazy="raise"
    )


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    creator_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), index=True)
    assignee_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
    creator: Mapped[User] = relationship(
        back_populates="tickets", foreign_keys=creator_id, lazy="raise"
    )
    assignee: Mapped[User | None] = relationship(
        back_populates="assigned", foreign_keys=assignee_id, lazy="raise"
    )
    tenant: Mapped[str]
    comments: Mapped[list["Comment"]] = relationship(
        primaryjoin=lambda: and_(
            Ticket.id == foreign(Comment.ticket_id), Ticket.tenant == Comment.tenant
        ),
        back_populates="ticket",
        lazy="raise",
    )


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    ticket_id: Mapped[int | None] = mapped_column(
        ForeignKey("tickets.id", ondelete="SET NULL"), index=True
    )
    ticket: Mapped[Ticket | None] = relationship(
        primaryjoin=lambda: and_(
            foreign(Comment.ticket_id) == Ticket.id, Comment.tenant == Ticket.tenant
        ),
        back_populates="comments",
        lazy="raise",
    )
""",
)
