"""Make unique only among rows that are not deleted

A deleted row holds its name, number or address, and the next one with it is refused. ON CONFLICT
must then repeat the condition as `index_where`.
"""

from sqlalchemy import Column, DateTime, Index, MetaData, Table, Text, UniqueConstraint, func, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ._symptom import Raises

FAMILY = "keeping"
SYMPTOM = Raises(IntegrityError, "duplicate key value violates unique constraint")
RULE = "soft-delete-unique"
SOURCE = ("Partial Indexes", "https://www.postgresql.org/docs/18/indexes-partial.html")


def broken(session: Session) -> object:
    columns = (Column("name", Text), Column("deleted_at", DateTime(timezone=True)))
    only_once = UniqueConstraint("name")
    queues = Table("queues", MetaData(), *columns, only_once, prefixes=["TEMPORARY"])
    queues.create(session.connection())
    session.execute(queues.insert().values(name="vip", deleted_at=func.now()))
    session.execute(queues.insert().values(name="vip"))
    return None


def fixed(session: Session) -> object:
    columns = (Column("name", Text), Column("deleted_at", DateTime(timezone=True)))
    alive = text("deleted_at IS NULL")
    only_once = Index("uq_queues_live", "name", unique=True, postgresql_where=alive)
    queues = Table("queues", MetaData(), *columns, only_once, prefixes=["TEMPORARY"])
    queues.create(session.connection())
    session.execute(queues.insert().values(name="vip", deleted_at=func.now()))
    session.execute(queues.insert().values(name="vip"))
    return None
