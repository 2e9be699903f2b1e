"""A column of another type or collation."""

from __future__ import annotations

from ..core import POSTGRES, Rule
from ._live import found_live

RULE = Rule(
    name="drift-type",
    severity="error",
    family="database",
    title="A column of another type or collation",
    why="The driver sends and reads what the models say: values are refused, cut or compared "
    "as something else.",
    fix="Write the migration, or correct the model.",
    url=f"{POSTGRES}/sql-altertable.html",
    check=found_live("drift-type"),
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    views: Mapped[int] = mapped_column(BigInteger)  # found
""",
    good="",
    drift="""
ALTER TABLE tickets ALTER views TYPE integer;
""",
    mend="""
ALTER TABLE tickets ALTER views TYPE bigint;
""",
)
