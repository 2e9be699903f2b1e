"""A one-to-one that the database does not keep."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Table

from ..core import DOCS, Hit, Project, Rule, unique_sets
from ._cascades import ONETOMANY, compared_columns, foreign_key_of, is_plain_join


def check(project: Project) -> Iterator[Hit]:
    """Scalars on the side without the foreign key, where that is not unique."""
    for mapper, prop in project.relationships():
        if prop.direction is not ONETOMANY or prop.uselist or prop.viewonly or prop.order_by:
            continue
        if prop.mapper.common_parent(mapper) and not prop._reverse_property:
            continue  # a self reference: its own rule tells what is wrong
        columns = compared_columns(prop)
        key = foreign_key_of(prop)
        if key is None or not is_plain_join(prop):
            continue
        table = key.table
        kept = any(found and found <= set(columns) for found in unique_sets(table))
        if not kept and not has_partial_unique(table, {column.name for column in columns}):
            yield Hit(
                f"{prop.key} is one object, and {table.name} may hold several rows for it",
                mapper=mapper,
                attribute=prop.key,
            )


def has_partial_unique(table: Table, names: set[str]) -> bool:
    """Whether a unique index over some of the rows or over expressions begins at these columns."""
    return any(
        index.unique and {column.name for column in index.columns} & names
        for index in table.indexes
    )


RULE = Rule(
    name="one-to-one-without-unique",
    severity="warning",
    family="relationships",
    title="A one-to-one without a unique foreign key",
    why="A scalar annotation turns a one-to-many into one object in silence. With two rows any one "
    "of them is loaded, with a warning; replacing the object detaches the old one.",
    fix="    user_id: Mapped[int] = mapped_column(ForeignKey('users.id'), unique=True)\n"
    "or, where there are many:  Mapped[list[Comment]]",
    url=f"{DOCS}/orm/basic_relationships.html#one-to-one",
    check=check,
    bad="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    profile: Mapped["Profile"] = relationship(  # found
        back_populates="user", cascade="all, delete-orphan", passive_deletes=True
    )


class Profile(Base):
    __tablename__ = "profiles"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    user: Mapped[User] = relationship(back_populates="profile")
""",
    good="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    profile: Mapped["Profile"] = relationship(
        back_populates="user", cascade="all, delete-orphan", passive_deletes=True, lazy="raise"
    )


class Profile(Base):
    __tablename__ = "profiles"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=True)
    user: Mapped[User] = relationship(back_populates="profile", lazy="raise")
""",
    near_miss="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    settings: Mapped["Settings"] = relationship(
        back_populates="user", cascade="all, delete-orphan", passive_deletes=True, lazy="raise"
    )
    main_mail: Mapped[Optional["Mail"]] = relationship(
        primaryjoin="and_(User.id == Mail.user_id, Mail.is_main)", viewonly=True, lazy="raise"
    )


class Settings(Base):
    __tablename__ = "settings"

    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    user: Mapped[User] = relationship(back_populates="settings", lazy="raise")


class Mail(Base):
    __tablename__ = "mails"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    is_main: Mapped[bool]
""",
)
