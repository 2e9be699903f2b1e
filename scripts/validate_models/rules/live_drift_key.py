"""A primary key, a unique or an exclusion constraint differs."""

from __future__ import annotations

from ..core import POSTGRES, Rule
from ._live import found_live

RULE = Rule(
    name="drift-key",
    severity="error",
    family="database",
    title="A primary key, a unique or an exclusion constraint differs",
    why="The database takes rows that the models forbid, and ON CONFLICT fails; or it refuses "
    "rows that they allow.",
    fix="Write the migration by hand: Alembic sees neither a changed primary key nor an exclusion.",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-UNIQUE-CONSTRAINTS",
    check=found_live("drift-key"),
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    number: Mapped[str] = mapped_column(unique=True)  # found
""",
    good="",
    drift="""
ALTER TABLE tickets DROP CONSTRAINT uq_tickets_number;
""",
    mend="""
CREATE UNIQUE INDEX uq_tickets_number ON tickets (number);
""",
)
