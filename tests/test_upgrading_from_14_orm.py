"""What 1.4 took in the ORM: what 2.x does with it, and what to write; both lines answer alike."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, event, exc, func, orm, select
from sqlalchemy.ext import declarative
from sqlalchemy.ext.automap import automap_base
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    WriteOnlyMapped,
    contains_eager,
    joinedload,
    load_only,
    mapped_column,
    registry,
    relationship,
    with_parent,
)
from sqlalchemy.orm.dynamic import AppenderQuery

from examples.models import Comment, Tag, Ticket
from examples.testing_patterns.factories import make_comment, make_tag, make_ticket

# Querying


def a_ticket_of_two_comments(session: Session) -> Ticket:
    """A stored ticket, which a join over its comments finds twice."""
    ticket = make_ticket()
    ticket.comments = [make_comment(content="a"), make_comment(content="b")]
    session.add(ticket)
    session.commit()
    return ticket


def test_query_is_legacy_and_works(session: Session) -> None:
    tag = make_tag(name="billing")
    session.add(tag)
    session.flush()
    assert session.query(Tag).filter_by(name="billing").order_by(Tag.id).one() is tag
    assert session.query(Tag).filter(Tag.name == "billing").update({"color": "#000000"}) == 1
    assert session.query(Tag).count() == 1


def test_get_of_a_query(session: Session) -> None:
    tag = make_tag()
    session.add(tag)
    session.flush()
    with pytest.warns(exc.LegacyAPIWarning, match=r"Query\.get\(\) method is considered legacy"):
        assert session.query(Tag).get(tag.id) is tag
    assert session.get(Tag, tag.id) is tag


def test_rows_of_session_execute(session: Session) -> None:
    session.add(make_tag(name="billing"))
    session.flush()
    row: Any = session.execute(select(Tag)).one()
    assert (len(row), row.Tag.name) == (1, "billing")
    with pytest.raises(AttributeError):
        _ = row.name
    assert session.scalars(select(Tag)).one().name == "billing"
    assert session.scalars(select(Tag.name, Tag.color)).all() == ["billing"]


def test_a_joined_collection_asks_for_unique(session: Session) -> None:
    ticket = a_ticket_of_two_comments(session)
    statement = select(Ticket).options(joinedload(Ticket.comments))
    with pytest.raises(exc.InvalidRequestError, match=r"unique\(\) method must be invoked"):
        session.scalars(statement).all()
    assert session.scalars(statement).unique().all() == [ticket]


def test_a_query_drops_duplicates(session: Session) -> None:
    ticket = a_ticket_of_two_comments(session)
    assert session.query(Ticket).join(Ticket.comments).all() == [ticket]
    assert session.scalars(select(Ticket).join(Ticket.comments)).all() == [ticket, ticket]
    assert session.scalars(select(Ticket).where(Ticket.comments.any())).all() == [ticket]


def test_distinct_with_the_order_of_another(session: Session) -> None:
    ticket = a_ticket_of_two_comments(session)
    old: Any = session.query(Ticket).join(Ticket.comments).distinct()
    with pytest.raises(exc.ProgrammingError, match="must appear in select list"):
        old.order_by(Comment.content).all()
    session.rollback()
    newest = func.max(Comment.content)
    grouped = select(Ticket).join(Ticket.comments).group_by(Ticket.id).order_by(newest)
    assert session.scalars(grouped).all() == [ticket]


def test_strings_as_relationships(session: Session) -> None:
    ticket = a_ticket_of_two_comments(session)
    old: Any = select(Ticket)
    target = "ORM relationship attribute expected, got 'comments'"
    legacy: Any = session.query(Ticket)
    for query in (old, legacy):
        with pytest.raises(exc.ArgumentError, match=target):
            query.join("comments")
    names: Any = "comments"
    strings = "Strings are not accepted for attribute names in loader options"
    for option in (joinedload, contains_eager, orm.defer, joinedload(Ticket.comments).joinedload):
        with pytest.raises(exc.ArgumentError, match=strings):
            option(names)
    with pytest.raises(exc.ArgumentError, match="expected ORM mapped attribute"):
        load_only(names)
    with pytest.raises(exc.ArgumentError, match="class-bound mapped attributes, not strings"):
        with_parent(ticket, names)
    found = select(Comment.content).where(with_parent(ticket, Ticket.comments))
    assert session.scalars(found.order_by(Comment.content)).all() == ["a", "b"]
    by_name = getattr(Ticket, names)  # where a string is all that there is
    assert session.scalars(select(Ticket).options(joinedload(by_name))).unique().all() == [ticket]


def test_a_chain_of_joins(session: Session) -> None:
    ticket = a_ticket_of_two_comments(session)
    old: Any = session.query(Comment)
    with pytest.raises(exc.InvalidRequestError, match="No 'on clause' argument"):
        old.join(Comment.ticket, Ticket.creator).all()
    with pytest.raises(TypeError, match="unexpected keyword argument 'aliased'"):
        old.join(Comment.ticket, aliased=True)
    other = orm.aliased(Ticket)
    joined = select(Comment.content).join(Comment.ticket).join(Ticket.creator)
    assert len(session.scalars(joined.where(Ticket.id == ticket.id)).all()) == 2
    assert len(session.scalars(select(Comment.id).join(Comment.ticket.of_type(other))).all()) == 2


def test_names_of_the_orm() -> None:
    for name in ("joinedload_all", "eagerload", "relation", "comparable_property"):
        assert not hasattr(orm, name)


# Sessions


def test_a_backref_adds_no_object(session: Session) -> None:
    ticket = a_ticket_of_two_comments(session)
    late = make_comment(author_id=ticket.creator_id)
    late.ticket = ticket
    assert late not in session
    with pytest.warns(exc.SAWarning, match=r"<Comment> not in session, add operation .* not proc"):
        session.flush()
    assert len(session.scalars(select(Comment)).all()) == 2
    session.add(late)
    assert len(session.scalars(select(Comment)).all()) == 3
    old: Any = relationship
    with pytest.raises(exc.ArgumentError, match="may only be set to False"):
        old("Comment", cascade_backrefs=True)


def close_in_a_thread(target: Session) -> None:
    """Close it as another thread would, and raise here what it met there."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(target.close).result()


@pytest.mark.parametrize("close", [Session.close, close_in_a_thread])
def test_a_session_that_is_closed_in_its_commit(
    session: Session, close: Callable[[Session], None]
) -> None:
    event.listen(session, "before_commit", close)
    session.execute(select(1))
    with pytest.raises(exc.InvalidRequestError, match=r"Method 'close\(\)' can't be called here"):
        session.commit()


# Mapping


def test_the_place_of_declarative_base() -> None:
    with pytest.warns(exc.MovedIn20Warning, match=r"sqlalchemy\.orm\.declarative_base"):
        declarative.declarative_base()
    orm.declarative_base()
    old: Any = orm.declarative_base
    with pytest.raises(TypeError, match="unexpected keyword argument 'bind'"):
        old(bind=None)


def test_mapper_is_gone() -> None:
    class Shift:
        pass

    reg = registry()
    table = sa.Table("shifts", reg.metadata, Column("id", sa.Integer, primary_key=True))
    old: Any = importlib.import_module("sqlalchemy.orm").mapper
    with pytest.raises(exc.InvalidRequestError, match=r"registry\.map_imperatively"):
        old(Shift, table)
    assert reg.map_imperatively(Shift, table).local_table is table


def shift(**attributes: Any) -> Any:
    """A mapped class of the 1.4 sort, its *attributes* by name; ``_annotations`` beside them."""
    base = orm.declarative_base()
    body = {
        "__tablename__": "shifts",
        "__annotations__": attributes.pop("_annotations", {}),
        "id": Column(sa.Integer, primary_key=True),
        "before_id": Column(ForeignKey("shifts.id")),
    }
    return type("Shift", (base,), body | attributes)


def test_annotations_without_mapped() -> None:
    wrong = "can't be correctly interpreted for Annotated Declarative"
    with pytest.raises(exc.ArgumentError, match=wrong):
        shift(_annotations={"after": list[Tag]}, after=relationship("Shift"))
    with pytest.raises(exc.ArgumentError, match=wrong):
        shift(_annotations={"name": str}, name=mapped_column(sa.String))
    let = {"__allow_unmapped__": True, "after": relationship("Shift")}
    assert shift(_annotations={"after": list[Tag]}, **let)().after == []
    # A Column is let be.
    assert shift(_annotations={"name": str}, name=Column(sa.String)).__table__.c.name.nullable


def test_null_is_what_the_annotation_says() -> None:
    class Base(DeclarativeBase):
        pass

    class Desk(Base):
        __tablename__ = "desks"
        id: Mapped[int] = mapped_column(primary_key=True)
        old = Column(sa.String)
        plain = mapped_column(sa.String)
        annotated: Mapped[str] = mapped_column(sa.String)
        optional: Mapped[str | None]
        said: Mapped[str] = mapped_column(nullable=True)
        half_way: Mapped[str] = Column(sa.String)  # type: ignore[assignment]

    nullable = {column.name for column in Desk.__table__.c if column.nullable}
    assert nullable == {"old", "plain", "optional", "said", "half_way"}


def test_one_or_many_is_what_the_annotation_says() -> None:
    class Base(DeclarativeBase):
        pass

    class Desk(Base):
        __tablename__ = "desks"
        id: Mapped[int] = mapped_column(primary_key=True)
        one: Mapped[Agent] = relationship(viewonly=True)
        many: Mapped[list[Agent]] = relationship()

    class Agent(Base):
        __tablename__ = "agents"
        id: Mapped[int] = mapped_column(primary_key=True)
        desk_id: Mapped[int] = mapped_column(ForeignKey("desks.id"))

    orm.configure_mappers()
    relationships = Desk.__mapper__.relationships
    assert (relationships["one"].uselist, relationships["many"].uselist) == (False, True)


def test_the_columns_of_a_mixin_come_last() -> None:
    class Base(DeclarativeBase):
        pass

    class Keyed:
        id = Column(sa.Integer, primary_key=True)
        at = Column(sa.DateTime)

    class Desk(Keyed, Base):
        __tablename__ = "desks"
        name = Column(sa.String)

    class First:
        id: Mapped[int] = mapped_column(primary_key=True, sort_order=-1)
        at: Mapped[str]

    class Agent(First, Base):
        __tablename__ = "agents"
        name: Mapped[str]

    assert Desk.__table__.c.keys() == ["name", "id", "at"]
    assert Agent.__table__.c.keys() == ["id", "name", "at"]


def test_backref_and_dynamic_work() -> None:
    class Base(DeclarativeBase):
        pass

    class Desk(Base):
        __tablename__ = "desks"
        id: Mapped[int] = mapped_column(primary_key=True)
        agents = relationship("Agent", lazy="dynamic", backref="desk")
        guests: WriteOnlyMapped[Agent] = relationship(viewonly=True)

    class Agent(Base):
        __tablename__ = "agents"
        id: Mapped[int] = mapped_column(primary_key=True)
        desk_id: Mapped[int] = mapped_column(ForeignKey("desks.id"))

    assert not hasattr(Agent, "desk")
    orm.configure_mappers()
    assert hasattr(Agent, "desk")
    assert isinstance(Desk().agents, AppenderQuery)
    assert "SELECT" in str(Desk(id=1).guests.select())


def test_reflected_classes(session: Session) -> None:
    class Base(DeclarativeBase):
        pass

    class Late(declarative.DeferredReflection, Base):
        __tablename__ = "tags"

    connection = session.connection()
    Late.prepare(connection)
    assert "color" in Late.__table__.c
    with pytest.warns(exc.SADeprecationWarning, match="autoload_with"):
        automap_base().prepare(connection, reflect=True)
    found: Any = automap_base()
    found.prepare(autoload_with=connection)
    assert "color" in found.classes.tags.__table__.c
