"""``default`` and ``server_default`` that are not the same value."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import Boolean, Column, Enum, Integer, Numeric, String

from ..core import DOCS, Hit, Project, Rule
from ._values import NO_VALUE, client_value, server_text, stored_label

TRUE = {"true", "t", "1", "on", "yes", "y"}
FALSE = {"false", "f", "0", "off", "no", "n"}


def agree(column: Column[Any], client: Any, server: str, quoted: bool) -> bool:
    """Whether both are one value, or that cannot be told."""
    kind = column.type
    if isinstance(kind, Boolean) and isinstance(client, bool):
        return server.lower() not in (FALSE if client else TRUE)
    if isinstance(kind, Enum):
        sent = stored_label(kind, client)
        return not quoted or sent is None or sent == server
    if isinstance(kind, Integer | Numeric) and isinstance(client, int | float | Decimal):
        try:
            return Decimal(server) == Decimal(str(client))
        except InvalidOperation:
            return True
    if isinstance(kind, String) and isinstance(client, str):
        return not quoted or client == server
    return True


def check(project: Project) -> Iterator[Hit]:
    """Columns whose two defaults are literals that differ."""
    for _, column in project.columns():
        client, server = client_value(column), server_text(column)
        if client is NO_VALUE or client is None or server is None:
            continue
        if not agree(column, client, *server):
            yield project.at(
                column, f"the ORM inserts {client!r}, and the database {server[0]!r}, by default"
            )


RULE = Rule(
    name="defaults-disagree",
    severity="warning",
    family="defaults",
    title="default and server_default differ",
    why="The same missing value becomes another one, by whether SQLAlchemy inserts the row or SQL, "
    "COPY or another service does.",
    fix="One of the two, or the same value in both. Where only the rows that were there should get "
    "another value: a server default in that migration, dropped at its end.",
    url=f"{DOCS}/core/defaults.html",
    check=check,
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    is_open: Mapped[bool] = mapped_column(default=True, server_default=text("false"))  # found
    attempts: Mapped[int] = mapped_column(default=1, server_default="0")  # found
    kind: Mapped[str] = mapped_column(default="fault", server_default="question")  # found
""",
    good="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    is_open: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    attempts: Mapped[int] = mapped_column(server_default="0")
    kind: Mapped[str] = mapped_column(server_default="question")
""",
    near_miss="""
class Status(enum.Enum):
    OPEN = 1
    CLOSED = 2


class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    is_open: Mapped[bool] = mapped_column(default=True, server_default=true())
    price: Mapped[Decimal] = mapped_column(Numeric(9, 2), default=0, server_default="0.00")
    status: Mapped[Status] = mapped_column(default=Status.OPEN, server_default="OPEN")
    made_at: Mapped[datetime] = mapped_column(
        default=lambda: datetime.now(UTC), server_default=func.now()
    )
    number: Mapped[str] = mapped_column(default="new", server_default=text("upper('x')"))
    extra: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict, server_default="[]")
""",
)
