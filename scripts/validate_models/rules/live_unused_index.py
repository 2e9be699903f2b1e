"""No query has used an index."""

from __future__ import annotations

from ..core import POSTGRES, Rule
from ._live import found_live

RULE = Rule(
    name="unused-index",
    severity="info",
    family="database",
    title="No query has used an index",
    why="Every write keeps it up. Counted on this server since its statistics began: a "
    "replica, or a yearly report, may use it.",
    fix="Look again later, on each replica too; then DROP INDEX CONCURRENTLY.",
    url=f"{POSTGRES}/monitoring-stats.html#MONITORING-PG-STAT-ALL-INDEXES-VIEW",
    check=found_live("unused-index"),
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    title: Mapped[str] = mapped_column(index=True)  # found
""",
    good="",
    default=False,
    drift="""
SELECT pg_stat_reset();
""",
    mend="""
DROP INDEX ix_tickets_title;
""",
)
