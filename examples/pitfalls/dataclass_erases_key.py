"""Keep a relationship out of `__init__` where the key is given

On SQLAlchemy 2.0 a mapped dataclass sets the relationship's `default=None`, and the flush writes
that None over the foreign key. 2.1 leaves alone what was not given.
"""

from sqlalchemy import ForeignKey, insert
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    mapped_column,
    relationship,
)

from ._symptom import Returns

FAMILY = "mapping"
SYMPTOM = Returns(
    wrong=None,
    right=1,
    meaning="the foreign key that was given as 1, after the flush",
    lines=("2.0",),
)
SOURCE = (
    "Declarative Dataclass Mapping",
    "https://docs.sqlalchemy.org/en/21/orm/dataclasses.html#declarative-dataclass-mapping",
)


def broken(session: Session) -> object:
    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    class Desk(Base):
        __tablename__ = "pitfall_desks"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Agent(Base):
        __tablename__ = "pitfall_agents"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        desk_id: Mapped[int | None] = mapped_column(ForeignKey(Desk.id))
        desk: Mapped[Desk | None] = relationship(default=None)

    Base.metadata.create_all(session.connection())
    session.execute(insert(Desk).values(id=1))
    agent = Agent(desk_id=1)
    session.add(agent)
    session.flush()
    return agent.desk_id


def fixed(session: Session) -> object:
    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    class Desk(Base):
        __tablename__ = "pitfall_desks"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Agent(Base):
        __tablename__ = "pitfall_agents"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        desk_id: Mapped[int | None] = mapped_column(ForeignKey(Desk.id))
        desk: Mapped[Desk | None] = relationship(init=False)

    Base.metadata.create_all(session.connection())
    session.execute(insert(Desk).values(id=1))
    agent = Agent(desk_id=1)
    session.add(agent)
    session.flush()
    return agent.desk_id
