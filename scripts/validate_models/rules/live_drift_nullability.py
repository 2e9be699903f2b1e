"""NOT NULL on one side alone."""

from __future__ import annotations

from ..core import POSTGRES, Rule
from ._live import found_live

RULE = Rule(
    name="drift-nullability",
    severity="warning",
    family="database",
    title="NOT NULL on one side alone",
    why="Where the database takes NULL, code that relies on the annotation meets None; where "
    "it does not, an INSERT that the models allow fails.",
    fix="Fill the NULLs, then ALTER COLUMN … SET NOT NULL; or correct the annotation.",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-NOT-NULL",
    check=found_live("drift-nullability"),
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    title: Mapped[str]  # found
""",
    good="",
    drift="""
ALTER TABLE tickets ALTER title DROP NOT NULL;
""",
    mend="""
ALTER TABLE tickets ALTER title SET NOT NULL;
""",
)
