"""A foreign key of the database has no index."""

from __future__ import annotations

from ..core import POSTGRES, Rule
from ._live import found_live

RULE = Rule(
    name="live-unindexed-foreign-key",
    severity="warning",
    family="database",
    title="A foreign key of the database has no index",
    why="Each DELETE of a parent reads the whole table. Where the models say the same, "
    "unindexed-foreign-key tells it; where they have an index, drift-index.",
    fix="CREATE INDEX CONCURRENTLY, and Index in the model.",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-FK",
    check=found_live("live-unindexed-foreign-key"),
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("tickets.id"))  # found
""",
    good="",
    drift="""
DROP INDEX IF EXISTS ix_tickets_parent_id;
""",
    mend="""
CREATE INDEX ix_tickets_parent_id ON tickets (parent_id);
""",
)
