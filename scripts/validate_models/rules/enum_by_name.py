"""An enumeration stored by the names of its members."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Enum

from ..core import DOCS, Hit, Project, Rule


def check(project: Project) -> Iterator[Hit]:
    """Enum columns whose members have texts as values that differ from their names."""
    for _, column in project.columns():
        kind = column.type
        if not isinstance(kind, Enum) or kind.enum_class is None or kind.values_callable:
            continue
        members = kind.enum_class.__members__
        other = [
            member
            for name, member in members.items()
            if isinstance(getattr(member, "value", None), str) and member.value != name
        ]
        if other:
            yield project.at(
                column,
                f"the database stores {other[0].name!r}, not the value {other[0].value!r}",
            )


RULE = Rule(
    name="enum-by-name",
    severity="info",
    family="types",
    title="An enumeration is stored by name",
    why="SQLAlchemy stores the names of the members: SQL, reports and other services that use the "
    "values find nothing, and renaming a member in Python breaks the rows.",
    fix="    Enum(Status, values_callable=lambda members: [m.value for m in members])",
    url=f"{DOCS}/core/type_basics.html#sqlalchemy.types.Enum.params.values_callable",
    check=check,
    bad="""
class Status(enum.StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[Status]  # found
""",
    good="""
class Status(enum.StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[Status] = mapped_column(
        Enum(Status, name="status", values_callable=lambda members: [m.value for m in members])
    )
""",
    near_miss="""
class Colour(enum.Enum):
    red = "red"
    blue = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    colour: Mapped[Colour]
    level: Mapped[Level]
    kind: Mapped[Literal["question", "fault"]]
""",
)
