"""A table that the models do not know."""

from __future__ import annotations

from ..core import DOCS, Rule
from ._live import found_live

RULE = Rule(
    name="unknown-table",
    severity="info",
    family="database",
    title="A table that the models do not know",
    why="A generated migration drops it. Looked for in the schemas of the models alone; "
    "partitions, tables of extensions and alembic_version are left out.",
    fix="Map it, drop it, or leave it where another program owns it.",
    url=f"{DOCS}/core/reflection.html",
    check=found_live("unknown-table"),
    bad="""
class Desk(DeclarativeBase):  # found
    metadata = MetaData()


class Ticket(Desk):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
""",
    good="",
    default=False,
    drift="""
CREATE TABLE old_tickets (id bigint);
""",
    mend="""
DROP TABLE old_tickets;
""",
)
