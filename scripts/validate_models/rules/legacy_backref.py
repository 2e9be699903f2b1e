"""``backref``: an attribute that no class writes down."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule


def check(project: Project) -> Iterator[Hit]:
    """Relationships that make their reverse by themselves."""
    for mapper, prop in project.relationships():
        if prop.backref:
            made = prop.backref if isinstance(prop.backref, str) else prop.backref[0]
            yield Hit(
                f"{prop.mapper.class_.__name__}.{made} is made by a backref here",
                mapper=mapper,
                attribute=prop.key,
            )


RULE = Rule(
    name="legacy-backref",
    severity="info",
    family="relationships",
    title="backref instead of back_populates",
    why="The other class shows nothing of the attribute: type checkers and readers do not see it, "
    "and it appears only once the mappers are configured.",
    fix="A relationship in each class, with back_populates.",
    url=f"{DOCS}/orm/backref.html",
    check=check,
    bad="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    creator_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), index=True)
    creator: Mapped[User | None] = relationship(backref="tickets")  # found
""",
    good="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    tickets: WriteOnlyMapped["Ticket"] = relationship(
        back_populates="creator", passive_deletes="all"
    )


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    creator_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), index=True)
    creator: Mapped[User | None] = relationship(back_populates="tickets", lazy="raise")
""",
)
