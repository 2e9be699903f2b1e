"""Release the code that knows a new value before anything writes it

One row with a value that the code does not know fails the whole query: in the old instances during
a deployment, and in all of them after the release is rolled back. See
`references/migration-recipes-values.md`.
"""

from sqlalchemy import Column, Enum, MetaData, Table, select, text
from sqlalchemy.orm import Session

from ._symptom import Raises

FAMILY = "enums"
SYMPTOM = Raises(LookupError, "'on_hold' is not among the defined enum values")
SOURCE = (
    "Enum",
    "https://docs.sqlalchemy.org/en/21/core/type_basics.html#sqlalchemy.types.Enum",
)
WRITTEN = text("CREATE TEMPORARY TABLE jobs AS SELECT unnest(ARRAY['open', 'on_hold']) AS state")


def broken(session: Session) -> object:
    session.execute(WRITTEN)  # by the next release
    states = Enum("open", native_enum=False)
    jobs = Table("jobs", MetaData(), Column("state", states))
    return session.scalars(select(jobs.c.state)).all()


def fixed(session: Session) -> object:
    session.execute(WRITTEN)  # by the next release
    states = Enum("open", "on_hold", native_enum=False)  # known here, set by the next
    jobs = Table("jobs", MetaData(), Column("state", states))
    return session.scalars(select(jobs.c.state)).all()
