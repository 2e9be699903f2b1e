"""A native enumeration without a name."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import ARRAY, Enum

from ..core import DOCS, Hit, Project, Rule


def check(project: Project) -> Iterator[Hit]:
    """Enum types that PostgreSQL cannot create."""
    for _, column in project.columns():
        kind = column.type.item_type if isinstance(column.type, ARRAY) else column.type
        if isinstance(kind, Enum) and kind.native_enum and not kind.name:
            yield project.at(column, "the enumeration has no name")


RULE = Rule(
    name="nameless-enum",
    severity="error",
    family="types",
    title="A native enumeration without a name",
    why="PostgreSQL's enumerations are types, and a type has a name: CREATE TABLE raises "
    "CompileError.",
    fix="    Enum('open', 'closed', name='ticket_status')\nor native_enum=False for checked text.",
    url=f"{DOCS}/core/type_basics.html#sqlalchemy.types.Enum",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(Enum("open", "closed"))  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(Enum("open", "closed", name="ticket_status"))
""",
    near_miss="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(Enum("open", "closed", native_enum=False))
    kind: Mapped[Literal["question", "fault"]]
""",
)
