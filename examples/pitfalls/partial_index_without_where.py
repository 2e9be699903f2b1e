"""Repeat the condition of a partial index in ON CONFLICT: `index_where`

The columns alone find an index over all rows. A functional index is found by its expression:
`index_elements=[func.lower(Tag.name)]`.
"""

from sqlalchemy import Column, DateTime, Index, MetaData, Table, Text, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from ._symptom import Raises

FAMILY = "keeping"
SYMPTOM = Raises(
    ProgrammingError, "no unique or exclusion constraint matching the ON CONFLICT specification"
)
SOURCE = (
    "INSERT: ON CONFLICT Clause",
    "https://www.postgresql.org/docs/18/sql-insert.html#SQL-ON-CONFLICT",
)


def broken(session: Session) -> object:
    columns = (Column("name", Text), Column("deleted_at", DateTime(timezone=True)))
    alive = text("deleted_at IS NULL")
    only_once = Index("uq_queues_live", "name", unique=True, postgresql_where=alive)
    queues = Table("queues", MetaData(), *columns, only_once, prefixes=["TEMPORARY"])
    queues.create(session.connection())
    add = insert(queues).values(name="vip")
    session.execute(add.on_conflict_do_nothing(index_elements=["name"]))
    return None


def fixed(session: Session) -> object:
    columns = (Column("name", Text), Column("deleted_at", DateTime(timezone=True)))
    alive = text("deleted_at IS NULL")
    only_once = Index("uq_queues_live", "name", unique=True, postgresql_where=alive)
    queues = Table("queues", MetaData(), *columns, only_once, prefixes=["TEMPORARY"])
    queues.create(session.connection())
    add = insert(queues).values(name="vip")
    session.execute(add.on_conflict_do_nothing(index_elements=["name"], index_where=alive))
    return None
