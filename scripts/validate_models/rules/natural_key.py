"""A text as the key that other tables hold."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule, resolved, sql_type


def check(project: Project) -> Iterator[Hit]:
    """Sole keys of text that another table refers to."""
    targets = {resolved(element) for _, key in project.foreign_keys() for element in key.elements}
    for table in project.tables:
        columns = list(table.primary_key.columns)
        if len(columns) != 1 or columns[0].foreign_keys or columns[0] not in targets:
            continue
        if sql_type(columns[0]).startswith(("VARCHAR", "TEXT", "CITEXT", "CHAR")):
            yield project.at(columns[0], f"every row that refers to {table.name} repeats this text")


RULE = Rule(
    name="natural-key",
    severity="info",
    family="design",
    title="A text as primary key",
    why="Each foreign key and its index hold the text again, and a spelling that changes is "
    "changed in all of them. For codes that never change, ISO's for example, that is right.",
    fix="A generated key, and unique=True on the text.",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-PRIMARY-KEYS",
    check=check,
    default=False,
    bad="""
class Team(Base):
    __tablename__ = "teams"

    name: Mapped[str] = mapped_column(primary_key=True)  # found


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    team: Mapped[str] = mapped_column(ForeignKey("teams.name"), index=True)
""",
    good="""
class Team(Base):
    __tablename__ = "teams"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    team_id: Mapped[int] = mapped_column(ForeignKey("teams.id"), index=True)
""",
)
