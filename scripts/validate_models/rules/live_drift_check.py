"""A CHECK differs."""

from __future__ import annotations

from ..core import POSTGRES, Rule
from ._live import found_live

RULE = Rule(
    name="drift-check",
    severity="warning",
    family="database",
    title="A CHECK differs",
    why="The database takes what the models forbid, or refuses what they allow. Alembic does "
    "not compare checks.",
    fix="Drop the constraint and add that of the models: NOT VALID first, then VALIDATE "
    "CONSTRAINT.",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-CHECK-CONSTRAINTS",
    check=found_live("drift-check"),
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (CheckConstraint("views >= 0", name="views"),)  # found

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    views: Mapped[int]
""",
    good="",
    drift="""
ALTER TABLE tickets DROP CONSTRAINT ck_tickets_views;
""",
    mend="""
ALTER TABLE tickets ADD CONSTRAINT ck_tickets_views CHECK (0 <= 0 AND views >= 0 * 1);
""",
)
