"""Drop the type of a native enumeration in the downgrade

`drop_table()` leaves it behind, and so does what autogenerate writes. The next upgrade fails.
"""

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from ._symptom import Raises

FAMILY = "migrations"
SYMPTOM = Raises(ProgrammingError, 'type "tier" already exists')
SOURCE = (
    "PostgreSQL ENUM: creating and dropping",
    "https://docs.sqlalchemy.org/en/21/dialects/postgresql.html#sqlalchemy.dialects.postgresql.ENUM",
)


def broken(session: Session) -> object:
    for _again in range(2):
        op = Operations(MigrationContext.configure(session.connection()))
        op.create_table("plans", sa.Column("tier", sa.Enum("free", name="tier")))
        op.drop_table("plans")
    return None


def fixed(session: Session) -> object:
    for _again in range(2):
        op = Operations(MigrationContext.configure(session.connection()))
        op.create_table("plans", sa.Column("tier", sa.Enum("free", name="tier")))
        op.drop_table("plans")
        sa.Enum(name="tier").drop(op.get_bind())
    return None
