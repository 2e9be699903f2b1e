"""Add a column that is NOT NULL.

Problem: without a default the statement is refused; with one that differs from row to row the
table is written anew under ACCESS EXCLUSIVE.  Pattern: a default that is the same for all rows
(``now()`` is) is kept in the catalogue, and no row is touched.  Not for a value that each row has
for itself: add the column without NOT NULL, and go on as in ``add_not_null``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from .step import Step

OLD = (
    "UPDATE tickets SET title = 'Printer' WHERE id = %(id)s",
    "INSERT INTO tickets (title, organization_id) VALUES ('Without it', 1)",
)
NEW = (
    "UPDATE tickets SET language = 'de' WHERE id = %(id)s",
    "INSERT INTO tickets (title, language, organization_id) VALUES ('With it', 'fr', 1)",
)


def expand() -> None:
    """The old code runs, and does not know of it: its rows get the default.  Then the new code."""
    op.add_column("tickets", sa.Column("language", sa.Text, nullable=False, server_default="en"))


def expand_down() -> None:
    """What the new code wrote is gone."""
    op.drop_column("tickets", "language")


def contract() -> None:
    """Only the new code runs, and names it: a row without it becomes an error again."""
    op.alter_column("tickets", "language", server_default=None)


def contract_down() -> None:
    """As before."""
    op.alter_column("tickets", "language", server_default="en")


def naive() -> None:
    """Another value for each row: all of them are written anew, while everybody waits."""
    op.add_column(
        "tickets",
        sa.Column(
            "public_id", sa.Uuid, nullable=False, server_default=sa.text("gen_random_uuid()")
        ),
    )


STEPS = (
    Step(expand, expand_down, OLD),
    Step(contract, contract_down, NEW),
)
NAIVE = Step(naive, None, OLD)
