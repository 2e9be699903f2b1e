"""``default={}``: one object for all rows."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule


def check(project: Project) -> Iterator[Hit]:
    """Scalar defaults that can be changed in place."""
    for _, column in project.columns():
        default = column.default
        if default is None or not default.is_scalar:
            continue
        value = default.arg  # type: ignore[attr-defined]
        if isinstance(value, list | dict | set | bytearray):
            kind = type(value).__name__
            yield project.at(column, f"all rows of this process share one {kind} as their default")


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
""",
)
