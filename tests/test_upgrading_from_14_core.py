"""What 1.4 took in engines, rows, statements and schemas: what 2.x does with it, and what to write.

Both lines answer alike except where a test says so.
"""

from __future__ import annotations

import importlib
import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import (
    Engine,
    MetaData,
    Table,
    case,
    delete,
    exc,
    func,
    insert,
    inspect,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine.reflection import Inspector
from sqlalchemy.orm import Session, SessionTransaction, aliased, sessionmaker
from sqlalchemy.schema import CreateSequence

from examples.database import create_sync_engine
from examples.models import Tag
from examples.testing_patterns.factories import make_tag
from tests.test_upgrading import SA_21

TAGS: Any = Tag.__table__
ONE_TAG = insert(TAGS).values(name="billing")


@pytest.fixture
def other_engine(real_commits: str) -> Iterator[Engine]:
    """An engine on a database of its own, where commits are real."""
    engine = create_sync_engine(real_commits)
    yield engine
    engine.dispose()


def stored(engine: Engine) -> int:
    """How many tags another connection sees."""
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(TAGS)) or 0


# Transactions


def test_a_write_without_a_commit(other_engine: Engine) -> None:
    with other_engine.connect() as connection:
        connection.execute(ONE_TAG)
        connection.execute(text("CREATE TABLE shifts ()"))
    assert stored(other_engine) == 0
    assert not inspect(other_engine).has_table("shifts")
    with other_engine.begin() as connection:
        connection.execute(ONE_TAG)
    with other_engine.connect() as connection:
        connection.execute(text("CREATE TABLE shifts ()"))
        connection.commit()
    assert stored(other_engine) == 1
    assert inspect(other_engine).has_table("shifts")


def test_the_option_autocommit(other_engine: Engine) -> None:
    with other_engine.connect() as connection:
        option: Any = {"autocommit": True}
        connection.execution_options(**option).execute(ONE_TAG.execution_options(**option))
    assert stored(other_engine) == 0
    with other_engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(ONE_TAG)
    assert stored(other_engine) == 1


def test_begin_after_a_statement(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(select(1))
        with pytest.raises(exc.InvalidRequestError, match="already initialized a SQLAlchemy Trans"):
            connection.begin()
    with Session(engine) as session:
        session.execute(select(1))
        with pytest.raises(exc.InvalidRequestError, match="transaction is already begun"):
            session.begin()
        session.commit()
        with session.begin():
            assert session.scalar(select(1)) == 1


def test_a_begin_in_a_begin(engine: Engine) -> None:
    with engine.begin() as connection:
        with pytest.raises(exc.InvalidRequestError, match="already initialized a SQLAlchemy Trans"):
            connection.begin()
        assert not hasattr(connection, "connect")
    with Session(engine) as session, session.begin():
        old: Any = session
        with pytest.raises(TypeError, match="subtransactions"):
            old.begin(subtransactions=True)
        with session.begin_nested():
            assert session.scalar(select(1)) == 1


def test_rollback_inside_of_begin_nested(session: Session) -> None:
    names = select(Tag.name).where(Tag.name.in_(["outer", "inner"])).order_by(Tag.name)

    def half_done() -> SessionTransaction:
        session.add(make_tag(name="outer"))
        session.flush()
        savepoint = session.begin_nested()
        session.add(make_tag(name="inner"))
        session.flush()
        return savepoint

    half_done()
    session.rollback()
    assert session.scalars(names).all() == []
    half_done().rollback()
    assert session.scalars(names).all() == ["outer"]


def test_commit_inside_of_begin_nested(session: Session) -> None:
    session.begin_nested()
    session.add(make_tag())
    session.commit()
    assert not session.in_transaction()
    outer = session.begin()
    savepoint = session.begin_nested()
    savepoint.commit()
    assert session.get_transaction() is outer


def test_autocommit_of_a_session(engine: Engine) -> None:
    maker: Any = sessionmaker
    factory = maker(engine, autocommit=True)  # it is the first call that fails
    with pytest.raises(exc.ArgumentError, match="autocommit=True is no longer supported"):
        factory()
    with Session(engine) as session:
        assert not hasattr(session, "transaction")
        assert not hasattr(session, "autocommit")
        assert session.get_transaction() is None
        session.execute(select(1))
        assert session.in_transaction()


def test_the_flag_future(engine: Engine) -> None:
    only = "may only be set to True"
    make: Any = sa.create_engine
    session: Any = Session
    with pytest.raises(exc.ArgumentError, match=only):
        make(engine.url, future=False)
    with pytest.raises(exc.ArgumentError, match=only):
        session(engine, future=False)
    make(engine.url, future=True)
    session(engine, future=True)


def test_arguments_of_create_engine(engine: Engine) -> None:
    make: Any = sa.create_engine
    for name in ("convert_unicode", "encoding", "case_sensitive"):
        with pytest.raises(TypeError, match=f"Invalid argument.*{name}"):
            make(engine.url, **{name: True})
    if engine.driver == "psycopg2":
        for mode in ("values", "batch"):
            with pytest.raises(exc.ArgumentError, match="Invalid value for 'executemany_mode'"):
                make(engine.url, executemany_mode=mode)
        make(engine.url, executemany_mode="values_only")


# Executing


def test_execute_of_an_engine(engine: Engine) -> None:
    for name in ("execute", "scalar", "run_callable", "transaction"):
        assert not hasattr(engine, name)
    assert not hasattr(select(1), "execute")
    with engine.connect() as connection:
        assert connection.scalar(select(1)) == 1


def test_a_string_is_no_statement(engine: Engine) -> None:
    sql: Any = "SELECT 1"
    with engine.connect() as connection:
        with pytest.raises(exc.ObjectNotExecutableError, match="Not an executable object"):
            connection.execute(sql)
        assert connection.scalar(text(sql)) == 1
        assert connection.exec_driver_sql(sql).scalar() == 1
    with Session(engine) as session:
        with pytest.raises(exc.ArgumentError, match="should be explicitly declared as text"):
            session.execute(sql)
        assert session.scalar(text(sql)) == 1


def test_parameters_of_execute(engine: Engine) -> None:
    with closing(engine.connect()) as connection:
        old: Any = connection
        with pytest.raises(TypeError, match="unexpected keyword argument 'name'"):
            old.execute(ONE_TAG, name="a")
        with pytest.raises(TypeError, match="positional arguments"):
            old.execute(insert(TAGS), {"name": "a"}, {"name": "b"})
        with pytest.raises((TypeError, exc.ArgumentError)):
            old.execute(insert(TAGS), [(1, "a")])
        connection.execute(insert(TAGS), {"name": "a"})
        connection.execute(insert(TAGS), [{"name": "b"}, {"name": "c"}])
        assert connection.scalar(select(func.count()).select_from(TAGS)) == 3


# Rows


def test_a_row_is_no_mapping(session: Session) -> None:
    row: Any = session.execute(select(literal(7).label("id"), literal("b").label("name"))).one()
    with pytest.raises(TypeError, match="tuple indices must be integers or slices, not str"):
        row["name"]
    with pytest.raises(TypeError, match="tuple indices must be integers or slices"):
        row[TAGS.c.name]
    with pytest.raises(TypeError, match="cannot convert dictionary update sequence"):
        dict(row)
    with pytest.raises(TypeError, match="must be a mapping, not Row"):
        dict(**row)
    for name in ("keys", "items", "values", "has_key"):
        with pytest.raises(AttributeError):
            getattr(row, name)
    assert (row.name, row._mapping["name"]) == ("b", "b")
    assert row._asdict() == {"id": 7, "name": "b"} == dict(row._mapping)
    result = session.execute(select(literal("b").label("name")))
    assert list(result.keys()) == ["name"]
    assert result.mappings().one()["name"] == "b"


def test_a_key_in_a_row(session: Session) -> None:
    row: Any = session.execute(select(literal("b").label("name"))).one()
    assert "name" not in row
    assert "b" in row
    assert "name" in row._mapping


def test_names_of_rows_and_results() -> None:
    module = importlib.import_module("sqlalchemy.engine")
    assert not hasattr(module, "RowProxy")
    assert not hasattr(module, "LegacyRow")
    assert module.ResultProxy is module.CursorResult


# Statements


def test_select_of_a_list() -> None:
    old: Any = select
    with pytest.raises(exc.ArgumentError, match="Did you mean to say select"):
        str(old([Tag.id, Tag.name]))
    with pytest.raises(exc.ArgumentError, match="Additional keyword arguments are not accepted"):
        old(Tag.id, whereclause=Tag.id == 1)
    with pytest.raises(exc.ArgumentError, match="rather than as a list"):
        old(Tag).with_only_columns([Tag.id])
    assert "tags.id, tags.name" in str(select(Tag.id, Tag.name).where(Tag.id == 1))
    assert str(select(Tag).with_only_columns(Tag.id)) == str(select(Tag.id))


def test_case_of_a_list(session: Session) -> None:
    old: Any = case
    with pytest.raises(exc.ArgumentError, match="rather than as a list"):
        old([(literal(1) == 1, "one")], else_="other")
    assert session.scalar(select(case((literal(1) == 1, "one"), else_="other"))) == "one"
    assert session.scalar(select(case({1: "one"}, value=literal(1)))) == "one"


def test_arguments_of_insert_update_delete() -> None:
    condition = TAGS.c.id == 1
    for call in (TAGS.select, TAGS.update, TAGS.delete, TAGS.insert):
        with pytest.raises(TypeError, match="takes 1 positional argument"):
            call(condition)
    old: Any = insert
    with pytest.raises(TypeError, match="unexpected keyword argument 'values'"):
        old(TAGS, values={"name": "a"})
    assert "WHERE" in str(update(TAGS).where(condition).values(name="a"))
    assert "WHERE" in str(delete(TAGS).where(condition))


def test_methods_of_a_select() -> None:
    for name in ("append_whereclause", "append_order_by", "apply_labels", "with_labels"):
        assert not hasattr(select(Tag.id), name)
    with pytest.warns(exc.SADeprecationWarning, match="get_final_froms"):
        assert select(Tag.id).froms == [TAGS]
    assert select(Tag.id).get_final_froms() == [TAGS]


def test_a_select_as_a_from() -> None:
    old: Any = select
    inner = select(Tag.id)
    with pytest.raises(exc.ArgumentError, match=r"use the \.subquery\(\) method"):
        old(inner)
    outer: Any = select(func.count())
    if SA_21:
        with pytest.raises(exc.ArgumentError, match=r"use the \.subquery\(\) method"):
            outer.select_from(inner)
    else:
        with pytest.warns(exc.SADeprecationWarning, match="Implicit coercion of SELECT"):
            outer.select_from(inner)
    assert "FROM (SELECT" in str(outer.select_from(inner.subquery()))


def test_a_select_as_a_value() -> None:
    inner = select(func.max(Tag.id))
    with pytest.warns(exc.SADeprecationWarning, match="as_scalar"):
        inner.as_scalar()
    with pytest.warns(exc.SAWarning, match="implicitly coercing SELECT object to scalar subquery"):
        old = Tag.id == inner
    assert str(Tag.id == inner.scalar_subquery()) == str(old)


def test_in_of_a_subquery() -> None:
    inner = select(Tag.id)
    old: Any = inner.subquery()
    with pytest.warns(exc.SAWarning, match="Coercing Subquery object into a select"):
        Tag.id.in_(old)
    assert str(Tag.id.in_(inner)) == "tags.id IN (SELECT tags.id \nFROM tags)"


def test_strings_as_sql(session: Session) -> None:
    old: Any = select
    declared = r"should be explicitly declared (as|with) text\("
    with pytest.raises(exc.ArgumentError, match=declared):
        old("id")
    with pytest.raises(exc.ArgumentError, match=declared):
        old(Tag).where("id = 1")
    with pytest.raises(exc.CompileError, match=declared):
        session.execute(select(Tag).order_by("name DESC"))
    session.add_all([make_tag(name="a"), make_tag(name="b")])
    session.flush()
    assert session.scalars(select(Tag.name).where(text("name > 'a'"))).all() == ["b"]
    assert session.scalars(select(Tag.name).order_by(Tag.name.desc())).all() == ["b", "a"]
    assert session.scalars(select(Tag.name).order_by("name")).all() == ["a", "b"]


def test_from_self(session: Session) -> None:
    for name in ("from_self", "select_entity_from", "with_polymorphic"):
        assert not hasattr(session.query(Tag), name)
    session.add_all([make_tag(name="a"), make_tag(name="b")])
    session.flush()
    last = aliased(Tag, select(Tag).order_by(Tag.name.desc()).limit(1).subquery())
    assert session.scalars(select(last)).one().name == "b"


# Schemas


def test_bound_metadata(session: Session) -> None:
    engine = session.get_bind()
    old: Any = MetaData
    with pytest.raises(TypeError, match="unexpected keyword argument 'bind'"):
        old(bind=engine)
    with pytest.raises(exc.ArgumentError, match="expected schema argument to be a string"):
        old(engine)
    metadata: Any = MetaData()
    Table("shifts", metadata, sa.Column("id", sa.Integer))
    for call in (metadata.create_all, metadata.drop_all, metadata.reflect):
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'bind'"):
            call()
    assert not hasattr(metadata, "bind")
    words: Any = text
    with pytest.raises(TypeError, match="unexpected keyword argument 'bind'"):
        words("SELECT 1", bind=engine)
    metadata.create_all(session.connection())
    assert inspect(session.connection()).has_table("shifts")


def test_autoload(session: Session) -> None:
    metadata = MetaData()
    with pytest.raises(TypeError, match=r"got 'autoload'"):
        Table("tags", metadata, autoload=True, autoload_with=session.connection())
    assert "color" in Table("tags", metadata, autoload_with=session.connection()).c


def test_tables_of_an_engine(engine: Engine) -> None:
    assert not hasattr(engine, "has_table")
    assert not hasattr(engine, "table_names")
    assert not hasattr(TAGS, "exists")
    with pytest.warns(exc.SADeprecationWarning, match="from_engine"):
        Inspector.from_engine(engine)
    found: Any = inspect(engine)
    assert not hasattr(found, "reflecttable")
    assert found.has_table("tags")
    assert "tags" in found.get_table_names()


def test_tometadata() -> None:
    with pytest.warns(exc.SADeprecationWarning, match="to_metadata"):
        TAGS.tometadata(MetaData())
    assert TAGS.to_metadata(MetaData()).name == "tags"


# Values


def test_division_of_integers(session: Session) -> None:
    assert session.scalar(select(literal(5) / literal(2))) == 2.5
    assert session.scalar(select(literal(5) // literal(2))) == 2


def test_the_text_of_a_url() -> None:
    url = sa.make_url("postgresql+psycopg://desk:secret@127.0.0.1/desk")
    assert str(url) == "postgresql+psycopg://desk:***@127.0.0.1/desk"
    assert "desk:secret@" in url.render_as_string(hide_password=False)


def test_a_uuid_is_an_object(session: Session) -> None:
    value = uuid.UUID(int=1)
    for kind in (postgresql.UUID(), sa.Uuid()):
        found = session.scalar(select(sa.cast(str(value), sa.Text).cast(kind)))
        assert found == value != str(value)
        with pytest.raises(TypeError, match="not JSON serializable"):
            json.dumps(found)
    plain: Any = postgresql.UUID(as_uuid=False)
    assert session.scalar(select(literal(str(value)).cast(plain))) == str(value)


def test_a_range_is_ours(session: Session) -> None:
    """Not of the driver, whichever it is."""
    days: Any = postgresql.INT4RANGE()
    ours = postgresql.Range(1, 3)
    assert type(session.scalar(select(sa.cast(literal("[1,3)"), days)))) is postgresql.Range
    assert session.scalar(select(literal(ours, days))) == ours


def test_the_start_of_a_sequence() -> None:
    assert str(CreateSequence(sa.Sequence("numbers"))) == "CREATE SEQUENCE numbers"
    started = CreateSequence(sa.Sequence("numbers", start=1))
    assert str(started) == "CREATE SEQUENCE numbers START WITH 1"


# Warnings


def test_removed_in_20_warning() -> None:
    assert not hasattr(exc, "RemovedIn20Warning")
    for kind in (exc.LegacyAPIWarning, exc.MovedIn20Warning):
        assert issubclass(kind, exc.SADeprecationWarning)
    assert issubclass(exc.SADeprecationWarning, DeprecationWarning)


def test_imports_from_future() -> None:
    assert importlib.import_module("sqlalchemy.future").select is select
