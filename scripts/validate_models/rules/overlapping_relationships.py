"""Two relationships that write one column, as SQLAlchemy itself warned while it configured."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..core import Hit, Project, Rule

WARNING = re.compile(
    r"relationship '([\w.]+)\.(\w+)' will copy column (\S+) to column (\S+), "
    r"which conflicts with relationship\(s\): (.+?)\. If this is not"
)


def check(project: Project) -> Iterator[Hit]:
    """The warnings of code qzyx."""
    by_name = {mapper.class_.__name__: mapper for mapper in project.mappers}
    for text in project.warnings:
        match = WARNING.match(" ".join(text.split()))
        mapper = by_name.get(match[1].rpartition(".")[2]) if match else None
        if match is None or mapper is None:
            continue
        others = ", ".join(sorted(set(re.findall(r"'([\w.]+)' \(copies", match[5]))))
        yield Hit(
            f"{match[1]}.{match[2]} and {others} both write {match[4]}",
            mapper=mapper,
            attribute=match[2],
        )


RULE = Rule(
    name="overlapping-relationships",
    severity="warning",
    family="relationships",
    title="Two relationships write the same column",
    why="They do not know of each other: what is set on one side is not seen on the other until it "
    "is loaded anew, and at the flush the last one wins.",
    fix="Two sides of one thing:  back_populates on both.\nOne only to read:  viewonly=True.",
    url="https://sqlalche.me/e/21/qzyx",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    comments: Mapped[list["Comment"]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True
    )


class Comment(Base):
    __tablename__ = "comments"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), index=True)
    ticket: Mapped[Ticket] = relationship()  # found
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
