"""``char(n)``."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import Hit, Project, Rule, sql_type


def check(project: Project) -> Iterator[Hit]:
    """Columns of a padded type with more than one character."""
    for _, column in project.columns():
        kind = sql_type(column)
        if kind.startswith("CHAR(") and kind != "CHAR(1)":
            yield project.at(column, f"{kind.lower()} pads every value with blanks")


RULE = Rule(
    name="char-type",
    severity="info",
    family="types",
    title="The type char(n)",
    why="A shorter value is stored and read with blanks at its end, which comparisons then leave "
    "out and LIKE and length() do not. It is neither smaller nor faster than text.",
    fix="    country: Mapped[str] = mapped_column(String(2))",
    url="https://wiki.postgresql.org/wiki/Don%27t_Do_This#Don.27t_use_char.28n.29",
    check=check,
    default=False,
    bad="""
class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(CHAR(8))  # found
""",
    good="""
class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(8))
""",
    near_miss="""
class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[int] = mapped_column(primary_key=True)
    initial: Mapped[str] = mapped_column(CHAR(1))
""",
)
