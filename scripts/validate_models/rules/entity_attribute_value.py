"""Attributes as rows."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import POSTGRES, Hit, Project, Rule, sql_type

NAMES = {"key", "name", "attribute", "attribute_name", "field", "field_name", "property"}
VALUES = {"value", "attribute_value", "field_value", "val"}


def check(project: Project) -> Iterator[Hit]:
    """Tables of a foreign key, a name and a text as value."""
    for table in project.tables:
        own = {
            column.name: column
            for column in table.columns
            if not column.foreign_keys and column.name != "id"
        }
        value = next((column for name, column in own.items() if name in VALUES), None)
        named = any(name in NAMES for name in own)
        if value is None or not named or not table.foreign_keys or len(own) > 3:
            continue
        if sql_type(value).startswith(("TEXT", "VARCHAR")):
            yield project.at(value, f"{table.name} holds values of any kind as text")


RULE = Rule(
    name="entity-attribute-value",
    severity="info",
    family="design",
    title="Attributes as rows",
    why="No type, no NOT NULL, no foreign key holds for such a value; a query over three of "
    "them joins the table three times.",
    fix="Columns, or one JSONB column with a GIN index.",
    url=f"{POSTGRES}/datatype-json.html#JSON-INDEXING",
    check=check,
    default=False,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)


class Field(Base):
    __tablename__ = "fields"

    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    fields: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)


class Vote(Base):
    __tablename__ = "votes"

    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int]
""",
)
