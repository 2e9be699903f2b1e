"""A foreign key to a table or a column that is not there."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule, resolved


def check(project: Project) -> Iterator[Hit]:
    """Foreign keys that SQLAlchemy cannot resolve."""
    for table in () if project.partial else project.tables:
        for key in sorted(table.foreign_keys, key=lambda key: key.target_fullname):
            if resolved(key) is None:
                yield project.at(key.parent, f"the metadata has no {key.target_fullname}")


RULE = Rule(
    name="unresolved-foreign-key",
    severity="error",
    family="keys",
    title="A foreign key to a table that is not there",
    why="create_all() and Alembic raise NoReferencedTableError: the name is misspelt, its schema "
    "is left out, it stands in another MetaData, or its module is not imported.",
    fix="Name the table as __tablename__ does (schema.table where there is one), and import every "
    "module with models where the metadata is used.",
    url=f"{DOCS}/core/constraints.html#defining-foreign-keys",
    check=check,
    bad="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)  # found
    team_id: Mapped[int] = mapped_column(ForeignKey("users.team"), index=True)  # found
""",
    good="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
""",
    near_miss="""
class User(Base):
    __tablename__ = "users"
    __table_args__ = {"schema": "desk"}

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("desk.users.id"), index=True)
    creator_id: Mapped[int] = mapped_column(ForeignKey(User.id), index=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("tickets.id"), index=True)
""",
)
