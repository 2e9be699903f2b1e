"""Name every constraint by a convention of the metadata

Without one autogenerate writes `create_unique_constraint(None, …)`: PostgreSQL makes up a name, and
the downgrade, `drop_constraint(None, …)`, cannot say it.
"""

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import CompileError
from sqlalchemy.orm import Session

from ._symptom import Raises

FAMILY = "migrations"
SYMPTOM = Raises(CompileError, "it has no name")
SOURCE = (
    "The Importance of Naming Constraints",
    "https://alembic.sqlalchemy.org/en/latest/naming.html",
)


def broken(session: Session) -> object:
    metadata = sa.MetaData()
    op = operations(session, metadata)
    op.create_unique_constraint(None, "tags", ["name", "color"])
    op.drop_constraint(None, "tags", type_="unique")  # type: ignore[arg-type]
    return None


def fixed(session: Session) -> object:
    metadata = sa.MetaData(naming_convention={"uq": "uq_%(table_name)s_%(column_0_N_name)s"})
    op = operations(session, metadata)
    op.create_unique_constraint(op.f("uq_tags_name_color"), "tags", ["name", "color"])
    op.drop_constraint(op.f("uq_tags_name_color"), "tags", type_="unique")
    return None


def operations(session: Session, metadata: sa.MetaData) -> Operations:
    """What a revision calls ``op``, where the models have *metadata*."""
    options = {"target_metadata": metadata}
    return Operations(MigrationContext.configure(session.connection(), opts=options))
