"""The database has the same index twice."""

from __future__ import annotations

from ..core import POSTGRES, Rule
from ._live import found_live

RULE = Rule(
    name="live-duplicate-index",
    severity="warning",
    family="database",
    title="The database has the same index twice",
    why="Every INSERT writes both, both take room in memory, and queries use one.",
    fix="DROP INDEX CONCURRENTLY for the one that the models do not know.",
    url=f"{POSTGRES}/indexes-intro.html",
    check=found_live("live-duplicate-index"),
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    title: Mapped[str] = mapped_column(index=True)  # found
""",
    good="",
    drift="""
CREATE INDEX by_hand ON tickets (title);
""",
    mend="""
DROP INDEX by_hand;
""",
)
