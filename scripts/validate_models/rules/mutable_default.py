"""``default={}``: one object for all rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column

from ..core import DOCS, Hit, Project, Rule
from ._values import is_tracked

MUTABLE = (list, dict, set, bytearray)


def is_copied(project: Project, column: Column[Any]) -> bool:
    """Whether ``sqlalchemy.ext.mutable`` copies the default into each object, one level deep."""
    mapper, key = project.owner(column.table, column)
    return mapper is not None and key is not None and is_tracked(mapper, key)


def check(project: Project) -> Iterator[Hit]:
    """Scalar defaults that can be changed in place."""
    for _, column in project.columns():
        default = column.default
        if default is None or not default.is_scalar:
            continue
        value = default.arg  # type: ignore[attr-defined]
        if not isinstance(value, MUTABLE):
            continue
        shared = f"one {type(value).__name__} as"
        if is_copied(project, column):
            within = value.values() if isinstance(value, dict) else value
            inner = next((item for item in within if isinstance(item, MUTABLE)), None)
            if inner is None:
                continue
            shared = f"the {type(inner).__name__} in"
        yield project.at(column, f"all rows of this process share {shared} their default")


RULE = Rule(
    name="mutable-default",
    severity="error",
    family="defaults",
    title="A list or a dict is the default itself",
    why="Every object that was inserted without a value holds the same list or dict: a change made "
    "in place through one of them is the default of all later rows.",
    fix="Pass the type, which is called for each row:  default=dict",
    url=f"{DOCS}/core/defaults.html#python-executed-functions",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    extra: Mapped[dict[str, Any]] = mapped_column(JSONB, default={})  # found
    labels: Mapped[list[str]] = mapped_column(ARRAY(Text), default=[])  # found
    seen: Mapped[dict[str, Any]] = mapped_column(  # found
        MutableDict.as_mutable(JSONB), default={"by": []}
    )
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    extra: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    labels: Mapped[list[str]] = mapped_column(ARRAY(Text), default=lambda: ["new"])
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    extra: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    labels: Mapped[list[str]] = mapped_column(ARRAY(Text), default=("new",))
    tracked: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSONB), default={})
""",
)
