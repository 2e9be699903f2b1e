"""Row-level security without a policy."""

from __future__ import annotations

from ..core import POSTGRES, Rule
from ._live import found_live

RULE = Rule(
    name="row-security-without-policy",
    severity="warning",
    family="database",
    title="Row-level security without a policy",
    why="Everybody but the owner and superusers sees an empty table, without any error.",
    fix="CREATE POLICY, or ALTER TABLE … DISABLE ROW LEVEL SECURITY.",
    url=f"{POSTGRES}/ddl-rowsecurity.html",
    check=found_live("row-security-without-policy"),
    bad="""
class Ticket(Base):  # found
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
""",
    good="",
    default=False,
    drift="""
ALTER TABLE tickets ENABLE ROW LEVEL SECURITY;
""",
    mend="""
CREATE POLICY everybody ON tickets USING (true);
""",
)
