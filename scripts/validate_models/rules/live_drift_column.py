"""A column that one side lacks."""

from __future__ import annotations

from ..core import POSTGRES, Rule
from ._live import found_live

RULE = Rule(
    name="drift-column",
    severity="error",
    family="database",
    title="A column that one side lacks",
    why="Every SELECT and INSERT of the ORM fails of a column that the database lacks; every "
    "INSERT, of one that the models lack and that is NOT NULL without a default. Any other that "
    "the models lack is info.",
    fix="Write the migration, or map the column. A column leaves the models first, then the "
    "database.",
    url=f"{POSTGRES}/ddl-alter.html",
    check=found_live("drift-column"),
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    title: Mapped[str]  # found
""",
    good="",
    drift="""
ALTER TABLE tickets RENAME COLUMN title TO name;
ALTER TABLE tickets DROP COLUMN name;
""",
    mend="""
ALTER TABLE tickets ADD COLUMN title text NOT NULL;
""",
)
