"""Write `persisted=True` for a generated column that you index

`Computed("…")` alone was STORED in SQLAlchemy 2.0. Since 2.1 PostgreSQL 18 decides, and makes a
virtual column: computed at each read, and in no index.
"""

from sqlalchemy import Column, Computed, Index, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.exc import DBAPIError, NotSupportedError
from sqlalchemy.orm import Session

from ._symptom import Raises

FAMILY = "models"
REQUIRES = 18
SYMPTOM = Raises(
    NotSupportedError,
    "indexes on virtual generated columns are not supported",
    lines=("2.1",),
    on_asyncpg=DBAPIError,
)
RULE = "computed-without-persisted"
SOURCE = (
    "Computed Columns",
    "https://docs.sqlalchemy.org/en/21/core/defaults.html#computed-ddl",
)
WORDS = "to_tsvector('english', body)"


def broken(session: Session) -> object:
    body, words = Column("body", Text), Column("words", TSVECTOR, Computed(WORDS))
    notes = Table("notes", MetaData(), body, words, prefixes=["TEMPORARY"])
    Index("ix_notes_words", words, postgresql_using="gin")
    notes.create(session.connection())
    return None


def fixed(session: Session) -> object:
    body, words = Column("body", Text), Column("words", TSVECTOR, Computed(WORDS, persisted=True))
    notes = Table("notes", MetaData(), body, words, prefixes=["TEMPORARY"])
    Index("ix_notes_words", words, postgresql_using="gin")
    notes.create(session.connection())
    return None
