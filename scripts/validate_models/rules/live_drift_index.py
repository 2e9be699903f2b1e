"""An index differs."""

from __future__ import annotations

from ..core import POSTGRES, Rule
from ._live import found_live

RULE = Rule(
    name="drift-index",
    severity="warning",
    family="database",
    title="An index differs",
    why="Queries read the whole table; without a unique one, duplicates come in. Compared are "
    "method, keys, operator classes, order, INCLUDE and WHERE. One that only the database "
    "has is info, unless it is unique.",
    fix="CREATE INDEX CONCURRENTLY in a migration of its own, or the same Index in the model.",
    url=f"{POSTGRES}/sql-createindex.html",
    check=found_live("drift-index"),
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    title: Mapped[str] = mapped_column(index=True)  # found
""",
    good="",
    drift="""
DROP INDEX ix_tickets_title;
""",
    mend="""
CREATE INDEX ix_tickets_title ON tickets (title);
""",
)
