"""The values of an enumeration differ."""

from __future__ import annotations

from ..core import POSTGRES, Rule
from ._live import found_live

RULE = Rule(
    name="drift-enum",
    severity="error",
    family="database",
    title="The values of an enumeration differ",
    why="A value that the database lacks is refused at INSERT. A row with one that the models "
    "lack raises LookupError when it is loaded. Alembic compares neither.",
    fix="ALTER TYPE … ADD VALUE; of checked text, replace the CHECK.",
    url=f"{POSTGRES}/datatype-enum.html",
    check=found_live("drift-enum"),
    bad="""
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    status: Mapped[str] = mapped_column(  # found
        Enum("open", "shut", name="status", native_enum=False, create_constraint=True)
    )
""",
    good="",
    drift="""
ALTER TABLE tickets DROP CONSTRAINT ck_tickets_status,
    ADD CONSTRAINT ck_tickets_status
        CHECK (status IN ('open', 'done'));
""",
    mend="""
ALTER TABLE tickets DROP CONSTRAINT ck_tickets_status,
    ADD CONSTRAINT ck_tickets_status
        CHECK (status IN ('shut', 'open'));
""",
)
