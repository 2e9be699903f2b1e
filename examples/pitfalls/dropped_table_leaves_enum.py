"""Drop the native type with its table

In SQLAlchemy 2.1 `Table.drop()` leaves the type, and a table that is created again gets the old
labels. 2.0 dropped it. `metadata.drop_all()` drops both on both lines. Never leave `tables=` out:
it would drop *every* table of the metadata. Where another table uses the type, it is refused.
"""

from sqlalchemy import Column, Enum, MetaData, Table
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.orm import Session

from ._symptom import Raises

FAMILY = "enums"
SYMPTOM = Raises(
    DataError,
    'invalid input value for enum state: "held"',
    lines=("2.1",),
    on_asyncpg=DBAPIError,
)
SOURCE = (
    "What's new in 2.1",
    "https://docs.sqlalchemy.org/en/21/changelog/migration_21.html",
)


def broken(session: Session) -> object:
    connection = session.connection()
    table = Table("moods", MetaData(), Column("state", Enum("open", name="state")))
    table.create(connection)
    table.drop(connection)
    table = Table("moods", MetaData(), Column("state", Enum("open", "held", name="state")))
    table.create(connection)
    connection.execute(table.insert().values(state="held"))
    return None


def fixed(session: Session) -> object:
    connection = session.connection()
    table = Table("moods", MetaData(), Column("state", Enum("open", name="state")))
    table.create(connection)
    table.metadata.drop_all(connection, tables=[table])
    table = Table("moods", MetaData(), Column("state", Enum("open", "held", name="state")))
    table.create(connection)
    connection.execute(table.insert().values(state="held"))
    return None
