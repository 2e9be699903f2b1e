"""What SQLAlchemy 2.1 has and 2.0 has not; and how much of it 2.0 can do in another way."""

from __future__ import annotations

import uuid
from importlib.metadata import metadata as facts_of
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import ForeignKey, MetaData, Table, delete, func, inspect, orm, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.exc import ArgumentError, InvalidRequestError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    selectinload,
)

from examples.models import Comment, Tag, Ticket
from examples.testing_patterns.factories import make_comment, make_tag, make_ticket
from examples.testing_patterns.statements import recorded_statements
from tests.test_upgrading import SA_21

new: Any = sa  # the stubs of 2.0 do not know what is asked of it here


def test_python_of_each_line() -> None:
    assert facts_of("sqlalchemy")["Requires-Python"] == (">=3.11" if SA_21 else ">=3.7")


def test_create_view(session: Session) -> None:
    assert hasattr(sa, "CreateView") is SA_21
    if not SA_21:
        return
    metadata = MetaData()
    names = select(sa.literal("billing").label("name"))
    view = new.CreateView(names, "tag_names", metadata=metadata, materialized=True)
    metadata.create_all(session.connection())
    assert session.scalar(select(view.table.c.name)) == "billing"
    metadata.drop_all(session.connection())
    assert inspect(session.connection()).get_materialized_view_names() == []


def test_select_into(session: Session) -> None:
    statement: Any = select(sa.literal("billing").label("name"))
    assert hasattr(statement, "into") is SA_21
    if SA_21:
        session.execute(statement.into("tag_names"))
        assert session.scalar(sa.text("SELECT name FROM tag_names")) == "billing"


@pytest.mark.requires_postgres(18)
def test_monotonic_uuids(session: Session) -> None:
    """Only of keys that rise does SQLAlchemy know which returned row is whose."""
    uuidv7: Any = func.uuidv7
    if not SA_21:
        with pytest.raises(TypeError, match="monotonic"):
            uuidv7(monotonic=True)

    def inserts(default: Any, name: str) -> int:
        class Base(DeclarativeBase):
            pass

        class Note(Base):
            __tablename__ = name
            id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=default)

        Base.metadata.create_all(session.connection())
        with recorded_statements(session) as statements:
            session.add_all([Note(), Note(), Note()])
            session.flush()
        return len(statements)

    assert inserts(uuidv7(), "plain_notes") == 3
    if SA_21:
        assert inserts(uuidv7(monotonic=True), "notes") == 1


def test_chunksize_of_selectinload(session: Session) -> None:
    session.add_all(make_ticket(comments=[make_comment()]) for _ in range(3))
    session.commit()
    load: Any = selectinload
    if not SA_21:
        with pytest.raises(TypeError, match="chunksize"):
            load(Ticket.comments, chunksize=2)
        return
    statement = select(Ticket).options(load(Ticket.comments, chunksize=2))
    with recorded_statements(session) as statements:
        assert len(session.scalars(statement).all()) == 3
    assert len(statements) == 1 + 2


def test_aggregate_order_by(session: Session) -> None:
    session.add_all([make_tag(name="a"), make_tag(name="b")])
    session.flush()
    on_both = func.array_agg(aggregate_order_by(Tag.name, Tag.name.desc()))
    assert session.scalar(select(on_both)) == ["b", "a"]
    total: Any = func.array_agg(Tag.name)
    assert hasattr(total, "aggregate_order_by") is SA_21
    if SA_21:
        assert session.scalar(select(total.aggregate_order_by(Tag.name.desc()))) == ["b", "a"]


def test_delete_using(session: Session) -> None:
    ticket = make_ticket(comments=[make_comment()])
    session.add(ticket)
    session.flush()
    of_it: Any = delete(Comment).where(Comment.ticket_id == Ticket.id, Ticket.id == ticket.id)
    written = str(of_it.compile(session.get_bind()))
    assert "USING tickets" in written
    assert hasattr(of_it, "using") is SA_21
    if SA_21:
        assert str(of_it.using(Ticket).compile(session.get_bind())) == written


def test_merge_all_and_delete_all(session: Session) -> None:
    assert hasattr(session, "merge_all") is hasattr(session, "delete_all") is SA_21
    if SA_21:
        several: Any = session
        merged = several.merge_all([make_tag(), make_tag()])
        session.flush()
        several.delete_all(merged)
        session.flush()
        assert session.scalars(select(Tag)).all() == []


def test_storage_parameters(session: Session) -> None:
    if not SA_21:
        with pytest.raises(ArgumentError, match="'postgresql_with' is not accepted"):
            Table("notes", MetaData(), postgresql_with={"fillfactor": 70})
        return
    column = sa.Column("id", sa.Integer)
    Table("notes", MetaData(), column, postgresql_with={"fillfactor": 70}).create(
        session.connection()
    )
    reflected = Table("notes", MetaData(), autoload_with=session.connection())
    assert reflected.dialect_options["postgresql"]["with"] == {"fillfactor": "70"}


def test_dict_bundle(session: Session) -> None:
    session.add(make_tag(name="billing", color="#000000"))
    session.flush()
    module: Any = orm
    assert hasattr(orm, "DictBundle") is SA_21
    if SA_21:
        bundle = module.DictBundle("tag", Tag.name, Tag.color)
        assert session.scalars(select(bundle)).all() == [{"name": "billing", "color": "#000000"}]


def test_back_populates_by_a_callable() -> None:
    class Base(DeclarativeBase):
        pass

    class Desk(Base):
        __tablename__ = "desks"
        id: Mapped[int] = mapped_column(primary_key=True)
        agents: Mapped[list[Agent]] = relationship(back_populates="desk")

    class Agent(Base):
        __tablename__ = "agents"
        id: Mapped[int] = mapped_column(primary_key=True)
        desk_id: Mapped[int] = mapped_column(ForeignKey("desks.id"))
        desk: Mapped[Desk] = relationship(back_populates=lambda: Desk.agents)  # type: ignore[arg-type,unused-ignore]

    try:
        if SA_21:
            desk = Desk()
            assert Agent(desk=desk) in desk.agents
        else:
            with pytest.raises(InvalidRequestError, match="lambda"):
                Base.registry.configure()
    finally:
        Base.registry.dispose()  # a mapper that failed would fail each that follows
