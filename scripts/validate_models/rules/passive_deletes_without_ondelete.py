"""``passive_deletes=True`` with nothing in the database to lean on."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule
from ._cascades import ONETOMANY, foreign_key_of, on_delete


def check(project: Project) -> Iterator[Hit]:
    """Collections that the ORM leaves to a database which does nothing."""
    for mapper, prop in project.relationships():
        # passive_deletes="all" says that the parent is held: that is a RESTRICT, and meant.
        if prop.direction is not ONETOMANY or prop.viewonly or prop.passive_deletes is not True:
            continue
        key = foreign_key_of(prop)
        if key is not None and on_delete(key) in {"NO ACTION", "RESTRICT"}:
            yield Hit(
                f"the ORM leaves {prop.key} to the database, whose foreign key has "
                f"ON DELETE {on_delete(key)}",
                mapper=mapper,
                attribute=prop.key,
            )


RULE = Rule(
    name="passive-deletes-without-ondelete",
    severity="warning",
    family="cascades",
    title="passive_deletes without ON DELETE",
    why="The ORM does not touch children that are not loaded, and the database refuses: "
    "session.delete(parent) works or raises ForeignKeyViolation, depending on what was loaded.",
    fix="    ForeignKey('tickets.id', ondelete='CASCADE')\n"
    "or passive_deletes='all', where the children hold their parent.",
    url=f"{DOCS}/orm/relationship_api.html#sqlalchemy.orm.relationship.params.passive_deletes",
    check=check,
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
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), index=True)
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
    tickets: WriteOnlyMapped["Ticket"] = relationship(
        back_populates="creator", passive_deletes="all"
    )


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    creator_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    creator: Mapped[User] = relationship(back_populates="tickets", lazy="raise")
""",
)
