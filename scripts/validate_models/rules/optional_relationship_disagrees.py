"""``Mapped[User]`` over a foreign key that takes NULL."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, ForwardRef, get_args, get_origin

from sqlalchemy.orm import Mapped, RelationshipProperty

from ..core import DOCS, Hit, Project, Rule, label
from ._annotations import raw_annotation
from ._cascades import MANYTOONE, is_plain_join


def names_class_alone(annotation: Any, name: str) -> bool:
    """Whether *annotation* is ``Mapped[name]``, by its form: the class may not be importable."""
    if not isinstance(annotation, str):
        origin = get_origin(annotation)
        if not (isinstance(origin, type) and issubclass(origin, Mapped)):
            return False
        (inner,) = get_args(annotation)
        if isinstance(inner, type):
            return inner.__name__ == name
        text = inner.__forward_arg__ if isinstance(inner, ForwardRef) else inner
        return isinstance(text, str) and last_name(text) == name
    try:
        node = ast.parse(annotation, mode="eval").body
    except SyntaxError:
        return False
    if not isinstance(node, ast.Subscript) or last_name(ast.unparse(node.value)) != "Mapped":
        return False
    inside = node.slice
    text = inside.value if isinstance(inside, ast.Constant) else ast.unparse(inside)
    return isinstance(text, str) and last_name(text) == name


def last_name(text: str) -> str | None:
    """``models.User`` → ``User``; None for anything but a dotted name."""
    parts = text.strip().strip("\"'").split(".")
    return parts[-1] if all(part.isidentifier() for part in parts) else None


def may_be_null(prop: RelationshipProperty[Any]) -> bool:
    """Whether a row may stand without its parent."""
    return any(column.nullable for column in prop.local_columns)


def check(project: Project) -> Iterator[Hit]:
    """Many-to-one over nullable keys whose annotation names the class and no None."""
    for mapper, prop in project.relationships():
        if prop.direction is not MANYTOONE or prop.viewonly or mapper.single:
            continue
        found = raw_annotation(mapper.class_, prop.key)
        if found is None or not may_be_null(prop) or not is_plain_join(prop):
            continue
        if names_class_alone(found[0], prop.mapper.class_.__name__):
            yield Hit(
                f"{label(mapper, prop.key)} is annotated without None, and its foreign key is "
                "nullable",
                mapper=mapper,
                attribute=prop.key,
            )


RULE = Rule(
    name="optional-relationship-disagrees",
    severity="warning",
    family="relationships",
    title="A relationship's annotation allows no None, and its foreign key does",
    why="ticket.assignee is None for every row without one, and the type checker lets "
    "ticket.assignee.name pass.",
    fix="    assignee: Mapped[User | None] = relationship()",
    url=f"{DOCS}/orm/basic_relationships.html#nullable-many-to-one",
    check=check,
    bad="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    assignee_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), index=True)
    assignee: Mapped["User"] = relationship()  # found
""",
    good="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    assignee_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), index=True)
    assignee: Mapped[User | None] = relationship(lazy="raise")
""",
    near_miss="""
class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    creator_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    creator: Mapped["User"] = relationship(lazy="raise", foreign_keys=creator_id)
    assignee_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), index=True)
    assignee: Mapped[Optional["User"]] = relationship(lazy="raise", foreign_keys=assignee_id)
""",
)
