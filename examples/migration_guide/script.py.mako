"""${message}.

Locks: say what each statement takes, and for how long.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision: str = ${repr(up_revision)}
down_revision: str | tuple[str, ...] | None = ${repr(down_revision)}
branch_labels: str | tuple[str, ...] | None = ${repr(branch_labels)}
depends_on: str | tuple[str, ...] | None = ${repr(depends_on)}


def upgrade() -> None:
    """One transaction, unless ``op.get_context().autocommit_block()`` ends it."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Leave nothing behind: types, sequences and partitions too."""
    ${downgrades if downgrades else "pass"}
