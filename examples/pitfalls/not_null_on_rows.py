"""Give a NOT NULL column a default where there are rows

Autogenerate writes it without one; a test database that is empty takes it. A constant
`server_default` writes no row anew. See `references/migration-recipes.md`.
"""

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..testing_patterns.factories import make_tag
from ._symptom import Raises

FAMILY = "migrations"
SYMPTOM = Raises(IntegrityError, "contains null values")
SOURCE = (
    "Modifying Tables: Adding a Column",
    "https://www.postgresql.org/docs/18/ddl-alter.html#DDL-ALTER-ADDING-A-COLUMN",
)


def broken(session: Session) -> object:
    session.add(make_tag())
    session.flush()
    op = Operations(MigrationContext.configure(session.connection()))
    op.add_column("tags", sa.Column("rank", sa.Integer, nullable=False))
    return None


def fixed(session: Session) -> object:
    session.add(make_tag())
    session.flush()
    op = Operations(MigrationContext.configure(session.connection()))
    op.add_column("tags", sa.Column("rank", sa.Integer, nullable=False, server_default="0"))
    return None
