"""A foreign key that does not say what a DELETE does."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule


def check(project: Project) -> Iterator[Hit]:
    """Foreign keys without ondelete."""
    for _, key in project.foreign_keys():
        if key.ondelete is None:
            column = next(iter(key.columns))
            yield project.at(column, f"a DELETE of {key.referred_table.name} that is used fails")


RULE = Rule(
    name="missing-ondelete",
    severity="info",
    family="cascades",
    title="A foreign key without ON DELETE",
    why="The default, NO ACTION, refuses to delete a row that is referred to. That is often "
    "right: ask for this rule where each key must say so.",
    fix="    ForeignKey('users.id', ondelete='RESTRICT')\nor CASCADE, SET NULL.",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-FK",
    check=check,
    default=False,
    bad="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)  # found
""",
    good="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"), index=True)
""",
)
