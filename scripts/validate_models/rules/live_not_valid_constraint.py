"""A constraint that was never validated."""

from __future__ import annotations

from ..core import POSTGRES, Rule
from ._live import found_live

RULE = Rule(
    name="not-valid-constraint",
    severity="warning",
    family="database",
    title="A constraint that was never validated",
    why="NOT VALID holds for new rows alone; old ones may break it, and then a dump does not load.",
    fix="ALTER TABLE … VALIDATE CONSTRAINT, which does not block writers.",
    url=f"{POSTGRES}/sql-altertable.html#SQL-ALTERTABLE-DESC-VALIDATE-CONSTRAINT",
    check=found_live("not-valid-constraint"),
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (CheckConstraint("views >= 0", name="views"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    views: Mapped[int]  # found
""",
    good="",
    drift="""
ALTER TABLE tickets DROP CONSTRAINT ck_tickets_views,
    ADD CONSTRAINT ck_tickets_views CHECK (views >= 0) NOT VALID;
""",
    mend="""
ALTER TABLE tickets VALIDATE CONSTRAINT ck_tickets_views;
""",
)
