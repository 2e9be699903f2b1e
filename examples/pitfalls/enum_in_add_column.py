"""Create the type of a native enumeration before `add_column()`

`create_table()` makes the type, `add_column()` does not, and autogenerate writes none.
"""

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from ._symptom import Raises

FAMILY = "migrations"
SYMPTOM = Raises(ProgrammingError, 'type "tier" does not exist')
SOURCE = (
    "PostgreSQL ENUM: creating and dropping",
    "https://docs.sqlalchemy.org/en/21/dialects/postgresql.html#sqlalchemy.dialects.postgresql.ENUM",
)


def broken(session: Session) -> object:
    op = Operations(MigrationContext.configure(session.connection()))
    op.add_column("tags", sa.Column("tier", sa.Enum("free", name="tier")))
    return None


def fixed(session: Session) -> object:
    op = Operations(MigrationContext.configure(session.connection()))
    tier = sa.Enum("free", name="tier")
    tier.create(op.get_bind(), checkfirst=True)
    op.add_column("tags", sa.Column("tier", tier))
    return None
