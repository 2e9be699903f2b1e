"""A foreign key or its ON DELETE differs."""

from __future__ import annotations

from ..core import POSTGRES, Rule
from ._live import found_live

RULE = Rule(
    name="drift-foreign-key",
    severity="error",
    family="database",
    title="A foreign key or its ON DELETE differs",
    why="passive_deletes and cascades rely on ON DELETE: with another action, a DELETE fails "
    "or leaves children behind. Without the key, rows refer to what is gone.",
    fix="Drop the constraint and add that of the models: NOT VALID first, then VALIDATE "
    "CONSTRAINT.",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-FK",
    check=found_live("drift-foreign-key"),
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(  # found
        ForeignKey("tickets.id", ondelete="CASCADE"), index=True
    )
""",
    good="",
    drift="""
ALTER TABLE tickets DROP CONSTRAINT fk_tickets_parent_id_tickets,
    ADD CONSTRAINT fk_tickets_parent_id_tickets FOREIGN KEY (parent_id) REFERENCES tickets;
""",
    mend="""
ALTER TABLE tickets DROP CONSTRAINT fk_tickets_parent_id_tickets,
    ADD CONSTRAINT other_name
        FOREIGN KEY (parent_id) REFERENCES tickets ON DELETE CASCADE;
""",
)
