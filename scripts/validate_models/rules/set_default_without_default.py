"""``ON DELETE SET DEFAULT`` on a column that has none."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule


def check(project: Project) -> Iterator[Hit]:
    """Foreign keys that set columns to a server default which is not there."""
    for _, key in project.foreign_keys():
        for event, action in (("DELETE", key.ondelete), ("UPDATE", key.onupdate)):
            if (action or "").upper() != "SET DEFAULT":
                continue
            for column in key.columns:
                if column.server_default is None:
                    yield project.at(
                        column,
                        f"ON {event} SET DEFAULT, and {column.name} has no default in the database",
                        severity="warning" if column.nullable else None,
                    )


RULE = Rule(
    name="set-default-without-default",
    severity="error",
    family="cascades",
    title="ON DELETE SET DEFAULT without a default",
    why="Without a default in the database it sets NULL: DELETE of a parent fails on a NOT NULL "
    "column, and acts as SET NULL on any other. default= is SQLAlchemy's, not the database's.",
    fix="    ForeignKey('users.id', ondelete='SET DEFAULT'), server_default=text('0')\n"
    "or SET NULL, CASCADE, RESTRICT.",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-FK",
    check=check,
    bad="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(  # found
        ForeignKey("users.id", ondelete="SET DEFAULT"), default=0, index=True
    )
""",
    good="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="SET DEFAULT"), server_default=text("0"), index=True
    )
""",
)
