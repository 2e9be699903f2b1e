"""The trail has every change, whoever makes it, and no secret; replayed, it gives the row."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    Enum,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    bindparam,
    cast,
    delete,
    event,
    func,
    insert,
    inspect,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    configure_mappers,
    mapped_column,
    relationship,
    sessionmaker,
)
from sqlalchemy.types import TypeDecorator, UserDefinedType

from examples.audit_trails.actor import (
    ACTOR,
    Actor,
    act_as,
    async_act_as,
    tell_actors,
)
from examples.audit_trails.retention import (
    drop_ddl,
    expired,
    keep_partitions,
    month_after,
    partitions,
)
from examples.audit_trails.session_events import SessionAudit
from examples.audit_trails.tables import LIMIT, AuditedTable, audited, kind_of_type
from examples.audit_trails.trail import (
    async_load_history,
    async_row_as_of,
    changes_by,
    changes_in_request,
    changes_of,
    history_of,
    load_history,
    replay,
    row_as_of,
    state_as_of,
)
from examples.audit_trails.triggers import body_sql, faults, install_ddl, remove_ddl
from examples.database import PoolSettings, create_asyncio_engine, create_sync_engine
from examples.models import (
    AuditLog,
    Base,
    Comment,
    Ticket,
    TicketPriority,
    TicketStatus,
    TicketTag,
    User,
    audit_partition_ddl,
)
from examples.postgres import temporary_database
from examples.soft_delete import (
    hide_deleted,
    purge_deleted,
    restore_ticket,
    soft_delete_ticket,
)
from examples.testing_patterns.factories import (
    make_comment,
    make_organization,
    make_tag,
    make_ticket,
    make_user,
)
from examples.testing_patterns.statements import assert_statements, recorded_statements
from tests.short import times

configure_mappers()
TICKETS, USERS, COMMENTS, TICKET_TAGS = (
    Base.metadata.tables[name] for name in ("tickets", "users", "comments", "ticket_tags")
)
ALL = [audited(table) for table in (TICKETS, USERS, COMMENTS, TICKET_TAGS)]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SYNC_DRIVERS: list[Any] = ["psycopg", "psycopg2"]


def install(connection: Connection, *tables: AuditedTable) -> None:
    """Install the triggers of *tables*, by default of all that are tested."""
    for table in tables or ALL:
        for statement in install_ddl(table):
            connection.execute(text(statement))


@pytest.fixture
def trailed(session: Session) -> Session:
    """A session whose database has the triggers, until it is rolled back."""
    install(session.connection())
    session.execute(text("SET LOCAL timezone = 'UTC'"))
    return session


def saved_ticket(session: Session, **overrides: Any) -> Ticket:
    """A ticket that is in the database."""
    ticket = make_ticket(**overrides)
    session.add(ticket)
    session.flush()
    return ticket


def entries(session: Session, record: Any) -> list[AuditLog]:
    """The history of a mapped object."""
    return load_history(session, record.__tablename__, inspect(record).identity[0])


def last(session: Session, record: Any) -> AuditLog:
    """The newest entry of a mapped object."""
    return entries(session, record)[-1]


def all_entries(session: Session) -> list[AuditLog]:
    """The whole trail."""
    session.expire_all()
    return list(session.scalars(select(AuditLog).order_by(AuditLog.id)))


def copy_rows(session: Session, table: str, columns: list[str], rows: list[list[Any]]) -> None:
    """COPY *rows* into *table* by whichever sync driver serves."""
    raw: Any = session.connection().connection.driver_connection
    command = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
    with raw.cursor() as cursor:
        if hasattr(cursor, "copy_expert"):
            cursor.copy_expert(command, io.StringIO("".join(line_of(row) for row in rows)))
        else:
            with cursor.copy(command) as copy:
                for row in rows:
                    copy.write_row(row)


def line_of(row: list[Any]) -> str:
    """A line of COPY's text format."""
    escapes = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
    return "\t".join("\\N" if v is None else str(v).translate(escapes) for v in row) + "\n"


# --- Triggers: every way in -----------------------------------------------------------------------


def test_every_way_of_writing_is_seen(trailed: Session) -> None:
    ticket = saved_ticket(trailed, title="a")
    key = {"id": ticket.id}
    ticket.title = "orm"
    trailed.flush()
    trailed.execute(update(Ticket).where(Ticket.id == ticket.id).values(title="bulk"))
    trailed.execute(update(Ticket), [{"id": ticket.id, "title": "by key", "version": 2}])
    trailed.connection().execute(update(TICKETS).values(title="core"))
    trailed.execute(text("UPDATE tickets SET title = 'raw' WHERE id = :id"), key)
    trailed.execute(
        text(
            "MERGE INTO tickets AS t USING (SELECT CAST(:id AS bigint) AS id) AS s ON s.id = t.id "
            "WHEN MATCHED THEN UPDATE SET title = 'merge'"
        ),
        key,
    )
    titles = [entry.changes["new"].get("title") for entry in entries(trailed, ticket)]
    assert titles == ["a", "orm", "bulk", "by key", "core", "raw", "merge"]
    trailed.execute(text("DELETE FROM tickets WHERE id = :id"), key)
    (*_, gone) = load_history(trailed, "tickets", key["id"])
    assert (gone.action, gone.changes["old"]["title"]) == ("DELETE", "merge")


def test_copy_is_seen(trailed: Session) -> None:
    trailed.connection()
    copy_rows(trailed, "users", ["email", "full_name", "password_hash"], [["a@b", "A\t\\", "-"]])
    user = trailed.scalars(select(User)).one()
    (entry,) = entries(trailed, user)
    assert (entry.action, entry.changes["new"]["full_name"]) == ("INSERT", "A\t\\")


def test_an_upsert_is_an_insert_and_an_update(trailed: Session) -> None:
    user = make_user(email="a@b.org", full_name="old")
    trailed.add(user)
    trailed.flush()
    values = [{"id": user.id, "email": "a@b.org"}, {"id": user.id + 1, "email": "c@d.org"}]
    upsert = postgresql.insert(USERS).values(
        [value | {"full_name": "new", "password_hash": "-"} for value in values]
    )
    changed = upsert.on_conflict_do_update(
        index_elements=["id"], set_={"full_name": upsert.excluded.full_name}
    )
    trailed.execute(changed)
    actions = [(entry.record_id - user.id, entry.action) for entry in all_entries(trailed)]
    assert sorted(actions) == [(0, "INSERT"), (0, "UPDATE"), (1, "INSERT")]


def test_truncate_is_seen(trailed: Session) -> None:
    ticket = saved_ticket(trailed)
    trailed.execute(text("TRUNCATE tickets CASCADE"))
    (_, gone) = load_history(trailed, "tickets", ticket.id)
    assert (gone.action, gone.changes["old"]["title"]) == ("DELETE", ticket.title)


def test_what_foreign_keys_do_is_seen(trailed: Session) -> None:
    ticket = saved_ticket(trailed, assignee=make_user())
    comment = make_comment(ticket_id=ticket.id)
    trailed.add(comment)
    trailed.flush()
    trailed.execute(delete(USERS).where(USERS.c.id == ticket.assignee_id))
    entry = last(trailed, ticket)
    assert entry.changes["new"] == {"assignee_id": None}
    trailed.execute(delete(TICKETS).where(TICKETS.c.id == ticket.id))
    assert load_history(trailed, "comments", comment.id)[-1].action == "DELETE"


def test_only_what_changed_and_null_is_a_value(trailed: Session) -> None:
    ticket = saved_ticket(trailed)
    for value in (NOON, None):
        trailed.execute(update(TICKETS).values(deleted_at=value, updated_at=NOON))
    first, second = (entry.changes for entry in entries(trailed, ticket)[1:])
    noon = "2026-03-01T12:00:00+00:00"
    assert (first["old"]["deleted_at"], first["new"]["deleted_at"]) == (None, noon)
    assert second["old"] == {"deleted_at": noon}
    assert second["new"] == {"deleted_at": None}


def test_a_no_op_leaves_no_entry(trailed: Session) -> None:
    ticket = saved_ticket(trailed)
    count = len(all_entries(trailed))
    trailed.execute(text("UPDATE tickets SET title = title, deleted_at = NULL"))
    trailed.execute(text("UPDATE tickets SET title = 'x' WHERE false"))
    trailed.execute(text("DELETE FROM comments"))
    assert len(all_entries(trailed)) == count
    assert len(entries(trailed, ticket)) == 1


def test_a_secret_is_told_to_have_changed_and_no_more(trailed: Session) -> None:
    user = make_user(password_hash="$argon2id$old")
    trailed.add(user)
    trailed.flush()
    user.password_hash = "$argon2id$new"
    trailed.execute(update(USERS).values(password_hash="$argon2id$newer"))
    first, *others = entries(trailed, user)
    assert "password_hash" not in first.changes["new"]
    assert [entry.changes["redacted"] for entry in others] == [["password_hash"]] * len(others)
    assert {key for entry in others for key in entry.changes["new"]} <= {"updated_at"}
    trailed.execute(delete(USERS))
    whole = trailed.scalars(text("SELECT string_agg(a::text, '') FROM audit_log AS a")).one()
    assert "argon2id" not in whole


def test_a_long_text_is_cut_and_a_change_behind_the_cut_is_seen(trailed: Session) -> None:
    ticket = saved_ticket(trailed, description="x" * LIMIT + "a")
    (entry,) = entries(trailed, ticket)
    assert entry.changes["cut"] == ["description"]
    assert entry.changes["new"]["description"] == "x" * LIMIT
    trailed.execute(update(TICKETS).values(description="x" * LIMIT + "b", updated_at=NOON))
    changes = last(trailed, ticket).changes
    assert changes["cut"] == ["description"]
    assert changes["old"]["description"] == changes["new"]["description"] == "x" * LIMIT
    trailed.execute(update(TICKETS).values(description="x" * LIMIT))
    trailed.execute(update(TICKETS).values(description="y"))
    assert "cut" not in last(trailed, ticket).changes


def test_a_changed_key_ends_one_record_and_begins_another(trailed: Session) -> None:
    ticket = saved_ticket(trailed)
    old, new = ticket.id, ticket.id + 1_000
    trailed.execute(update(TICKETS).values(id=new))
    assert [entry.action for entry in load_history(trailed, "tickets", old)] == ["INSERT", "DELETE"]
    assert [entry.action for entry in load_history(trailed, "tickets", new)] == ["INSERT"]


def test_a_key_of_two_columns(trailed: Session) -> None:
    tag = make_tag()
    ticket = saved_ticket(trailed, tag_links=[TicketTag(tag=tag)])
    trailed.execute(update(TICKET_TAGS).values(added_by_id=ticket.creator_id))
    made, changed = load_history(trailed, "ticket_tags", ticket.id)
    assert made.changes["key"] == changed.changes["key"] == {"tag_id": tag.id}
    assert changed.changes["new"] == {"added_by_id": ticket.creator_id}


# --- Triggers: the actor --------------------------------------------------------------------------


def test_nobody_named_is_the_database_user(trailed: Session) -> None:
    ticket = saved_ticket(trailed)
    entry = last(trailed, ticket)
    user = trailed.scalars(text("SELECT session_user::text")).one()
    assert (entry.user_id, entry.changes["db_user"]) == (None, user)
    assert "request_id" not in entry.changes


def test_a_user_id_that_is_none_refuses_no_write(trailed: Session) -> None:
    trailed.execute(text("SELECT set_config('app.user_id', 'ann; --', true)"))
    assert last(trailed, saved_ticket(trailed)).user_id is None


def test_the_actor_of_a_savepoint(trailed: Session) -> None:
    act_as(trailed, Actor(1, 'a "quoted" \\ request'))
    ticket = saved_ticket(trailed)
    with trailed.begin_nested() as inner:
        act_as(trailed, Actor(2))
        ticket.title = "second"
        trailed.flush()
        assert last(trailed, ticket).user_id == 2
        inner.rollback()
    trailed.expire_all()
    ticket.title = "third"
    trailed.flush()
    made, changed = entries(trailed, ticket)
    assert (made.user_id, changed.user_id) == (1, 1)
    assert made.changes["request_id"] == 'a "quoted" \\ request'
    assert "db_user" not in made.changes


def test_what_is_pending_was_done_by_the_one_before(trailed: Session) -> None:
    act_as(trailed, Actor(1))
    ticket = make_ticket()
    trailed.add(ticket)
    act_as(trailed, Actor(2))
    assert last(trailed, ticket).user_id == 1


@contextmanager
def pooled(url: str, driver: Any, size: int) -> Iterator[Engine]:
    """An engine of few connections on a database with triggers."""
    engine = create_sync_engine(url, driver=driver, pool=PoolSettings(size=size, max_overflow=0))
    with engine.begin() as connection:
        install(connection)
    try:
        yield engine
    finally:
        engine.dispose()


@pytest.mark.parametrize("driver", SYNC_DRIVERS)
def test_every_transaction_begins_with_the_actor(real_commits: str, driver: Any) -> None:
    with pooled(real_commits, driver, 1) as engine:
        factory = sessionmaker(engine)
        tell_actors(factory)
        with factory(info={ACTOR: Actor(7, "r")}) as session:
            ticket = saved_ticket(session)
            session.commit()
            ticket.title = "again"
            session.commit()
            assert {entry.user_id for entry in entries(session, ticket)} == {7}
            with assert_statements(session, exactly=0), session.begin_nested():
                pass
        with factory() as session, assert_statements(engine, exactly=1):
            left = session.scalar(text("SELECT current_setting('app.user_id', true)"))
            assert left == "", "not NULL: a cast to bigint would fail"


@pytest.mark.parametrize("local", [True, False])
def test_a_setting_of_the_session_leaks_into_the_next_request(
    real_commits: str, local: bool
) -> None:
    """The seeded fault: with false, as with SET, the next request acts as this one."""
    with pooled(real_commits, "psycopg", 1) as engine:
        with engine.begin() as connection:
            connection.execute(select(func.set_config("app.user_id", "7", local)))
        with Session(engine) as session:
            ticket = saved_ticket(session)
            session.commit()
            assert last(session, ticket).user_id == (None if local else 7)


@pytest.mark.concurrent
@pytest.mark.parametrize("driver", SYNC_DRIVERS)
def test_requests_on_one_pool_do_not_mix(real_commits: str, driver: Any) -> None:
    """40 requests, six threads, three connections; a third names nobody, some roll back."""
    with pooled(real_commits, driver, 3) as engine:
        factory = sessionmaker(engine)
        tell_actors(factory)

        def serve(number: int) -> tuple[int, int | None]:
            user_id = number if number % 3 else None
            info = {ACTOR: Actor(user_id, f"r{number}")} if user_id else {}
            with factory(info=info) as session:
                lost = saved_ticket(session)
                if number % 4 == 0:
                    session.rollback()
                else:
                    session.delete(lost)
                ticket = saved_ticket(session)
                session.commit()
                session.execute(update(Ticket).where(Ticket.id == ticket.id).values(title="x"))
                session.commit()
                return ticket.id, user_id

        with ThreadPoolExecutor(6) as threads:
            served = dict(threads.map(serve, range(40)))
        with factory() as session:
            found = [e for e in all_entries(session) if e.table_name == "tickets"]
        assert len([e for e in found if e.record_id in served]) == 80
        for entry in found:
            user_id = served.get(entry.record_id, entry.user_id)
            assert entry.user_id == user_id
            assert entry.changes.get("request_id") == (f"r{user_id}" if user_id else None)


@pytest.mark.concurrent
@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_tasks_on_one_pool_do_not_mix(real_commits: str, driver: Any) -> None:
    with pooled(real_commits, "psycopg", 1):
        pass

    class AuditedSession(Session):
        pass

    tell_actors(AuditedSession)
    pool = PoolSettings(size=2, max_overflow=0)
    engine = create_asyncio_engine(real_commits, driver=driver, pool=pool)
    factory = async_sessionmaker(engine, sync_session_class=AuditedSession, expire_on_commit=False)

    async def serve(number: int) -> tuple[int, int | None]:
        user_id = number if number % 3 else None
        async with factory(info={ACTOR: Actor(user_id)} if user_id else {}) as session:
            ticket = make_ticket()
            session.add(ticket)
            await session.commit()
            await session.execute(update(Ticket).where(Ticket.id == ticket.id).values(title="x"))
            await session.commit()
            return ticket.id, user_id

    try:
        served = dict(await asyncio.gather(*(serve(number) for number in range(20))))
        async with factory() as session:
            found = (await session.scalars(select(AuditLog))).all()
    finally:
        await engine.dispose()
    pairs = [(e.record_id, e.user_id) for e in found if e.table_name == "tickets"]
    assert sorted(pairs, key=str) == sorted([*served.items()] * 2, key=str)


# --- Triggers: values, order, plans, rights -------------------------------------------------------


class Point(UserDefinedType[str]):
    """A type that SQLAlchemy does not know, and that has no ``=``."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "point"


class Upper(TypeDecorator[str]):
    """A decorated type."""

    impl = String
    cache_ok = True


EVERY_TYPE: dict[str, tuple[Any, list[str]]] = {
    "bool_": (postgresql.BOOLEAN(), ["true", "false"]),
    "bigint_": (postgresql.BIGINT(), ["9223372036854775807", "-1"]),
    "numeric_": (Numeric(), ["1.10", "1.1", "'NaN'", "123456789012345678901234567890.123"]),
    "float_": (postgresql.DOUBLE_PRECISION(), ["0.1::float8 + 0.2", "'-0'", "'Infinity'"]),
    "text_": (Text(), [r"E'quo\"te ''s\\ \n\t\u0001 🎫'", "''", "'null'"]),
    "char_": (postgresql.CHAR(5), ["'ab'"]),
    "citext_": (postgresql.CITEXT(), ["'Ann'", "'ANN'"]),
    "decorated": (Upper(), ["'A'"]),
    "enum_": (Enum("a", "b", name="audit_test_enum"), ["'a'", "'b'"]),
    "uuid_": (postgresql.UUID(), ["'12345678-1234-1234-1234-123456789abc'"]),
    "bytea_": (postgresql.BYTEA(), [r"'\xdeadbeef00'", "''"]),
    "date_": (postgresql.DATE(), ["'2026-02-03'", "'infinity'", "'4000-01-01 BC'"]),
    "time_": (postgresql.TIME(), ["'23:59:59.999999'"]),
    "timestamp_": (postgresql.TIMESTAMP(), ["'2026-02-03 04:05:06.7'", "'-infinity'"]),
    "timestamptz_": (
        postgresql.TIMESTAMP(timezone=True),
        ["'2026-07-03 04:05:06.789 America/Lima'"],
    ),
    "interval_": (postgresql.INTERVAL(), ["'1 mon -1 day -3:04:05.6'", "'1 day'", "'24 hours'"]),
    "json_": (JSON(), [r"""'{"b": 1, "a": "\u0000", "a": 2}'"""]),
    "jsonb_": (postgresql.JSONB(), ["""'{"a": [1, null, "x"]}'""", "'1.10'", "'1.1'"]),
    "ints": (postgresql.ARRAY(Integer), ["'{1,NULL,3}'", "'{}'", "'{{1,2},{3,4}}'"]),
    "texts": (postgresql.ARRAY(Text), ["""'{"a,b","\\"q\\"",NULL,""}'"""]),
    "jsons": (postgresql.ARRAY(JSON), [r"""array['{"a": "\u0000"}'::json]"""]),
    "daterange_": (postgresql.DATERANGE(), ["'[2026-02-03,2026-03-04)'", "'empty'"]),
    "tstzrange_": (postgresql.TSTZRANGE(), ["'[2026-02-03 04:05:06+00,)'"]),
    "multirange_": (postgresql.INT4MULTIRANGE(), ["'{[1,3),[5,8)}'"]),
    "inet_": (postgresql.INET(), ["'10.0.0.1/8'"]),
    "bit_": (postgresql.BIT(3), ["B'101'"]),
    "tsvector_": (postgresql.TSVECTOR(), ["'fat:1A cat:2'"]),
    "hstore_": (postgresql.HSTORE(), ["""'a=>"1, 2", b=>NULL'"""]),
    "point_": (Point(), ["'(1.5,2)'", "'(0,0)'"]),
}
ODD = {
    "timezone": "America/New_York",
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "extra_float_digits": "0",
    "bytea_output": "escape",
}


def mapped(table: Table) -> Any:
    """A class for *table* alone."""

    class OwnBase(DeclarativeBase):
        metadata = MetaData()

    return type("Own", (OwnBase,), {"__table__": table})


def begin_trail(session: Session, table: Table, way: str) -> Any:
    """Create *table*, audited by its *way*, with a row; the class to change it by."""
    table.create(session.connection())
    session.execute(insert(table).values(id=1))
    own = mapped(table)
    if way == "trigger":
        install(session.connection(), audited(table))
    else:
        SessionAudit(own).listen(session)
    return own


WAYS = ["trigger", "session events"]


@pytest.mark.parametrize("way", WAYS)
def test_every_type_leads_back(session: Session, way: str) -> None:
    """By the trigger, whatever the writer has set."""
    columns = [Column(name, type_) for name, (type_, _) in EVERY_TYPE.items()]
    table = Table("audit_types", MetaData(), Column("id", Integer, primary_key=True), *columns)
    for extension in ("citext", "hstore"):
        session.execute(text(f"CREATE EXTENSION IF NOT EXISTS {extension}"))
    own = begin_trail(session, table, way)
    odd_settings = ODD if way == "trigger" else {}
    known: list[tuple[datetime, Any]] = []

    def shown(source: Any) -> Any:
        query = select(*(cast(source.c[name], Text) for name in EVERY_TYPE))
        return session.execute(query).one()

    def count() -> int:
        return session.scalars(select(func.count()).select_from(AuditLog)).one()

    def execute(statement: str) -> None:
        session.connection().exec_driver_sql(statement)

    for name, (_, values) in EVERY_TYPE.items():
        for value in [*values, "NULL", values[0]]:
            for setting, odd in odd_settings.items():
                execute(f"SET LOCAL {setting} = '{odd}'")
            before = count()
            session.execute(update(own).values({name: literal_column(value)}))
            assert count() == before + 1, f"{name} = {value} was not seen"
            session.execute(update(own).values({name: literal_column(value)}))
            assert count() == before + 1, f"{name} = {value} is a no-op"
            for setting in odd_settings:
                execute(f"SET LOCAL {setting} = DEFAULT")
            at = session.scalars(select(func.clock_timestamp())).one()
            known.append((at, shown(table)))
    for at, row in known:
        assert shown(state_as_of(table, 1, at).subquery()) == row


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("type_", "old", "new"),
    [
        (postgresql.JSONB(), '{"vip": 1}', '{"vip": true}'),
        (postgresql.JSONB(), '{"vip": 0}', '{"vip": false}'),
        (postgresql.JSONB(), "[1]", "[1.0]"),
        (postgresql.JSONB(), "12345678901234567.89", "12345678901234567.90"),
        (Numeric(20, 2), "12345678901234567.89", "12345678901234567.90"),
        (Numeric(), "0.1", "0.10"),
        (postgresql.ARRAY(Numeric), "{12345678901234567.1}", "{12345678901234567.2}"),
    ],
)
def test_what_python_takes_for_equal(
    session: Session, way: str, type_: Any, old: str, new: str
) -> None:
    """True is 1, and a float has 15 digits: both are seen, and recorded as they are."""
    columns = [Column("id", Integer, primary_key=True), Column("value", type_)]
    own = begin_trail(session, Table("audit_equals", MetaData(), *columns), way)
    for value in (old, new):
        session.execute(update(own).values(value=literal_column(f"'{value}'")))
    recorded = text(
        "SELECT changes->'old'->>'value', changes->'new'->>'value' FROM audit_log "
        "WHERE table_name = 'audit_equals' ORDER BY id DESC LIMIT 1"
    )
    assert tuple(session.execute(recorded).one()) == (old, new)


@pytest.mark.parametrize("way", WAYS)
def test_the_null_of_json_and_none_are_two(session: Session, way: str) -> None:
    """They look alike in the trail; that one became the other is told."""
    columns = [Column("id", Integer, primary_key=True), Column("value", postgresql.JSONB)]
    own = begin_trail(session, Table("audit_nulls", MetaData(), *columns), way)
    for value in ("'null'", "NULL"):
        session.execute(update(own).values(value=literal_column(value)))
    changes = [entry.changes for entry in load_history(session, "audit_nulls", 1)]
    both = [(each["old"], each["new"]) for each in changes]
    assert both == [({"value": None}, {"value": None})] * 2


def test_kinds() -> None:
    kinds = {name: kind_of_type(type_) for name, (type_, _) in EVERY_TYPE.items()}
    assert {name for name, kind in kinds.items() if kind == "text"} == {
        "text_",
        "char_",
        "citext_",
        "decorated",
        "enum_",
    }
    assert {name for name, kind in kinds.items() if kind == "json"} == {
        "numeric_",
        "jsonb_",
        "ints",
        "texts",
    }
    assert kind_of_type(JSON().with_variant(postgresql.JSONB(), "postgresql")) == "json"


def test_a_long_document_is_left_out(session: Session) -> None:
    columns = [Column("doc", postgresql.JSONB), Column("file", postgresql.BYTEA)]
    table = Table("audit_docs", MetaData(), Column("id", Integer, primary_key=True), *columns)
    table.create(session.connection())
    install(session.connection(), audited(table))
    long = {"doc": {"a": "x" * LIMIT}, "file": b"x" * LIMIT}
    session.execute(insert(table).values(id=1, **long))
    made_at = session.scalars(select(func.clock_timestamp())).one()
    session.execute(update(table).values(doc={"a": 1}, file=b"y"))
    made, changed = load_history(session, "audit_docs", 1)
    assert made.changes["cut"] == changed.changes["cut"] == ["doc", "file"]
    assert changed.changes["old"] == {"doc": None, "file": None}
    assert row_as_of(session, table, 1, made_at) == {"id": 1, "doc": None, "file": None}


def test_strange_names_of_columns(session: Session) -> None:
    """Reserved words, capitals, and the names of the function's own variables."""
    names = ["order", "User", "moment", "actor", "about", "setting", "record_id", "rest", "o", "n"]
    columns = [Column(name, Text) for name in names]
    table = Table("Select", MetaData(), Column("id", Integer, primary_key=True), *columns)
    table.create(session.connection())
    install(session.connection(), audited(table))
    session.execute(insert(table).values(id=1, **dict.fromkeys(names, "a")))
    session.execute(update(table).values(dict.fromkeys(names, "b")))
    made, changed = load_history(session, "Select", 1)
    assert changed.changes["new"] == dict.fromkeys(names, "b")
    session.execute(delete(table))
    assert replay([made, changed]) == {"id": 1} | dict.fromkeys(names, "b")
    assert faults(session.connection(), [audited(table)]) == []


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: AuditedTable("a'b", {"id": "exact"}), 'received the name "a\'b"'),
        (lambda: AuditedTable("t", {"id": "exact", "x%y": "text"}), "expected letters, digits"),
        (
            lambda: AuditedTable("t", {"id": "exact", "password": "text"}),
            r"received \['password'\]",
        ),
        (lambda: AuditedTable("t", {"x": "text"}), r"no column \['id'\]"),
        (lambda: audited(Table("t", MetaData(), Column("id", Text, primary_key=True))), "whole"),
        (lambda: audited(Table("t", MetaData(), Column("id", Integer))), "whole number"),
    ],
)
def test_what_cannot_be_audited_is_told(made: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made()


def test_what_is_left_out_and_what_is_secret() -> None:
    users = audited(USERS, leave_out=["last_login"], secrets=["email"])
    assert users.secrets == ("email", "password_hash")
    assert not {"last_login", "email", "password_hash"} & users.columns.keys()
    assert "search_vector" not in audited(TICKETS).columns


def test_the_order_is_that_of_the_changes_not_of_the_transactions(real_commits: str) -> None:
    """now() is when the transaction began: the later change would bear the earlier time."""
    with pooled(real_commits, "psycopg", 2) as engine:
        with Session(engine) as session:
            ticket_id = saved_ticket(session, title="0").id
            session.commit()
        with Session(engine) as early, Session(engine) as late:
            early.execute(text("SELECT 1"))
            change = update(Ticket).where(Ticket.id == ticket_id)
            late.execute(change.values(title="1"))
            late.commit()
            between = late.scalars(select(func.clock_timestamp())).one()
            early.execute(change.values(title="2"))
            early.commit()
            found = load_history(late, "tickets", ticket_id)
            assert [entry.changes["new"]["title"] for entry in found] == ["0", "1", "2"]
            assert found == sorted(found, key=lambda entry: entry.created_at)
            then = row_as_of(late, TICKETS, ticket_id, between)
            assert then is not None
            assert then["title"] == "1"


def five_hundred(session: Session, before: str) -> tuple[list[int], list[str]]:
    """Tickets of which eight were changed one by one, and the list that plans will be told to."""
    raw: Any = session.connection().connection.driver_connection
    notices: list[str] = []
    raw.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    organization, creator = make_organization(), make_user()
    session.add_all([organization, creator])
    session.flush()
    values = {"title": "t", "description": "d", "organization_id": organization.id}
    rows = [values | {"creator_id": creator.id} for _ in range(500)]
    ids = list(session.scalars(insert(Ticket).returning(Ticket.id), rows))
    session.execute(text(before))
    for number in range(8):
        session.execute(update(TICKETS).where(TICKETS.c.id == ids[number]).values(title="x"))
    return ids, notices


def tell_plans(session: Session) -> None:
    """From here on, what runs within a function is explained in notices."""
    session.execute(text("LOAD 'auto_explain'"))
    for name, value in {
        "log_min_duration": "0",
        "log_nested_statements": "on",
        "log_verbose": "on",
        "log_level": "notice",
    }.items():
        session.execute(text(f"SET LOCAL auto_explain.{name} = '{value}'"))


def of_entries(notices: list[str]) -> list[str]:
    """The plans of the INSERT into the trail."""
    return [
        notice for notice in notices if "Tuplestore" in notice and "Query Text: INSERT" in notice
    ]


def plans_after_small_statements(session: Session, before_bulk: str) -> list[str]:
    """The plans inside the trigger for an UPDATE of many rows, after some of one row."""
    _, notices = five_hundred(session, before_bulk)
    tell_plans(session)
    session.execute(update(TICKETS).values(title="y"))
    return of_entries(notices)


def plans_after_a_large_statement(session: Session, before: str) -> list[str]:
    """The plans for one row, when the plan that is kept was made anew for many rows.

    Autovacuum's ANALYZE does that to every connection: whatever comes next is planned for.
    """
    ids, notices = five_hundred(session, before)
    session.execute(text("ANALYZE tickets"))
    session.execute(update(TICKETS).values(title="y"))
    tell_plans(session)
    session.execute(update(TICKETS).where(TICKETS.c.id == ids[0]).values(title="z"))
    return of_entries(notices)


@pytest.mark.parametrize("driver", ["psycopg"])
def test_one_row_after_many_is_not_planned_anew(real_commits: str, driver: Any) -> None:
    """A plan that is kept has parameters; one that is made for this row alone has their values."""
    with pooled(real_commits, driver, 1) as engine, Session(engine) as session:
        (plan,) = plans_after_a_large_statement(session, "SELECT 1")
        assert re.search(r"\$\d", plan.partition("Insert on")[2])
        session.rollback()
        reset = "ALTER FUNCTION audit_tickets() RESET plan_cache_mode"
        (plan,) = plans_after_a_large_statement(session, reset)
        assert not re.search(r"\$\d", plan.partition("Insert on")[2])


@pytest.mark.parametrize("driver", ["psycopg"])
def test_the_plan_of_one_row_serves_twenty_thousand(real_commits: str, driver: Any) -> None:
    """A trigger keeps the plan of its first statement: without the setting, nested loops."""
    with pooled(real_commits, driver, 1) as engine, Session(engine) as session:
        (plan,) = plans_after_small_statements(session, "SELECT 1")
        assert "Nested Loop" not in plan
        assert "Join" in plan
        session.rollback()
        reset = "ALTER FUNCTION audit_tickets() RESET enable_nestloop"
        (plan,) = plans_after_small_statements(session, reset)
        assert "Nested Loop" in plan


def test_the_application_cannot_touch_the_trail(trailed: Session) -> None:
    role = f"soe_{secrets.token_hex(6)}"
    trailed.execute(text(f"CREATE ROLE {role}"))
    trailed.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON tickets TO {role}"))
    trailed.execute(text(f"GRANT CREATE ON SCHEMA public TO {role}"))
    ticket = saved_ticket(trailed)
    trailed.execute(text(f"SET LOCAL ROLE {role}"))
    trailed.execute(text("UPDATE tickets SET title = 'by the role'"))
    for attempt in (
        "DELETE FROM audit_log",
        "INSERT INTO audit_log (table_name, record_id, action) VALUES ('tickets', 1, 'DELETE')",
        "CREATE TABLE forged AS SELECT 1 AS id; CREATE TRIGGER audit_insert AFTER INSERT ON forged "
        "REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION audit_tickets()",
    ):
        with trailed.begin_nested() as savepoint:
            *first, refused = attempt.split("; ")
            for statement in first:
                trailed.execute(text(statement))
            with pytest.raises(ProgrammingError, match="permission denied"):
                trailed.execute(text(refused))
            savepoint.rollback()
    trailed.execute(text("RESET ROLE"))
    assert last(trailed, ticket).changes["new"]["title"] == "by the role"


def test_what_triggers_do_not_see(trailed: Session) -> None:
    """The limits that the page names."""
    ticket = saved_ticket(trailed)
    trailed.execute(text("SET LOCAL session_replication_role = replica"))
    trailed.execute(text("UPDATE tickets SET title = 'replica'"))
    trailed.execute(text("SET LOCAL session_replication_role = origin"))
    trailed.execute(text("ALTER TABLE tickets ADD COLUMN extra text DEFAULT 'x'"))
    trailed.execute(text("SELECT title FROM tickets FOR UPDATE"))
    assert len(entries(trailed, ticket)) == 1


# --- Triggers in migrations -----------------------------------------------------------------------


def test_a_revision_installs_and_removes_them(session: Session) -> None:
    """What ``op.execute`` makes of the statements: nothing in them is taken for a parameter."""
    connection = session.connection()
    tickets = audited(TICKETS)
    # Frozen in the revision: the models go on changing.
    frozen = eval(repr(tickets), {"AuditedTable": AuditedTable})  # noqa: S307 - our own repr
    assert frozen == tickets
    with Operations.context(MigrationContext.configure(connection)) as op:
        assert faults(connection, [tickets]) == ["tickets: not installed"]
        for _ in range(2):  # a revision may run again
            for statement in install_ddl(frozen):
                op.execute(statement)
            assert faults(connection, [tickets]) == []
        ticket = saved_ticket(session)
        assert len(entries(session, ticket)) == 1
        for statement in remove_ddl(frozen):
            op.execute(statement)
        assert faults(connection, [tickets]) == ["tickets: not installed"]
    ticket.title = "unseen"
    session.flush()
    assert len(entries(session, ticket)) == 1
    left = session.scalars(
        text("SELECT proname FROM pg_proc WHERE proname = 'audit_tickets'")
    ).all()
    assert left == []


def test_offline_sql_has_them_too() -> None:
    out = io.StringIO()
    options = {"as_sql": True, "output_buffer": out, "dialect_opts": {"paramstyle": "named"}}
    context = MigrationContext.configure(dialect_name="postgresql", opts=options)
    with Operations.context(context) as op:
        for statement in install_ddl(audited(USERS)):
            op.execute(statement)
    assert body_sql(audited(USERS)).strip() in out.getvalue()


def test_a_column_more_or_less_is_a_fault(trailed: Session) -> None:
    connection, tickets = trailed.connection(), audited(TICKETS)
    saved_ticket(trailed)
    assert faults(connection, ALL) == []
    metadata = MetaData()
    connection.execute(text("ALTER TABLE tickets DROP COLUMN duplicate_of_id"))
    refused = text("UPDATE tickets SET title = 'refused'")
    with trailed.begin_nested() as savepoint:
        with pytest.raises(ProgrammingError, match="duplicate_of_id does not exist"):
            trailed.execute(refused)
        savepoint.rollback()
    kept = [column._copy() for column in TICKETS.c if column.name != "duplicate_of_id"]
    fewer = audited(Table("tickets", metadata, *kept))
    (fault,) = faults(connection, [fewer])
    assert fault == "tickets: other columns than its function compares; install again"
    install(connection, fewer)
    assert faults(connection, [fewer]) == []
    trailed.execute(text("UPDATE tickets SET title = 'taken'"))
    connection.execute(text("ALTER TABLE tickets DISABLE TRIGGER audit_update"))
    assert faults(connection, [fewer]) == ["tickets: audit_update is missing or disabled"]
    assert tickets.columns.keys() - fewer.columns.keys() == {"duplicate_of_id"}


# --- Reading --------------------------------------------------------------------------------------


def test_who_changed_what(trailed: Session) -> None:
    act_as(trailed, Actor(1, "first"))
    user = make_user()
    ticket = saved_ticket(trailed, creator=user)
    act_as(trailed, Actor(2, "second"))
    ticket.title = "by two"
    user.password_hash = "$2"
    trailed.flush()
    end = datetime.now(UTC) + timedelta(days=1)
    begin = end - timedelta(days=2)

    def users(statement: Any) -> list[int | None]:
        with assert_statements(trailed, exactly=1):
            return [entry.user_id for entry in trailed.scalars(statement)]

    assert users(changes_of("tickets", ticket.id, "title")) == [1, 2]
    assert users(changes_of("tickets", ticket.id, "priority")) == [1]
    assert users(changes_of("users", user.id, "password_hash")) == [2]
    assert users(changes_by(2, begin, end)) == [2, 2]
    assert users(changes_by(2, begin, begin)) == []
    assert users(changes_in_request("second", begin, end)) == [2, 2]
    assert users(history_of("tickets", ticket.id)) == [1, 2]


def test_the_state_as_of_an_instant(trailed: Session) -> None:
    def now() -> datetime:
        at: datetime = trailed.scalars(select(func.clock_timestamp())).one()
        return at

    before = now()
    ticket = saved_ticket(trailed, title="0", resolved_at=NOON, status=TicketStatus.RESOLVED)
    ticket_id, instants = ticket.id, [now()]
    for title in "12":
        trailed.execute(update(TICKETS).values(title=title, resolved_at=NOON))
        instants.append(now())
    trailed.execute(delete(TICKETS))
    gone = now()
    for number, instant in enumerate(instants):
        with assert_statements(trailed, exactly=1):
            row = row_as_of(trailed, TICKETS, ticket_id, instant)
        assert row is not None
        assert (row["title"], row["status"]) == (str(number), TicketStatus.RESOLVED)
        assert row["resolved_at"] == NOON
    assert row_as_of(trailed, TICKETS, ticket_id, before) is None
    assert row_as_of(trailed, TICKETS, ticket_id, gone) is None
    assert row_as_of(trailed, TICKETS, ticket_id + 1, gone) is None


def test_a_record_older_than_the_trail_is_known(session: Session) -> None:
    ticket = saved_ticket(session, title="old")
    install(session.connection())
    begin = session.scalars(select(func.clock_timestamp())).one()
    session.execute(update(TICKETS).values(title="new"))
    row = row_as_of(session, TICKETS, ticket.id, begin)
    assert row is not None
    assert (row["title"], row["creator_id"]) == ("old", ticket.creator_id)


def test_a_secret_is_in_no_earlier_state(trailed: Session) -> None:
    user = make_user()
    trailed.add(user)
    trailed.flush()
    row = row_as_of(trailed, USERS, user.id, datetime.now(UTC) + timedelta(days=1))
    assert row is not None
    assert "password_hash" not in row


@pytest.mark.asyncio
async def test_reading_under_asyncio(async_session: AsyncSession) -> None:
    connection = await async_session.connection()
    await connection.run_sync(install)
    await async_act_as(async_session, Actor(5))
    ticket = make_ticket(title="a")
    async_session.add(ticket)
    await async_session.flush()
    at = (await async_session.scalars(select(func.clock_timestamp()))).one()
    ticket.title = "b"
    await async_session.flush()
    found = await async_load_history(async_session, "tickets", ticket.id)
    assert [(e.user_id, e.changes["new"]["title"]) for e in found] == [(5, "a"), (5, "b")]
    row = await async_row_as_of(async_session, TICKETS, ticket.id, at)
    assert row is not None
    assert row["title"] == "a"


@pytest.fixture(scope="module")
def long_trail(postgres_url: str, template_name: str) -> Iterator[Engine]:
    """20,000 entries in four months, analysed."""
    with temporary_database(postgres_url, template=template_name) as url:
        engine = create_sync_engine(url)
        with engine.begin() as connection:
            for month in range(1, 5):
                connection.execute(text(audit_partition_ddl(date(2026, month, 1))))
            connection.execute(
                text(
                    "INSERT INTO audit_log "
                    "(created_at, table_name, record_id, action, user_id, changes) "
                    "SELECT '2026-01-01 00:00+00'::timestamptz + n * interval '500 seconds', "
                    "'tickets', n % 2000, 'UPDATE', n % 50, "
                    "jsonb_build_object('old', '{}'::jsonb, 'new', '{}'::jsonb) "
                    "FROM generate_series(1, 20000) AS n"
                )
            )
        with engine.connect() as connection:
            autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
            autocommit.execute(text("VACUUM ANALYZE"))
        yield engine
        engine.dispose()


@pytest.mark.parametrize(
    ("statement", "index", "months"),
    [
        (history_of("tickets", 7), "table_name_record_id", 4),
        (changes_of("tickets", 7, "title"), "table_name_record_id", 4),
        (state_as_of(TICKETS, 7, datetime(2026, 3, 20, tzinfo=UTC)), "table_name_record_id", 2),
        (
            changes_by(7, datetime(2026, 2, 10, tzinfo=UTC), datetime(2026, 2, 12, tzinfo=UTC)),
            "user_id_created_at",
            1,
        ),
    ],
)
def test_the_index_and_the_months_of_each_reading(
    long_trail: Engine, statement: Any, index: str, months: int
) -> None:
    with long_trail.connect() as connection:
        compiled = statement.compile(connection, compile_kwargs={"render_postcompile": True})
        rows = connection.exec_driver_sql(f"EXPLAIN {compiled}", compiled.params)
        plan = "\n".join(row[0] for row in rows)
    scanned = {f"audit_log_2026_{n:02}" for n in range(1, 5) if f"on audit_log_2026_{n:02}" in plan}
    assert len(scanned) == months, plan
    assert f"{index}" in plan
    assert "Seq Scan on audit_log_2026" not in plan


# --- Retention ------------------------------------------------------------------------------------


def add_entry(connection: Connection, at: str) -> None:
    """An entry of *at*."""
    connection.execute(
        text(
            "INSERT INTO audit_log (created_at, table_name, record_id, action) "
            "VALUES (CAST(:at AS timestamptz), 'tickets', 1, 'UPDATE')"
        ),
        {"at": at},
    )


def test_months_are_made_ahead_and_dropped(session: Session) -> None:
    connection = session.connection()
    today = date(2026, 3, 31)
    assert keep_partitions(connection, today, ahead=1) == (
        ["audit_log_2026_03", "audit_log_2026_04"],
        [],
    )
    assert keep_partitions(connection, today, ahead=1) == ([], [])
    add_entry(connection, "2026-03-31 23:59:59.999999+00")
    assert connection.scalar(text("SELECT count(*) FROM audit_log_2026_03")) == 1
    made, dropped = keep_partitions(connection, date(2026, 6, 1), ahead=0, keep=2)
    assert (made, dropped) == (["audit_log_2026_06"], ["audit_log_2026_03"])
    assert connection.scalar(text("SELECT count(*) FROM audit_log")) == 0
    assert "audit_log_default" in connection.scalars(partitions()).all()


def test_a_month_whose_entries_came_before_it_was_made(session: Session) -> None:
    connection = session.connection()
    for at in ("2026-02-28 23:59:59+00", "2026-03-01 00:00+00", "2026-03-31 23:59+00"):
        add_entry(connection, at)
    ids = connection.scalars(text("SELECT id FROM audit_log ORDER BY id")).all()
    with pytest.raises(IntegrityError, match="would be violated"), connection.begin_nested():
        connection.execute(text(audit_partition_ddl(date(2026, 3, 1))))
    keep_partitions(connection, date(2026, 3, 5), ahead=0)
    assert connection.scalar(text("SELECT count(*) FROM audit_log_2026_03")) == 2
    assert connection.scalar(text("SELECT count(*) FROM audit_log_default")) == 1
    assert connection.scalars(text("SELECT id FROM audit_log ORDER BY id")).all() == ids


def test_which_months_are_old() -> None:
    names = ["audit_log_2025_12", "audit_log_2026_01", "audit_log_default", "audit_log_2024_01_x"]
    assert expired(names, date(2026, 1, 31)) == ["audit_log_2025_12"]
    assert drop_ddl("audit_log_2025_12")[0].startswith("ALTER TABLE audit_log DETACH PARTITION")
    assert month_after(date(2026, 1, 31), -1) == date(2025, 12, 1)
    assert month_after(date(2026, 12, 5), 1) == date(2027, 1, 1)


def test_detaching_concurrently_is_refused(real_commits: str) -> None:
    """Why ``drop_ddl`` does not."""
    engine = create_sync_engine(real_commits)
    with engine.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text(audit_partition_ddl(date(2026, 3, 1))))
        detach = text("ALTER TABLE audit_log DETACH PARTITION audit_log_2026_03 CONCURRENTLY")
        with pytest.raises(DBAPIError, match="default partition exists"):
            connection.execute(detach)
    engine.dispose()


def test_it_gives_way_to_whoever_uses_the_trail(real_commits: str) -> None:
    engine = create_sync_engine(real_commits)
    with engine.connect() as reader, engine.connect() as job:
        reader.execute(text("SELECT count(*) FROM audit_log"))
        with pytest.raises(DBAPIError, match="lock timeout"):
            keep_partitions(job, date(2026, 3, 1))
    engine.dispose()


# --- Session events -------------------------------------------------------------------------------


@pytest.fixture
def listened(session: Session) -> Session:
    """A session without triggers, whose events write the trail."""
    SessionAudit(Ticket, User, Comment, TicketTag).listen(session)
    session.execute(text("SET LOCAL timezone = 'UTC'"))
    return session


def test_the_orm_is_recorded(listened: Session) -> None:
    act_as(listened, Actor(3, "r"))
    ticket = saved_ticket(listened, title="a", description="x" * LIMIT + "a")
    ticket.title = "b"
    ticket.description = "x" * LIMIT + "b"
    listened.flush()
    listened.delete(ticket)
    listened.flush()
    made, changed, gone = load_history(listened, "tickets", ticket.id)
    assert [made.action, changed.action, gone.action] == ["INSERT", "UPDATE", "DELETE"]
    assert made.changes["new"]["status"] == "open", "a default of the server"
    assert {made.user_id, changed.user_id, gone.user_id} == {3}
    assert changed.changes["request_id"] == "r"
    names = {"title", "description", "version", "updated_at"}
    assert changed.changes["new"].keys() <= names
    assert made.changes["cut"] == changed.changes["cut"] == ["description"]
    assert gone.changes["old"]["title"] == "b"


def test_a_flush_writes_its_entries_at_once(listened: Session) -> None:
    tickets = [make_ticket(organization=(org := make_organization())) for _ in range(3)]
    for ticket in tickets:
        ticket.organization = org
    listened.add_all(tickets)
    listened.flush()
    for ticket in tickets:
        ticket.title = "changed"
    with recorded_statements(listened) as statements:
        listened.flush()
    reads = [sql for sql in statements if sql.startswith("SELECT")]
    writes = [sql for sql in statements if sql.startswith("INSERT INTO audit_log")]
    assert (len(reads), len(writes)) == (2, 1)
    with assert_statements(listened, exactly=0):
        listened.flush()


def test_an_old_value_that_the_session_has_forgotten(listened: Session) -> None:
    """After a commit, the history of an attribute that is set has no old value."""
    ticket = saved_ticket(listened, title="old")
    listened.commit()
    ticket.title = "new"
    assert inspect(ticket).attrs.title.history.deleted == ()
    listened.flush()
    assert last(listened, ticket).changes["old"]["title"] == "old"


def test_an_old_value_that_is_stale(real_commits: str) -> None:
    engine = create_sync_engine(real_commits)
    factory = sessionmaker(engine)
    SessionAudit(User).listen(factory)
    with factory(expire_on_commit=False) as mine, factory() as theirs:
        user = make_user(full_name="loaded")
        mine.add(user)
        mine.commit()
        theirs.get_one(User, user.id).full_name = "theirs"
        theirs.commit()
        user.full_name = "mine"
        mine.commit()
        assert last(mine, user).changes["old"]["full_name"] == "theirs"
    engine.dispose()


def test_an_sql_expression_and_a_relationship(listened: Session) -> None:
    ticket = saved_ticket(listened, title="a")
    ticket.title = func.upper(Ticket.title)
    ticket.assignee = assignee = make_user()
    listened.flush()
    new = last(listened, ticket).changes["new"]
    assert (new["title"], new["assignee_id"]) == ("A", assignee.id)


def test_an_orphan_is_a_delete(listened: Session) -> None:
    ticket = make_ticket(comments=[make_comment()])
    listened.add(ticket)
    listened.flush()
    (comment,) = ticket.comments
    ticket.comments.remove(comment)
    listened.flush()
    actions = [entry.action for entry in load_history(listened, "comments", comment.id)]
    assert actions == ["INSERT", "DELETE"]


def test_a_row_that_the_flush_itself_changes(listened: Session) -> None:
    """Its foreign key is set to NULL; before the flush nothing said so."""
    duplicates = [make_ticket(), make_ticket()]
    ticket = make_ticket(duplicates=duplicates, duplicate_of=None)  # all of it loaded
    listened.add(ticket)
    listened.flush()
    key = ticket.id
    listened.delete(ticket)
    assert not listened.dirty
    listened.flush()
    for duplicate in duplicates:
        entry = last(listened, duplicate)
        assert entry.action == "UPDATE"
        assert entry.changes["old"]["duplicate_of_id"] == key
        assert entry.changes["new"]["duplicate_of_id"] is None
    assert load_history(listened, "tickets", key)[-1].action == "DELETE"


class MessageBase(DeclarativeBase):
    """A registry of its own."""

    metadata = MetaData()


class Message(MessageBase):
    """A base of others, whose replies do not know what they reply to."""

    __tablename__ = "audit_messages"
    __mapper_args__ = {  # noqa: RUF012
        "polymorphic_on": "kind",
        "polymorphic_identity": "message",
    }

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    words: Mapped[str]
    reply_to_id: Mapped[int | None] = mapped_column(ForeignKey("audit_messages.id"))

    replies: Mapped[list[Message]] = relationship(cascade="all, delete-orphan", single_parent=True)


class Email(Message):
    """In the table of its base."""

    __mapper_args__ = {"polymorphic_identity": "email"}  # noqa: RUF012


class Call(Message):
    """With a table of its own besides."""

    __tablename__ = "audit_calls"
    __mapper_args__ = {"polymorphic_identity": "call"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("audit_messages.id"), primary_key=True)
    minutes: Mapped[int]


@pytest.fixture
def of_messages(session: Session) -> Session:
    """A session whose events write the trail of messages."""
    MessageBase.metadata.create_all(session.connection())
    SessionAudit(Message).listen(session)
    return session


@pytest.mark.parametrize("make", [Message, Email, lambda **values: Call(minutes=1, **values)])
def test_a_class_that_inherits_the_table(of_messages: Session, make: Any) -> None:
    message = make(words="a")
    of_messages.add(message)
    of_messages.flush()
    message.words = "b"
    of_messages.flush()
    key = message.id
    of_messages.delete(message)
    of_messages.flush()
    found = load_history(of_messages, "audit_messages", key)
    assert [entry.action for entry in found] == ["INSERT", "UPDATE", "DELETE"]
    assert found[1].changes["new"] == {"words": "b"}


def test_bulk_of_a_class_that_inherits_the_table(of_messages: Session) -> None:
    message, email = Message(words="a"), Email(words="a")
    of_messages.add_all([message, email])
    of_messages.flush()
    keys = message.id, email.id
    of_messages.execute(update(Email).values(words="b"))
    of_messages.execute(update(Email), [{"id": keys[1], "words": "c"}])
    of_messages.execute(delete(Email))
    told = [
        [entry.changes["new"]["words"] for entry in trail if entry.action != "DELETE"]
        for trail in (load_history(of_messages, "audit_messages", key) for key in keys)
    ]
    assert told == [["a"], ["a", "b", "c"]]
    assert load_history(of_messages, "audit_messages", keys[1])[-1].action == "DELETE"


def test_what_only_the_parent_knows(of_messages: Session) -> None:
    """No reply was touched: the flush finds out what becomes of it."""
    question, reply, orphan = (Message(words=words) for words in "abc")
    orphan.replies = [Message(words="d")]
    question.replies = [orphan]
    of_messages.add_all([question, reply])
    of_messages.flush()
    keys = [reply.id, orphan.id, orphan.replies[0].id]
    question.replies = [reply]
    assert set(of_messages.dirty) == {question}
    of_messages.flush()
    found = [load_history(of_messages, "audit_messages", key)[-1] for key in keys]
    assert [entry.action for entry in found] == ["UPDATE", "DELETE", "DELETE"]
    assert found[0].changes["old"] == {"reply_to_id": None}
    assert found[0].changes["new"] == {"reply_to_id": question.id}


def test_a_touch_without_a_change_reads_nothing(listened: Session) -> None:
    ticket = saved_ticket(listened, title="same")
    ticket.title = "same"
    with assert_statements(listened, exactly=0):
        listened.flush()


def test_no_net_change_is_no_entry(listened: Session) -> None:
    ticket = saved_ticket(listened, title="same")
    ticket.title = "other"
    ticket.title = "same"
    listened.flush()
    assert len(entries(listened, ticket)) == 1


def test_a_flush_that_fails_leaves_nothing(listened: Session) -> None:
    ticket = saved_ticket(listened)
    count = len(all_entries(listened))
    with listened.begin_nested() as savepoint:
        ticket.title = " "
        with pytest.raises(IntegrityError):
            listened.flush()
        savepoint.rollback()
    assert len(all_entries(listened)) == count
    ticket.title = "fine"
    listened.flush()
    assert last(listened, ticket).changes["new"]["title"] == "fine"


def test_bulk_update_and_delete_are_recorded(listened: Session) -> None:
    tickets = [saved_ticket(listened, title=title) for title in "ab"]
    ids = [ticket.id for ticket in tickets]
    new = update(Ticket).where(Ticket.title == bindparam("old_title")).values(title="c")
    listened.execute(new, {"old_title": "a"})
    assert last(listened, tickets[0]).changes["old"]["title"] == "a"
    assert len(entries(listened, tickets[1])) == 1
    assert tickets[0].title == "c", "the session is synchronised as without us"
    returned = listened.scalars(update(Ticket).values(description="d").returning(Ticket.id)).all()
    assert sorted(returned) == ids
    assert last(listened, tickets[1]).changes["new"]["description"] == "d"
    listened.execute(update(Ticket), [{"id": n, "title": "e", "version": 1} for n in ids])
    assert [last(listened, ticket).changes["new"]["title"] for ticket in tickets] == ["e", "e"]
    result: Any = listened.execute(delete(Ticket).where(Ticket.id.in_(ids)))
    assert result.rowcount == 2
    assert load_history(listened, "tickets", ids[0])[-1].action == "DELETE"
    count = len(all_entries(listened))
    listened.execute(delete(Ticket).where(Ticket.id.in_(ids)))
    assert len(all_entries(listened)) == count


def test_bulk_that_is_to_be_evaluated_in_python_is_refused(listened: Session) -> None:
    """It is narrowed to the rows that were read, by a subquery."""
    saved_ticket(listened)
    statement = update(Ticket).where(Ticket.title == "a").values(title="b")
    with pytest.raises(InvalidRequestError, match="Could not evaluate"):
        listened.execute(statement, execution_options={"synchronize_session": "evaluate"})


def test_bulk_of_a_key_of_two_columns(listened: Session) -> None:
    tags = [make_tag(), make_tag()]
    ticket = saved_ticket(listened, tag_links=[TicketTag(tag=tag) for tag in tags])
    of_one = update(TicketTag).where(TicketTag.tag_id == tags[0].id)
    listened.execute(of_one.values(added_by_id=ticket.creator_id))
    changed = [e for e in all_entries(listened) if e.action == "UPDATE"]
    assert [entry.changes["key"] for entry in changed] == [{"tag_id": tags[0].id}]


@pytest.mark.parametrize("first", ["audit", "bin"])
def test_what_lies_in_the_bin_is_recorded(session: Session, first: str) -> None:
    """A statement that says "the bin included" says so to the look at its rows as well."""
    if first == "audit":
        SessionAudit(Ticket).listen(session)
    event.listen(session, "do_orm_execute", hide_deleted)
    if first == "bin":
        SessionAudit(Ticket).listen(session)
    ticket = saved_ticket(session)
    key = ticket.id
    assert soft_delete_ticket(session, key) == [key]
    assert restore_ticket(session, key) == [key]
    entry = load_history(session, "tickets", key)[-1]
    assert (entry.action, entry.changes["new"]["deleted_at"]) == ("UPDATE", None)
    session.connection().execute(update(TICKETS).values(deleted_at=NOON))
    assert purge_deleted(session, timedelta(0)) == 1
    assert load_history(session, "tickets", key)[-1].action == "DELETE"


def test_bulk_sees_what_is_pending(listened: Session) -> None:
    ticket = make_ticket(title="pending")
    listened.add(ticket)
    listened.execute(update(Ticket).where(Ticket.title == "pending").values(title="done"))
    actions = [entry.action for entry in entries(listened, ticket)]
    assert actions == ["INSERT", "UPDATE"]


def test_what_a_bulk_update_costs_a_session_that_listens(listened: Session) -> None:
    """Its keys, its rows before and its rows after."""
    saved_ticket(listened)
    with recorded_statements(listened) as statements:
        listened.execute(update(Ticket).values(title="done"))
    kinds = [each.split()[0] for each in statements]
    assert kinds == ["SELECT", "SELECT", "UPDATE", "SELECT", "INSERT"]


def test_a_secret_that_the_session_changes(listened: Session) -> None:
    user = make_user(password_hash="$argon2id$1")
    listened.add(user)
    listened.flush()
    user.password_hash = "$argon2id$2"
    listened.flush()
    listened.execute(update(User).values(password_hash="$argon2id$3"))
    _, first, second = entries(listened, user)
    assert first.changes["redacted"] == second.changes["redacted"] == ["password_hash"]
    assert "argon2id" not in json.dumps([entry.changes for entry in all_entries(listened)])


def test_what_session_events_do_not_see(listened: Session) -> None:
    """The limits that the page names; a trigger sees every one of them."""
    user = make_user()
    ticket = saved_ticket(listened, creator=user, comments=[make_comment(author=user)])
    count = len(all_entries(listened))
    listened.execute(update(TICKETS).values(title="core"))
    listened.execute(text("UPDATE tickets SET title = 'raw'"))
    row = {"email": "a@b.org", "full_name": "A", "password_hash": "-"}
    listened.execute(insert(User), [row])
    copy_rows(listened, "users", list(row), [["c@d.org", "C", "-"]])
    listened.bulk_save_objects([make_user()])
    listened.bulk_insert_mappings(User, [row | {"email": "e@f.org"}])
    listened.bulk_update_mappings(Ticket, [{"id": ticket.id, "title": "mapped", "version": 1}])
    assert listened.scalar(select(TICKETS.c.title)) == "mapped"
    assert len(all_entries(listened)) == count
    listened.delete(ticket)  # its comments go by ON DELETE CASCADE
    listened.flush()
    assert len(all_entries(listened)) == count + 1


@pytest.mark.asyncio
async def test_session_events_under_asyncio(async_session: AsyncSession) -> None:
    SessionAudit(Ticket).listen(async_session.sync_session)
    ticket = make_ticket(title="a")
    async_session.add(ticket)
    await async_session.flush()
    ticket.title = "b"
    await async_session.flush()
    await async_session.execute(update(Ticket).where(Ticket.id == ticket.id).values(title="c"))
    found = await async_load_history(async_session, "tickets", ticket.id)
    assert [entry.changes["new"]["title"] for entry in found] == ["a", "b", "c"]


def test_a_row_that_comes_to_match_meanwhile_is_left_alone(real_commits: str) -> None:
    """The rows that were read are the rows that are changed."""
    engine = create_sync_engine(real_commits)
    factory = sessionmaker(engine)
    SessionAudit(Ticket).listen(factory)
    with factory() as session, factory() as other:
        saved_ticket(session, title="match")
        session.commit()

        def sneak(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
            if sql.startswith("UPDATE tickets"):  # between the look and the change
                saved_ticket(other, title="match")
                other.commit()

        connection = session.connection()
        event.listen(connection, "before_cursor_execute", sneak)
        session.execute(update(Ticket).where(Ticket.title == "match").values(title="done"))
        event.remove(connection, "before_cursor_execute", sneak)
        session.commit()
        found = [e for e in all_entries(session) if e.action == "UPDATE"]
        done = session.scalars(select(func.count()).where(Ticket.title == "done")).one()
        assert (len(found), done) == (1, 1)
    engine.dispose()


# --- Properties -----------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.sampled_from(
        ["Printer", "'; --", 'a "b" \\ c', "\\N", "null", "Grün 🎫\u0001\t\n", "%s %(x)s :y"]
    ),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
)
LONG = st.sampled_from(["", "x" * LIMIT, "x" * LIMIT + "a", "x" * LIMIT + "b", "🎫" * (LIMIT + 1)])
HASHES = st.text("0123456789abcdef", min_size=16, max_size=16).map("$argon2id$".__add__)
TICKET_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "title": TEXTS.map("t".__add__),
        "description": st.one_of(TEXTS, LONG),
        "priority": st.sampled_from(list(TicketPriority)).map(str),
        "assignee": st.one_of(st.none(), st.integers(0, 2)),
        "deleted_at": st.sampled_from([None, NOON, NOON + timedelta(microseconds=1)]),
    },
)
USER_VALUES = st.fixed_dictionaries(
    {},
    optional={"full_name": TEXTS, "password_hash": HASHES, "last_login": st.just(NOON)},
)


def operations(ways: list[str]) -> st.SearchStrategy[list[Any]]:
    """``(way, kind, which row, values of a ticket, values of a user)``, some of them."""
    kinds = ["insert", "update", "update", "update", "delete", "no-op"]
    step = st.tuples(
        st.sampled_from(ways),
        st.sampled_from(kinds),
        st.integers(0, 50),
        TICKET_VALUES,
        st.tuples(USER_VALUES, st.booleans()),
    )
    return st.lists(step, min_size=1, max_size=12)


class Desk:
    """Does what an operation says to tickets and users, by the way that it says."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.organization = make_organization()
        self.people = [make_user() for _ in range(3)]
        session.add_all([self.organization, *self.people])
        session.flush()
        self.staff = [user.id for user in self.people]
        self.made = 0

    def do(self, way: str, kind: str, which: int, ticket: dict[str, Any], user: Any) -> None:
        """One operation."""
        values, of_user = user
        if of_user:
            self.change(User, way, kind, which, values)
            return
        changed = dict(ticket)
        if "assignee" in changed:
            number = changed.pop("assignee")
            changed["assignee_id"] = None if number is None else self.staff[number]
        self.change(Ticket, way, kind, which, changed)

    def change(self, cls: Any, way: str, kind: str, which: int, values: dict[str, Any]) -> None:
        """Change *cls* or its table."""
        session = self.session
        session.expire_all()
        if kind == "insert":
            self.insert(cls, way, self.complete(cls, values))
            return
        held = self.staff if cls is User else []
        ids = session.scalars(select(cls.id).where(cls.id.not_in(held)).order_by(cls.id)).all()
        if cls is User and kind != "delete":
            ids = [*ids, *held]
        if not ids:
            return
        self.alter(cls, way, kind, ids[which % len(ids)], values)

    def complete(self, cls: Any, values: dict[str, Any]) -> dict[str, Any]:
        """*values* with what a row cannot be without."""
        self.made += 1
        if cls is User:
            email = {"email": f"p{self.made}-{secrets.token_hex(4)}@x.org"}
            return {"full_name": "P", "password_hash": "$argon2id$new"} | values | email
        needed = {"organization_id": self.organization.id, "creator_id": self.staff[0]}
        return {"title": "T", "description": "D"} | values | needed

    def insert(self, cls: Any, way: str, values: dict[str, Any]) -> None:
        """By the ORM, in bulk, by Core, raw, or COPY."""
        session, table = self.session, cls.__table__
        names = list(values)
        if way == "orm":
            session.add(cls(**values))
            session.flush()
        elif way == "bulk":
            session.execute(insert(cls), [values])
        elif way == "core":
            session.connection().execute(insert(table), [values])
        elif way == "raw":
            places = ", ".join(f":{name}" for name in names)
            session.execute(
                text(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})"), values
            )
        else:
            copy_rows(session, table.name, names, [list(values.values())])

    def alter(self, cls: Any, way: str, kind: str, key: int, values: dict[str, Any]) -> None:
        """UPDATE, DELETE, or an UPDATE that changes nothing."""
        session, table = self.session, cls.__table__
        if kind == "delete":
            if way == "orm":
                session.delete(session.get_one(cls, key))
                session.flush()
            elif way == "bulk":
                session.execute(delete(cls).where(cls.id == key))
            elif way == "core":
                session.connection().execute(delete(table).where(table.c.id == key))
            else:
                session.execute(text(f"DELETE FROM {table.name} WHERE id = :id"), {"id": key})
        elif kind == "no-op":
            session.execute(text(f"UPDATE {table.name} SET id = id WHERE id = :id"), {"id": key})
        elif not values:
            return
        elif way == "orm":
            record = session.get_one(cls, key)
            for name, value in values.items():
                setattr(record, name, value)
            session.flush()
        elif way == "bulk":
            session.execute(update(cls).where(cls.id == key).values(**values))
        elif way == "core":
            session.connection().execute(update(table).where(table.c.id == key).values(**values))
        else:
            sets = ", ".join(f"{name} = :{name}" for name in values)
            session.execute(
                text(f"UPDATE {table.name} SET {sets} WHERE id = :key"), values | {"key": key}
            )


def rows_now(session: Session, table: Table) -> dict[int, dict[str, Any]]:
    """The recorded columns of every row, as JSON by PostgreSQL."""
    rows = session.execute(text(f"SELECT id, to_jsonb(t) FROM {table.name} AS t"))
    names = audited(table).columns
    return {key: {name: row[name] for name in names} for key, row in rows}


def cut(row: dict[str, Any]) -> dict[str, Any]:
    """*row* with its texts as the trail keeps them."""
    return {name: v[:LIMIT] if isinstance(v, str) else v for name, v in row.items()}


def assert_replayed(session: Session, *tables: Table) -> None:
    """The trail of every record that ever was gives its row, or that it is gone."""
    for table in tables:
        now = {key: cut(row) for key, row in rows_now(session, table).items()}
        records = select(AuditLog.record_id).where(AuditLog.table_name == table.name).distinct()
        for key in session.scalars(records).all():
            assert replay(load_history(session, table.name, key)) == now.pop(key, None)
        assert now == {}, "rows that the trail does not know"


@pytest.fixture(scope="module", params=SYNC_DRIVERS)
def with_triggers(
    postgres_url: str, template_name: str, request: pytest.FixtureRequest
) -> Iterator[Engine]:
    """A database with triggers, whose rows each example rolls back."""
    with (
        temporary_database(postgres_url, template=template_name) as url,
        pooled(url, request.param, 2) as engine,
    ):
        yield engine


@settings(max_examples=times(30, 6), deadline=None)
@given(steps=operations(["orm", "bulk", "core", "raw", "copy"]))
def test_replaying_the_trail_gives_the_rows(with_triggers: Engine, steps: list[Any]) -> None:
    with Session(with_triggers) as session:
        session.execute(text("SET LOCAL timezone = 'UTC'"))
        desk = Desk(session)
        then: list[tuple[datetime, dict[int, dict[str, Any]]]] = []
        for step in steps:
            desk.do(*step)
            at = session.scalars(select(func.clock_timestamp())).one()
            then.append((at, rows_now(session, TICKETS)))
        session.expire_all()
        assert_replayed(session, TICKETS, USERS)
        noops = [e for e in all_entries(session) if e.action == "UPDATE" and not e.changes["new"]]
        assert all(entry.changes["redacted"] for entry in noops)
        keys = {key for _, rows in then for key in rows}
        for at, rows in then:
            for key in keys:
                state = row_as_of(session, TICKETS, key, at)
                assert (state is None) == (key not in rows)
                if state is not None:
                    for name in ("title", "assignee_id", "version"):
                        assert state[name] == rows[key][name]
                    assert state["description"] in {
                        rows[key]["description"],
                        rows[key]["description"][:LIMIT],
                    }


@settings(max_examples=times(20, 5), deadline=None)
@given(steps=operations(["orm", "bulk"]))
def test_replaying_what_session_events_wrote(population: Engine, steps: list[Any]) -> None:
    with Session(population) as session:
        SessionAudit(Ticket, User).listen(session)
        session.execute(text("SET LOCAL timezone = 'UTC'"))
        desk = Desk(session)
        for way, *rest in steps:
            desk.do("orm" if rest[0] == "insert" else way, *rest)
        session.expire_all()
        assert_replayed(session, TICKETS, USERS)


@pytest.fixture(scope="module")
def population(postgres_url: str, template_name: str) -> Iterator[Engine]:
    """A database without triggers."""
    with temporary_database(postgres_url, template=template_name) as url:
        engine = create_sync_engine(url)
        yield engine
        engine.dispose()


@settings(max_examples=times(20, 5), deadline=None)
@given(
    steps=operations(["orm", "bulk", "core", "raw", "copy"]),
    by_trigger=st.booleans(),
    token=st.text("0123456789abcdef", min_size=32, max_size=32),
)
def test_no_password_hash_anywhere(
    with_triggers: Engine, population: Engine, steps: list[Any], by_trigger: bool, token: str
) -> None:
    """In no audit row, no message, no log, however it came in and whether or not it failed."""
    secret = {"password_hash": f"$argon2id$zz{token}"}
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logger = logging.getLogger("sqlalchemy")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    messages: list[str] = []
    try:
        with Session(with_triggers if by_trigger else population) as session:
            if not by_trigger:
                SessionAudit(Ticket, User).listen(session)
            desk = Desk(session)
            for way, kind, which, _, (values, _) in steps:
                if way == "copy" and kind != "insert":
                    continue
                desk.do(way, kind, which, {}, (values | secret, True))
            session.expire_all()
            session.flush()
            messages += [repr(entry) for entry in all_entries(session)]
            whole = session.scalars(
                text("SELECT coalesce(string_agg(a::text, ''), '') FROM audit_log AS a")
            )
            messages.append(whole.one())
            # The trail itself refuses: what is said then?
            session.execute(text("ALTER TABLE audit_log ADD CHECK (action <> 'UPDATE') NOT VALID"))
            desk.people[0].full_name = "refused"
            desk.people[0].password_hash = secret["password_hash"]
            with pytest.raises(IntegrityError) as refused:
                session.flush()
            messages += [str(refused.value), repr(refused.value), str(refused.value.orig)]
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert "INSERT INTO users" in written.getvalue(), "the log was listened to"
    for message in [*messages, written.getvalue()]:
        assert token not in message
        assert "$argon2id$" not in message
