"""Write into the migration what the model says: an index or a constraint

`unique=True, index=True` is one unique index. A migration by hand that makes a unique
constraint and a plain index leaves drift: the next autogenerate drops both.
"""

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.orm import Session

from ._symptom import Returns

FAMILY = "migrations"
SYMPTOM = Returns(
    wrong=["add_index", "remove_constraint", "remove_index"],
    right=[],
    meaning="the operations that autogenerate finds",
)
SOURCE = (
    "Column.unique",
    "https://docs.sqlalchemy.org/en/21/core/metadata.html#sqlalchemy.schema.Column.params.unique",
)


def broken(session: Session) -> object:
    op = Operations(context_of(session))
    op.create_table("plans", sa.Column("code", sa.Text), sa.UniqueConstraint("code"))
    op.create_index("ix_plans_code", "plans", ["code"])
    return drift(session)


def fixed(session: Session) -> object:
    op = Operations(context_of(session))
    op.create_table("plans", sa.Column("code", sa.Text))
    op.create_index("ix_plans_code", "plans", ["code"], unique=True)
    return drift(session)


def context_of(session: Session) -> MigrationContext:
    """It looks at one table."""

    def only_plans(name: str | None, kind: str, _parents: object) -> bool:
        return kind != "table" or name == "plans"

    options = {"include_name": only_plans}
    return MigrationContext.configure(session.connection(), opts=options)


def drift(session: Session) -> list[str]:
    """What autogenerate would change."""
    model = sa.MetaData()
    sa.Table("plans", model, sa.Column("code", sa.Text, unique=True, index=True))
    return sorted(change[0] for change in compare_metadata(context_of(session), model))
