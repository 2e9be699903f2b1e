"""An extension that the models need."""

from __future__ import annotations

from ..core import POSTGRES, Rule
from ._live import found_live

RULE = Rule(
    name="missing-extension",
    severity="error",
    family="database",
    title="The database lacks an extension",
    why="CREATE TABLE or CREATE INDEX of the models fails: the type or the operator class "
    "does not exist.",
    fix="CREATE EXTENSION in a migration before; some need a superuser.",
    url=f"{POSTGRES}/contrib.html",
    check=found_live("missing-extension"),
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"
    __table_args__ = (
        Index("ix_title", text("title gin_trgm_ops"), postgresql_using="gin"),  # found
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    title: Mapped[str]
""",
    good="",
    drift="""
DROP INDEX ix_title;
DROP EXTENSION pg_trgm;
""",
    mend="""
CREATE EXTENSION pg_trgm;
CREATE INDEX ix_title ON tickets USING gin (title gin_trgm_ops);
""",
)
