"""A default that its own column refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Enum, String, TypeDecorator

from ..core import DOCS, Hit, Project, Rule
from ._values import NO_VALUE, client_value, server_text, stored_label


def faults(column: Column[Any]) -> Iterator[str]:
    """What is wrong with the defaults of *column*."""
    kind, client, server = column.type, client_value(column), server_text(column)
    if isinstance(kind, TypeDecorator):
        return
    if isinstance(kind, Enum):
        labels = ", ".join(map(repr, kind.enums[:4])) + ", …" * (len(kind.enums) > 4)
        if client not in (NO_VALUE, None) and stored_label(kind, client) not in kind.enums:
            yield f"the default {client!r} is none of {labels}"
        if server is not None and server[1] and server[0] not in kind.enums:
            yield f"the default {server[0]!r} of the server is none of {labels}"
    elif isinstance(kind, String) and kind.length is not None:
        texts = [client] if isinstance(client, str) else []
        texts += [server[0]] if server is not None and server[1] else []
        for text in texts:
            if len(text) > kind.length:
                yield f"the default {text!r} is longer than {kind.length} characters"


def check(project: Project) -> Iterator[Hit]:
    """Defaults that are too long, or that are no label of their enumeration."""
    for _, column in project.columns():
        for fault in faults(column):
            yield project.at(column, fault)


RULE = Rule(
    name="default-does-not-fit",
    severity="error",
    family="defaults",
    title="A default that the column refuses",
    why="A label that the enumeration lacks fails at CREATE TABLE, or when the row is read; a text "
    "that is too long fails at every INSERT without a value. Enum(Status) knows the *names*.",
    fix="    server_default=Status.OPEN.name\n"
    "or values_callable, so that the labels are the values.",
    url=f"{DOCS}/core/type_basics.html#sqlalchemy.types.Enum",
    check=check,
    bad="""
class Status(enum.Enum):
    OPEN = "open"
    CLOSED = "closed"


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[Status] = mapped_column(Enum(Status), server_default="open")  # found
    kind: Mapped[str] = mapped_column(String(5), default="question")  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(Enum("OPEN", "CLOSED", name="s"), server_default="OPEN")
    kind: Mapped[str] = mapped_column(String(8), server_default="question")
""",
    near_miss="""
class Level(enum.Enum):
    LOW = 1
    HIGH = 2


class Status(enum.StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    level: Mapped[Level] = mapped_column(default=Level.LOW, server_default=text("'LOW'::level"))
    status: Mapped[Status] = mapped_column(
        Enum(Status, name="status", values_callable=lambda members: [m.value for m in members]),
        default=Status.OPEN,
        server_default=Status.OPEN,
    )
    code: Mapped[str] = mapped_column(String(4), server_default=text("lpad('7', 4, '0')"))
""",
)
