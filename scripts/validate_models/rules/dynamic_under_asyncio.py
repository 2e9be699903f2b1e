"""``lazy="dynamic"`` under asyncio."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule


def check(project: Project) -> Iterator[Hit]:
    """Dynamic relationships."""
    for mapper, prop in project.relationships():
        if prop.lazy == "dynamic":
            yield Hit(
                f"{prop.key} is dynamic: it queries when it is iterated",
                mapper=mapper,
                attribute=prop.key,
            )


RULE = Rule(
    name="dynamic-under-asyncio",
    severity="error",
    family="asyncio",
    title="lazy='dynamic' under asyncio",
    why="A dynamic collection sends its query when it is iterated or counted, and no await can "
    "stand there: MissingGreenlet.",
    fix="    comments: WriteOnlyMapped[Comment] = relationship()\n"
    "    await session.scalars(ticket.comments.select())",
    url=f"{DOCS}/orm/large_collections.html#write-only-relationships",
    check=check,
    asyncio=True,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    comments: DynamicMapped["Comment"] = relationship(  # found
        back_populates="ticket", cascade="all, delete-orphan", passive_deletes=True
    )


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), index=True)
    ticket: Mapped[Ticket] = relationship(back_populates="comments", lazy="raise")
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
)
