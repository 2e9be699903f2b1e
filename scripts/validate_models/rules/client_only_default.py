"""A NOT NULL column whose default only SQLAlchemy knows."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import DOCS, Hit, Project, Rule


def check(project: Project) -> Iterator[Hit]:
    """Columns with a client-side default and none in the database."""
    for _, column in project.columns():
        if column.default is None or column.default.is_sequence or column.nullable:
            continue
        if column.server_default is None:
            yield project.at(column, "only SQLAlchemy knows the default: SQL must give a value")


RULE = Rule(
    name="client-only-default",
    severity="info",
    family="defaults",
    title="A default that the database does not have",
    why="An INSERT by SQL, COPY or another service fails on NULL, and so does a migration that "
    "adds the column to a table with rows.",
    fix="    is_open: Mapped[bool] = mapped_column(server_default=text('true'))",
    url=f"{DOCS}/core/defaults.html#server-invoked-ddl-explicit-default-expressions",
    check=check,
    default=False,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    is_open: Mapped[bool] = mapped_column(default=True)  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    is_open: Mapped[bool] = mapped_column(server_default=text("true"))
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Sequence("numbers"), server_default=text("0"))
    note: Mapped[str | None] = mapped_column(default="none")
    is_open: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
""",
)
