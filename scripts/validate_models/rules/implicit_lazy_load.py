"""A relationship that asyncio cannot load when it is touched."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule


def check(project: Project) -> Iterator[Hit]:
    """Default lazy loads of classes without AsyncAttrs."""
    for mapper, prop in project.relationships():
        if prop.lazy not in {"select", True} or prop.viewonly:
            continue
        if any(base.__name__ == "AsyncAttrs" for base in mapper.class_.__mro__):
            continue
        yield Hit(
            f"{prop.key} is loaded when it is touched, which raises MissingGreenlet",
            mapper=mapper,
            attribute=prop.key,
        )


RULE = Rule(
    name="implicit-lazy-load",
    severity="info",
    family="asyncio",
    title="An implicit lazy load under asyncio",
    why="Unless the query loads it, touching the attribute raises MissingGreenlet, and only where "
    "the object is not in the session by chance. lazy='raise' fails always, and says what to load.",
    fix="    relationship(lazy='raise')  and selectinload() in the query\n"
    "or AsyncAttrs:  await ticket.awaitable_attrs.comments",
    url=f"{DOCS}/orm/extensions/asyncio.html#preventing-implicit-io-when-using-asyncsession",
    check=check,
    default=False,
    asyncio=True,
    bad="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    creator_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    creator: Mapped[User] = relationship()  # found
""",
    good="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    creator_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    creator: Mapped[User] = relationship(lazy="raise")
""",
    near_miss="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(AsyncAttrs, Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    creator_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    creator: Mapped[User] = relationship(foreign_keys=creator_id)
    updated_by_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    updated_by: Mapped[User] = relationship(lazy="selectin", foreign_keys=updated_by_id)
""",
)
