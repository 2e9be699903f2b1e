"""Build an index CONCURRENTLY in an `autocommit_block()`

Alembic runs a revision in a transaction, where PostgreSQL refuses it. What stands before the block
is committed: keep such a revision to the index. See `references/migration-guide.md`.
"""

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, InternalError

from ._symptom import Raises

FAMILY = "migrations"
SYMPTOM = Raises(InternalError, "cannot run inside a transaction block", on_asyncpg=DBAPIError)
SOURCE = (
    "MigrationContext.autocommit_block",
    "https://alembic.sqlalchemy.org/en/latest/api/runtime.html"
    "#alembic.runtime.migration.MigrationContext.autocommit_block",
)


def broken(engine: Engine) -> object:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        op = Operations(context)
        with context.begin_transaction():
            op.create_index("ix_tags_color", "tags", ["color"], postgresql_concurrently=True)
    return None


def fixed(engine: Engine) -> object:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        op = Operations(context)
        with context.begin_transaction(), context.autocommit_block():
            op.create_index("ix_tags_color", "tags", ["color"], postgresql_concurrently=True)
    return None
