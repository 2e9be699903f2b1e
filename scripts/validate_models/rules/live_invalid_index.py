"""An invalid index."""

from __future__ import annotations

from ..core import POSTGRES, Rule
from ._live import found_live

RULE = Rule(
    name="invalid-index",
    severity="error",
    family="database",
    title="An invalid index",
    why="CREATE INDEX CONCURRENTLY failed half-way: writes keep it up, no query uses it, and "
    "a unique one promises nothing.",
    fix="Remove the cause, for example duplicates; then REINDEX INDEX CONCURRENTLY.",
    url=f"{POSTGRES}/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY",
    check=found_live("invalid-index"),
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (Index("uq_title", "title", unique=True),)  # found

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    title: Mapped[str]
""",
    good="",
    drift="""
DROP INDEX uq_title;
INSERT INTO tickets (title) VALUES ('twice'), ('twice');
CREATE UNIQUE INDEX CONCURRENTLY uq_title ON tickets (title);
""",
    mend="""
DELETE FROM tickets WHERE id = (SELECT max(id) FROM tickets);
REINDEX INDEX CONCURRENTLY uq_title;
""",
)
