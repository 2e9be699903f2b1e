"""A server default, identity or generated column differs."""

from __future__ import annotations

from ..core import DOCS, Rule
from ._live import found_live

RULE = Rule(
    name="drift-default",
    severity="warning",
    family="database",
    title="A server default, identity or generated column differs",
    why="The ORM leaves the column out and expects the server to fill it in: without the "
    "default that gives NULL or an error, with another one another value. One that only "
    "the database has is info.",
    fix="ALTER COLUMN … SET DEFAULT in a migration, or the same server_default in the model.",
    url=f"{DOCS}/core/defaults.html#server-invoked-ddl-explicit-default-expressions",
    check=found_live("drift-default"),
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())  # found
""",
    good="",
    drift="""
ALTER TABLE tickets ALTER created_at DROP DEFAULT;
""",
    mend="""
ALTER TABLE tickets ALTER created_at SET DEFAULT CURRENT_TIMESTAMP;
""",
)
