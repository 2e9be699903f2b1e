"""A sequence near its end."""

from __future__ import annotations

from ..core import POSTGRES, Rule
from ._live import found_live

RULE = Rule(
    name="sequence-near-end",
    severity="warning",
    family="database",
    title="A sequence near its end",
    why="After the last number every INSERT fails. Told from 70 % of what the column or the "
    "sequence holds; an error from 90 %.",
    fix="Make the key, and what refers to it, bigint before that.",
    url=f"{POSTGRES}/datatype-numeric.html#DATATYPE-SERIAL",
    check=found_live("sequence-near-end"),
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Integer, Identity(), primary_key=True)  # found
""",
    good="",
    drift="""
SELECT setval(pg_get_serial_sequence('tickets', 'id'), 1900000000);
""",
    mend="""
SELECT setval(pg_get_serial_sequence('tickets', 'id'), 100);
""",
)
