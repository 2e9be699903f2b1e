"""``ON DELETE SET NULL`` on a column that takes no NULL."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule
from ._cascades import on_delete


def check(project: Project) -> Iterator[Hit]:
    """Foreign keys whose own action cannot succeed."""
    for _, key in project.foreign_keys():
        for action, given in (("ON DELETE", on_delete(key)), ("ON UPDATE", key.onupdate or "")):
            held = [column for column in key.columns if not column.nullable]
            if given.upper() == "SET NULL" and held:
                yield project.at(held[0], f"{action} SET NULL, and the column is NOT NULL")
            without = [column for column in held if column.server_default is None]
            if given.upper() == "SET DEFAULT" and without:
                yield project.at(
                    without[0], f"{action} SET DEFAULT, and the column has neither default nor NULL"
                )


RULE = Rule(
    name="set-null-on-not-null",
    severity="error",
    family="cascades",
    title="ON DELETE SET NULL on a NOT NULL column",
    why="CREATE TABLE takes it; every DELETE of a parent that is referred to fails with "
    "NotNullViolation.",
    fix="Let the column be nullable, or choose CASCADE or RESTRICT:\n"
    "    assignee_id: Mapped[int | None] = mapped_column("
    "ForeignKey('users.id', ondelete='SET NULL'))",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-FK",
    check=check,
    bad="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    assignee_id: Mapped[int] = mapped_column(  # found
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
""",
    good="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    assignee_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
""",
    near_miss="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="SET DEFAULT"), server_default="1", index=True
    )
    creator_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
""",
)
