"""What changes from SQLAlchemy 2.0 to 2.1 in mapped classes, each side asserted on its own line."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext

import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, orm
from sqlalchemy.exc import ArgumentError, InvalidRequestError, SAWarning
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    composite,
    mapped_column,
    relationship,
    validates,
)

from tests.test_upgrading import SA_21, deprecated_in_21


def test_none_of_a_dataclass_does_not_erase_the_key(session: Session) -> None:
    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    class Desk(Base):
        __tablename__ = "upgrading_desks"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Agent(Base):
        __tablename__ = "upgrading_agents"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        desk_id: Mapped[int | None] = mapped_column(ForeignKey("upgrading_desks.id"), default=None)
        desk: Mapped[Desk | None] = relationship(default=None)

    Base.metadata.create_all(session.connection())
    session.add(Desk(id=1))
    session.flush()
    agent = Agent(desk_id=1)
    session.add(agent)
    session.flush()
    assert agent.desk_id == (1 if SA_21 else None)


def test_merge_of_a_dataclass(session: Session) -> None:
    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    class Desk(Base):
        __tablename__ = "upgrading_desks"
        id: Mapped[int] = mapped_column(primary_key=True)
        state: Mapped[str] = mapped_column(default="open")

    Base.metadata.create_all(session.connection())
    session.add(Desk(id=1, state="closed"))
    session.flush()
    session.expire_all()
    partial = Desk(id=1)
    assert ("state" in vars(partial)) is not SA_21
    assert partial.state == "open"
    assert session.merge(partial).state == ("closed" if SA_21 else "open")


def test_two_defaults_of_a_dataclass() -> None:
    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    def desk() -> object:
        class Desk(Base):
            __tablename__ = "upgrading_desks"
            id: Mapped[int] = mapped_column(primary_key=True)
            state: Mapped[str | None] = mapped_column(default=None, insert_default="open")

        return Desk

    if SA_21:
        with pytest.raises(ArgumentError, match="mutually exclusive"):
            desk()
    else:
        assert desk()


def test_an_excluded_attribute_of_a_dataclass() -> None:
    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    with deprecated_in_21("is excluded from the mapping"):

        class Desk(Base):
            __tablename__ = "upgrading_desks"
            __mapper_args__ = {"exclude_properties": ["old"]}  # noqa: RUF012
            id: Mapped[int] = mapped_column(primary_key=True)
            old: Mapped[str] = mapped_column(default="x")

    assert ("old" in Desk.__mapper__.attrs) is SA_21
    if SA_21:

        class Shift(Base):
            __tablename__ = "upgrading_shifts"
            id: Mapped[int] = mapped_column(primary_key=True)
            old: orm.Unmapped[str] = orm.unmapped_column(default="x")

        assert "old" in Shift.__table__.columns
        assert "old" not in Shift.__mapper__.attrs


@dataclasses.dataclass
class Period:
    """Two columns in one attribute."""

    first: int | None
    last: int | None


def test_a_composite_of_nulls() -> None:
    class Base(DeclarativeBase):
        pass

    class Shift(Base):
        __tablename__ = "upgrading_shifts"
        id: Mapped[int] = mapped_column(primary_key=True)
        day: Mapped[Period] = composite(mapped_column("a"), mapped_column("b"))
        night: Mapped[Period | None] = composite(
            mapped_column("c", sa.Integer), mapped_column("d", sa.Integer)
        )

    assert Shift().day == (Period(None, None) if SA_21 else None)
    assert Shift().night is None


def test_metadata_as_an_attribute() -> None:
    class Base(DeclarativeBase):
        pass

    def note() -> object:
        class Note(Base):
            __tablename__ = "upgrading_notes"
            id: Mapped[int] = mapped_column(primary_key=True)
            metadata: Mapped[str]  # type: ignore[assignment,misc]

        return Note

    if SA_21:
        with pytest.warns(SAWarning, match="should be left reserved"):
            note()
    else:
        with pytest.raises(InvalidRequestError, match="is reserved"):
            note()


def test_a_hybrid_of_python_alone(session: Session) -> None:
    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "upgrading_notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        body: Mapped[str]

        @hybrid_property
        def size(self) -> int:
            return len(self.body)

    Base.metadata.create_all(session.connection())
    session.add(Note(id=1, body="a"))
    session.flush()
    for statement in (sa.insert(Note), sa.update(Note)):
        rows = [{"id": 2 if statement.is_insert else 1, "body": "b"}]
        with pytest.raises(TypeError, match="has no len") if SA_21 else nullcontext():
            session.execute(statement, rows)


def test_a_validator_can_be_replaced() -> None:
    class Base(DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "parents"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

        @validates("name")
        def check(self, _: str, value: str) -> str:
            return f"parent {value}"

    class Child(Parent):
        @validates("name")
        def check(self, _: str, value: str) -> str:
            return f"child {value}"

    assert Child(name="x").name == ("child x" if SA_21 else "parent x")
