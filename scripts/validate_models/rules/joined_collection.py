"""A collection that every query of its class joins."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule


def check(project: Project) -> Iterator[Hit]:
    """Collections with lazy="joined"."""
    for mapper, prop in project.relationships():
        if prop.lazy in {"joined", False} and prop.uselist:
            yield Hit(
                f"every query of {mapper.class_.__name__} joins {prop.key}, a row for each item",
                mapper=mapper,
                attribute=prop.key,
            )


RULE = Rule(
    name="joined-collection",
    severity="info",
    family="collections",
    title="A collection with lazy='joined'",
    why="Every query of the class repeats the parent's columns for each item, two such collections "
    "multiply, and scalars() raises InvalidRequestError until unique() is called.",
    fix="    relationship(lazy='selectin')\n"
    "or lazy='raise', and selectinload() where it is needed.",
    url=f"{DOCS}/orm/queryguide/relationships.html#what-kind-of-loading-to-use",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    files: Mapped[list["File"]] = relationship(viewonly=True, lazy="joined")  # found


class File(Base):
    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), index=True)
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    files: Mapped[list["File"]] = relationship(viewonly=True, lazy="selectin")


class File(Base):
    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), index=True)
""",
    near_miss="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    owner: Mapped[User] = relationship(lazy="joined", innerjoin=True)
""",
)
