"""One failure is one error on every driver; nothing leaks; only what is safe is repeated."""

from __future__ import annotations

import asyncio
import errno
import logging
import pickle
import secrets
import socket
import string
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    Engine,
    Index,
    Integer,
    MetaData,
    NullPool,
    Table,
    UniqueConstraint,
    bindparam,
    create_engine,
    delete,
    event,
    exc,
    func,
    insert,
    literal,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import INT4RANGE, ExcludeConstraint
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.orm.exc import StaleDataError

from examples import error_handling
from examples.database import (
    PoolSettings,
    async_session_factory,
    create_asyncio_engine,
    create_sync_engine,
    normalize_url,
    session_factory,
)
from examples.error_handling import (
    BusyError,
    ConflictError,
    DeskError,
    Facts,
    ForbiddenError,
    InUseError,
    InvalidValueError,
    MissingReferenceError,
    NotFoundError,
    OutcomeUnknownError,
    ReadOnlyError,
    Retry,
    StaleError,
    TimedOutError,
    UnavailableError,
    UnexpectedError,
    add_each,
    async_add_each,
    async_retried,
    domain_errors,
    facts_of,
    is_still_referred_to,
    log_text,
    pause_before_retry,
    retried,
    translate,
)
from examples.models import Base, Organization, Tag, Ticket, TicketStatus, User
from examples.testing_patterns.factories import (
    make_organization,
    make_tag,
    make_ticket,
    make_user,
)
from examples.testing_patterns.statements import assert_statements

R = TypeVar("R")
Work = Callable[[Session], object]
AT_ONCE = Retry(first=0)
DRIVERS = ["psycopg", "psycopg2", "psycopg async", "asyncpg"]


class Desk:
    """A unit of work on one driver; a sync function serves all four, by ``run_sync``."""

    def __init__(self, url: str, name: str, **options: Any) -> None:
        self.url, self.name, self.options = url, name, options

    def run(self, work: Callable[[Session], R]) -> R:
        """*work* in a session on a new engine, which is not committed unless *work* does."""
        driver: Any = self.name.partition(" ")[0]
        if self.name in {"psycopg", "psycopg2"}:
            engine = create_sync_engine(self.url, driver=driver, **self.options)
            try:
                with Session(engine) as session:
                    return work(session)
            finally:
                engine.dispose()

        async def within() -> R:
            made = create_asyncio_engine(self.url, driver=driver, **self.options)
            try:
                async with AsyncSession(made) as session:
                    return await session.run_sync(work)
            finally:
                await made.dispose()

        return asyncio.run(within())

    def error(self, work: Work) -> Exception:
        """What *work* raises."""
        with pytest.raises(Exception) as caught:  # noqa: PT011 - each driver raises its own
            self.run(work)
        return caught.value


@pytest.fixture(params=DRIVERS)
def desk(database_url: str, request: pytest.FixtureRequest) -> Desk:
    """Each driver on the worker's database: nothing is committed there."""
    return Desk(database_url, request.param)


@pytest.fixture(params=DRIVERS)
def own_desk(real_commits: str, request: pytest.FixtureRequest) -> Desk:
    """Each driver on a database of the test's own."""
    return Desk(real_commits, request.param)


def sql(*statements: str) -> Work:
    """Execute *statements*."""

    def work(session: Session) -> None:
        for statement in statements:
            session.execute(text(statement))

    return work


def adding(*makers: Callable[[], object]) -> Work:
    """Add what *makers* make, and flush."""

    def work(session: Session) -> None:
        session.add_all([make() for make in makers])
        session.flush()

    return work


def delete_creator(session: Session) -> None:
    ticket = make_ticket()
    session.add(ticket)
    session.flush()
    session.execute(delete(User).where(User.id == ticket.creator_id))


def tag_twice(session: Session) -> None:
    ticket, tag = make_ticket(), make_tag()
    session.add_all([ticket, tag])
    session.flush()
    link = text("INSERT INTO ticket_tags (ticket_id, tag_id) VALUES (:ticket, :tag)")
    for _ in range(2):
        session.execute(link, {"ticket": ticket.id, "tag": tag.id})


def take_the_last_connection(session: Session) -> None:
    bind = session.get_bind()
    assert isinstance(bind, Engine)
    with bind.connect():
        pass


def be_killed(session: Session) -> None:
    kill(session)
    session.execute(text("SELECT 1"))


def kill(session: Session) -> None:
    """End the backend of *session*, and wait until it is gone."""
    pid = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
    url = session.get_bind().engine.url
    killer = create_engine(normalize_url(url, "psycopg"), poolclass=NullPool)
    with killer.connect() as connection:
        gone = connection.execute(text("SELECT pg_terminate_backend(:pid, 20000)"), {"pid": pid})
        assert gone.scalar_one()


FAILURES: dict[str, tuple[Work, type[DeskError], tuple[str, ...]]] = {
    "unique constraint": (
        adding(lambda: make_organization(slug="x"), lambda: make_organization(slug="x")),
        ConflictError,
        ("slug",),
    ),
    "unique index on an expression": (
        adding(lambda: make_user(email="a@x.example"), lambda: make_user(email="A@x.example")),
        ConflictError,
        ("email",),
    ),
    "partial unique index": (
        adding(lambda: make_ticket(ticket_number="T"), lambda: make_ticket(ticket_number="T")),
        ConflictError,
        ("ticket_number",),
    ),
    "primary key": (tag_twice, ConflictError, ("ticket_id", "tag_id")),
    "foreign key to nothing": (
        adding(lambda: make_ticket(organization_id=-1)),
        MissingReferenceError,
        ("organization_id",),
    ),
    "foreign key to nothing, self": (
        adding(lambda: make_ticket(duplicate_of_id=-1)),
        MissingReferenceError,
        ("duplicate_of_id",),
    ),
    "still referred to": (delete_creator, InUseError, ("creator_id",)),
    "check": (adding(lambda: make_user(email="x")), InvalidValueError, ("email",)),
    "check of two columns": (
        adding(lambda: make_ticket(status=TicketStatus.CLOSED)),
        InvalidValueError,
        ("resolved_at", "status"),
    ),
    "check of an enumeration": (
        adding(lambda: make_ticket(priority="whatever")),
        InvalidValueError,
        ("priority",),
    ),
    "not null": (adding(lambda: make_user(email=None)), InvalidValueError, ("email",)),
    "number too large": (
        lambda session: session.execute(
            select(Ticket.id).where(Ticket.version == literal(2**40, Integer))
            if session.get_bind().dialect.driver == "asyncpg"
            else text("SELECT 9999999999::int")
        ),
        InvalidValueError,
        (),
    ),
    "not of the type": (sql("SELECT 'x'::int"), InvalidValueError, ()),
    "refused before it was sent": (adding(lambda: make_ticket(priority=3)), InvalidValueError, ()),
    "statement timeout": (
        sql("SET LOCAL statement_timeout = 20", "SELECT pg_sleep(60)"),
        TimedOutError,
        (),
    ),
    "read-only": (
        sql("SET TRANSACTION READ ONLY", "INSERT INTO tags (name) VALUES ('x')"),
        ReadOnlyError,
        (),
    ),
    "no privilege": (
        sql("SET LOCAL ROLE pg_monitor", "INSERT INTO tags (name) VALUES ('x')"),
        ForbiddenError,
        (),
    ),
    "row-level security": (
        sql(
            "CREATE TABLE guarded (x int)",
            "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
            "GRANT INSERT ON guarded TO pg_monitor",
            "SET LOCAL ROLE pg_monitor",
            "INSERT INTO guarded VALUES (1)",
        ),
        ForbiddenError,
        (),
    ),
    "killed": (be_killed, UnavailableError, ()),
    "no such table": (sql("SELECT * FROM nowhere"), UnexpectedError, ()),
    "no row": (
        lambda session: session.scalars(select(User).where(User.id == -1)).one(),
        NotFoundError,
        (),
    ),
    "no row, by key": (lambda session: session.get_one(User, -1), NotFoundError, ()),
    "two rows": (
        lambda session: session.scalars(text("SELECT 1 UNION ALL SELECT 2")).one(),
        UnexpectedError,
        (),
    ),
    "a rule without a name in the metadata": (
        sql("CREATE TEMP TABLE t (x int UNIQUE)", "INSERT INTO t VALUES (1), (1)"),
        ConflictError,
        (),
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_every_driver_says_the_same(desk: Desk, failure: str) -> None:
    work, kind, fields = FAILURES[failure]
    with pytest.raises(DeskError) as caught, domain_errors():
        desk.run(work)
    assert (type(caught.value), caught.value.fields) == (kind, fields)
    assert str(caught.value) == (f"{kind.said}: {', '.join(fields)}" if fields else kind.said)
    assert caught.value.may_retry == (failure == "killed")


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("40001", BusyError),
        ("40P01", BusyError),
        ("55P03", BusyError),
        ("53300", UnavailableError),
        ("57P03", UnavailableError),
        ("08006", UnavailableError),
        ("25P03", UnavailableError),
        ("25P04", UnavailableError),
        ("23P01", ConflictError),
        ("P0001", UnexpectedError),
    ],
)
def test_sqlstates(desk: Desk, sqlstate: str, kind: type[DeskError]) -> None:
    error = desk.error(sql(f"DO $$ BEGIN RAISE SQLSTATE '{sqlstate}'; END $$"))
    translated = translate(error)
    assert (type(translated), facts_of(error).sqlstate) == (kind, sqlstate)


def test_a_trigger_can_name_its_rule(desk: Desk) -> None:
    raised = "RAISE check_violation USING TABLE = 'tickets', CONSTRAINT = 'ck_tickets_title_length'"
    translated = translate(desk.error(sql(f"DO $$ BEGIN {raised}; END $$")))
    assert isinstance(translated, InvalidValueError)
    assert translated.fields == ("title",)


def test_a_lock_that_is_not_to_be_had(own_desk: Desk) -> None:
    engine = create_sync_engine(own_desk.url)
    with engine.begin() as holder:
        holder.execute(text("LOCK TABLE tags"))
        error = own_desk.error(sql("LOCK TABLE tags NOWAIT"))
    engine.dispose()
    translated = translate(error)
    assert isinstance(translated, BusyError)
    assert not translated.may_retry


def test_no_free_connection(database_url: str) -> None:
    for name in DRIVERS:
        pool = PoolSettings(size=1, max_overflow=0, timeout=0)

        def work(session: Session) -> None:
            session.execute(text("SELECT 1"))
            take_the_last_connection(session)

        error = Desk(database_url, name, pool=pool).error(work)
        # No subclass of the built-in TimeoutError.
        assert isinstance(error, exc.TimeoutError)
        assert not isinstance(error, TimeoutError)
        assert isinstance(translate(error), UnavailableError)


def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # taken, and nobody listens: refused
        url = f"postgresql://desk:s3cret-word@127.0.0.1:{bound.getsockname()[1]}/desk"
        for name in DRIVERS:
            error = Desk(url, name).error(sql("SELECT 1"))
            # asyncpg's is bare: no handler of SQLAlchemyError sees it.
            assert isinstance(error, exc.SQLAlchemyError) == (name != "asyncpg")
            translated = translate(error)
            assert isinstance(translated, UnavailableError)
            assert not translated.may_retry
            assert "s3cret-word" not in str(translated) + log_text(error, translated)


def test_a_host_that_nobody_knows() -> None:
    for name in DRIVERS:
        error = Desk("postgresql://desk@host.invalid/desk", name).error(sql("SELECT 1"))
        assert isinstance(translate(error), UnavailableError)


def test_a_name_of_two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What each of them said comes as one plain OSError."""
    with socket.socket() as bound:
        bound.bind(("", 0))  # taken at every address, and nobody listens
        port = bound.getsockname()[1]

        def two(*_args: Any, **_options: Any) -> list[Any]:
            kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            return [(*kind, (f"127.0.0.{number}", port)) for number in (1, 2)]

        monkeypatch.setattr(socket, "getaddrinfo", two)
        url = f"postgresql://desk@desk.example:{port}/desk"
        error = Desk(url, "asyncpg").error(sql("SELECT 1"))
    assert (type(error), getattr(error, "errno", 0)) == (OSError, None)
    assert isinstance(translate(error), UnavailableError)


@pytest.mark.parametrize(
    ("error", "no_way"),
    [
        (OSError(errno.EHOSTUNREACH, "No route to host"), True),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), False),
        (OSError("image file is truncated"), False),
    ],
)
def test_which_error_of_the_system_is_the_network_s(error: OSError, no_way: bool) -> None:
    assert isinstance(translate(error), UnavailableError) == no_way
    assert (translate(error) is None) == (not no_way)


def test_no_such_database(postgres_url: str) -> None:
    url = make_url(postgres_url).set(database="soe_nowhere").render_as_string(hide_password=False)
    for name in DRIVERS:
        assert isinstance(translate(Desk(url, name).error(sql("SELECT 1"))), UnavailableError)


def test_too_many_connections(postgres_url: str) -> None:
    role, password = f"soe_{secrets.token_hex(6)}", secrets.token_hex(8)
    admin = create_sync_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(
            text(f"CREATE ROLE {role} LOGIN PASSWORD '{password}' CONNECTION LIMIT 0")
        )
        try:
            url = make_url(postgres_url).set(username=role, password=password)
            for name in DRIVERS:
                error = Desk(url.render_as_string(hide_password=False), name).error(sql("SELECT 1"))
                translated = translate(error)
                assert isinstance(translated, UnavailableError)
                assert "too many connections" in log_text(error, translated)
                assert role not in str(translated)
        finally:
            connection.execute(text(f"DROP ROLE {role}"))
    admin.dispose()


@pytest.mark.asyncio
async def test_command_timeout_is_no_sqlalchemy_error(database_url: str) -> None:
    engine = create_asyncio_engine(
        database_url, connect_args={"command_timeout": 0.05}, pool=PoolSettings(size=1)
    )
    factory = async_session_factory(engine)
    with pytest.raises(TimeoutError) as caught:
        async with factory() as session:
            await session.execute(text("SELECT pg_sleep(60)"))
    assert not isinstance(caught.value, exc.SQLAlchemyError)
    with pytest.raises(TimedOutError), domain_errors():
        async with factory() as session:
            await session.execute(text("SELECT pg_sleep(60)"))
    async with factory() as session:  # the pool is none the worse
        assert (await session.execute(text("SELECT 1"))).scalar_one() == 1
    await engine.dispose()


def test_a_deferred_constraint_fails_at_commit(own_desk: Desk) -> None:
    def work(session: Session) -> None:
        sql(
            "CREATE TABLE parent (id int PRIMARY KEY)",
            "CREATE TABLE child (parent_id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
            "INSERT INTO child VALUES (1)",
        )(session)
        session.commit()

    error = own_desk.error(work)
    assert isinstance(error, exc.IntegrityError)
    assert error.statement is None
    assert isinstance(translate(error), MissingReferenceError)


LONG = "a_column_whose_name_goes_on_and_on_and_on"


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({"y": 1}, ("y",)),
        ({LONG: 1, "z": 1}, (LONG, "z")),
        ({"z": 2}, ("z",)),
        ({"during": "[1,5)"}, ("during",)),
    ],
    ids=["in a schema", "long name", "quoted name", "exclusion"],
)
def test_rules_of_another_metadata(
    desk: Desk, values: dict[str, Any], fields: tuple[str, ...]
) -> None:
    metadata = MetaData(naming_convention={"uq": "uq_%(table_name)s_%(column_0_N_name)s"})
    Table("notes", metadata, Column("x", Integer), UniqueConstraint("x", name="uq_notes"))
    archived = Table(
        "notes",
        metadata,
        Column("y", Integer),
        Column("z", Integer),
        Column(LONG, Integer),
        Column("during", INT4RANGE),
        UniqueConstraint("y", name="uq_notes"),
        UniqueConstraint(LONG, "z"),  # its name is cut
        ExcludeConstraint(("during", "&&"), name="ex_notes_during"),
        schema="archive",
    )
    Index("ix_Quoted", archived.c.z, unique=True, postgresql_where=archived.c.z > 1)

    def clash(session: Session) -> None:
        session.execute(text("CREATE SCHEMA archive"))
        metadata.create_all(session.connection())
        names = ", ".join(values)
        shown = ", ".join(repr(value) for value in values.values())
        for _ in range(2):
            session.execute(text(f"INSERT INTO archive.notes ({names}) VALUES ({shown})"))

    translated = translate(desk.error(clash), metadata)
    assert isinstance(translated, ConflictError)
    assert translated.fields == fields


def facts(**overrides: Any) -> Facts:
    """Facts of a foreign key of tickets."""
    values: dict[str, Any] = dict.fromkeys(Facts.__annotations__)
    values |= {"table": "tickets", "schema": "public", "sqlstate": "23503", "detail": ""}
    values |= {"constraint": "fk_tickets_duplicate_of_id_tickets", "statement": "", "message": ""}
    return Facts(**values | overrides)


def test_who_refers_to_whom_is_no_matter_of_language() -> None:
    taken = facts(
        detail="Schlüssel (duplicate_of_id)=(7) ist nicht in Tabelle »tickets« vorhanden."
    )
    held = facts(detail="Auf Schlüssel (id)=(7) wird noch aus Tabelle »tickets« verwiesen.")
    assert not is_still_referred_to(taken, Base.metadata)
    assert is_still_referred_to(held, Base.metadata)
    # PostgreSQL leaves DETAIL out where the role may not read the row: then the statement tells.
    assert is_still_referred_to(facts(statement=" delete FROM tickets"), Base.metadata)
    assert not is_still_referred_to(facts(statement="INSERT …"), Base.metadata)


# What must be raised, and what must be let through.


def test_what_is_no_database_error_passes(caplog: pytest.LogCaptureFixture) -> None:
    for error in (KeyError("x"), FileNotFoundError("x"), ValueError("x")):
        with pytest.raises(type(error)) as caught, domain_errors():
            raise error
        assert caught.value is error
    mine = ConflictError(("slug",))
    with pytest.raises(ConflictError) as same, domain_errors():
        raise mine
    assert same.value is mine
    assert not caplog.records


def test_an_error_survives_a_queue() -> None:
    error = ConflictError(("slug",), "23505")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (str(again), again.incident) == ("Already taken: slug", error.incident)
    assert (again.sqlstate, again.may_retry) == ("23505", False)


def test_the_log_level_tells_whose_fault_it_is(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=error_handling.__name__)
    for failure, level in (("check", "INFO"), ("no row", "INFO"), ("no such table", "ERROR")):
        caplog.clear()
        with pytest.raises(DeskError) as caught, domain_errors():
            desk.run(FAILURES[failure][0])
        (record,) = caplog.records
        assert record.levelname == level
        assert caught.value.incident in record.getMessage()


def test_the_log_has_what_the_user_has_not(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=error_handling.__name__)
    with pytest.raises(ConflictError), domain_errors():
        desk.run(FAILURES["unique constraint"][0])
    logged = caplog.text
    for part in (
        "SQLSTATE 23505",
        "UniqueViolation",
        "duplicate key value violates unique constraint",
        "table: organizations",
        "constraint: uq_organizations_slug",
        "statement: INSERT INTO organizations",
        "test_error_handling.py",
    ):
        assert part in logged


def test_a_developers_engine_logs_the_values(database_url: str) -> None:
    for name in DRIVERS:
        open_desk = Desk(database_url, name, hide_parameters=False)
        error = open_desk.error(adding(lambda: make_user(email="no address", full_name="Eve")))
        translated = translate(error)
        assert translated is not None
        assert "Eve" not in str(translated)
        logged = log_text(error, translated)
        assert "parameters: " in logged
        assert "detail: Failing row contains" in logged
        assert "Eve" in logged


def test_hidden_parameters_hide_no_detail(database_url: str) -> None:
    """The trap: SQLAlchemy hides its own list of values, the driver quotes the row all the same."""
    for name in DRIVERS:
        error = Desk(database_url, name).error(
            adding(lambda: make_user(email="no address", password_hash="a-secret-hash"))
        )
        assert isinstance(error, exc.IntegrityError)
        assert error.hide_parameters
        printed = "".join(traceback.format_exception(error))
        assert "a-secret-hash" in printed
        if name != "asyncpg":
            assert "a-secret-hash" in str(error)


# Marked, since Hypothesis also tries words out of our own source.
WORDS = st.text(string.ascii_letters, min_size=4, max_size=30).map(lambda word: f"Zq7{word}7qZ")


@pytest.mark.parametrize("name", DRIVERS)
@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.generate],  # any word leaks or none: there is nothing to shrink
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(word=WORDS)
def test_nothing_leaks(
    name: str, word: str, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger=error_handling.__name__)
    failures: list[Work] = [
        adding(lambda: make_user(email=word, password_hash=word)),
        adding(lambda: make_user(full_name=None, password_hash=word, email=f"{word}@x.example")),
        adding(*[lambda: make_user(email=f"{word}@x.example", password_hash=word)] * 2),
        adding(lambda: make_ticket(title=word, status=word)),
        adding(lambda: make_ticket(title=word, organization_id=-1)),
        lambda session: session.execute(
            text("SELECT CAST(:word AS text)::int").bindparams(bindparam("word", word))
        ),
        lambda session: session.execute(
            text("SELECT CAST(:word AS int)").bindparams(bindparam("word", word, Integer))
        ),
        lambda session: session.scalars(select(User).where(User.email == word)).one(),
    ]

    def after_a_failed_flush(session: Session) -> None:
        session.add(make_user(last_login=word))
        with pytest.raises(exc.StatementError):
            session.flush()
        session.execute(text("SELECT 1"))

    def within_a_failed_savepoint(session: Session) -> None:
        with session.begin_nested():
            after_a_failed_flush(session)

    def all_of_them(session: Session) -> None:
        for work in [*failures, after_a_failed_flush, within_a_failed_savepoint]:
            with pytest.raises(DeskError) as caught, domain_errors():
                work(session)
            session.rollback()
            said = [str(caught.value), repr(caught.value), repr(vars(caught.value))]
            said += traceback.format_exception(caught.value)
            assert word not in "".join(said)

    Desk(database_url, name).run(all_of_them)
    assert len(caplog.records) >= len(failures)
    assert word not in caplog.text
    caplog.clear()


# Savepoints.


def test_refused_rows_leave_the_others(session: Session) -> None:
    rows = [make_tag(name="VIP"), make_tag(name="vip"), make_tag(color="red"), make_tag(name="old")]
    with assert_statements(session, exactly=4):
        refused = add_each(session, rows)
    assert [(row, type(why), why.fields) for row, why in refused] == [
        (rows[1], ConflictError, ("name",)),
        (rows[2], InvalidValueError, ("color",)),
    ]
    session.commit()
    assert session.scalars(select(Tag.name).order_by(Tag.id)).all() == ["VIP", "old"]


@pytest.mark.asyncio
async def test_refused_rows_leave_the_others_async(async_session: AsyncSession) -> None:
    rows = [make_tag(name="VIP"), make_tag(name="vip"), make_tag(name="old")]
    refused = await async_add_each(async_session, rows)
    assert [row.name for row, _ in refused] == ["vip"]
    await async_session.commit()
    names = await async_session.scalars(select(Tag.name).order_by(Tag.id))
    assert names.all() == ["VIP", "old"]


def test_what_was_pending_before_is_not_the_rows_fault(session: Session) -> None:
    session.add(make_user(email="no address"))
    with pytest.raises(exc.IntegrityError, match="ck_users_email_format"):
        add_each(session, [make_tag()])


def test_a_lost_connection_is_no_refusal(own_desk: Desk) -> None:
    def work(session: Session) -> None:
        def rows() -> Iterator[Tag]:
            yield make_tag()
            kill(session)
            yield make_tag()

        add_each(session, rows())

    error = own_desk.error(work)
    assert isinstance(error, exc.DBAPIError)
    assert error.connection_invalidated


def test_without_a_savepoint_the_transaction_is_over(session: Session) -> None:
    session.add(make_user(email="no address"))
    with pytest.raises(exc.IntegrityError):
        session.flush()
    with pytest.raises(exc.PendingRollbackError):
        session.execute(text("SELECT 1"))


def test_caught_within_the_savepoint_is_too_early(session: Session) -> None:
    with session.begin_nested():
        session.add(make_user(email="no address"))
        with pytest.raises(exc.IntegrityError):
            session.flush()
        with pytest.raises(exc.InvalidRequestError, match="closed transaction inside context"):
            session.execute(text("SELECT 1"))


# Two people at once.


@pytest.fixture(params=["psycopg", "psycopg2"])
def committed(real_commits: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine whose commits are real."""
    engine = create_sync_engine(real_commits, driver=request.param)
    yield engine
    engine.dispose()


def count_tags(engine: Engine) -> int:
    """How many tags are stored."""
    with Session(engine) as session:
        return session.scalars(select(func.count()).select_from(Tag)).one()


def test_the_loser_of_a_race_is_told_the_field(committed: Engine) -> None:
    query = select(User).where(User.email == "ann@x.example")
    with Session(committed) as first, Session(committed) as second:
        assert first.scalars(query).one_or_none() is second.scalars(query).one_or_none() is None
        second.rollback()  # its look is over; another's commit follows
        first.add(make_user(email="ann@x.example"))
        first.commit()
        second.add(make_user(email="ann@x.example"))
        with pytest.raises(ConflictError) as caught, domain_errors():
            second.commit()
    assert caught.value.fields == ("email",)


def test_a_lost_update_is_a_stale_error_and_never_repeated(committed: Engine) -> None:
    factory = session_factory(committed)
    with factory.begin() as session:
        session.add(ticket := make_ticket())
        session.flush()
        ticket_id = ticket.id
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        ticket = session.get_one(Ticket, ticket_id)
        with factory.begin() as rival:
            rival.get_one(Ticket, ticket_id).title = f"theirs {len(calls)}"
        ticket.title = "mine"

    with pytest.raises(StaleDataError):
        retried(work, retry=AT_ONCE)(factory)
    with pytest.raises(StaleError) as caught, domain_errors():
        retried(work, retry=AT_ONCE)(factory)
    assert (len(calls), str(caught.value)) == (2, StaleError.said)


def test_a_row_that_went_away_is_not_found(committed: Engine) -> None:
    factory = session_factory(committed)
    with factory.begin() as session:
        session.add(tag := make_tag())
    with factory.begin() as rival:
        rival.execute(delete(Tag))
    with factory() as session:
        session.add(tag)  # expired by the commit
        with pytest.raises(NotFoundError), domain_errors():
            _ = tag.name


def desk_of_two(engine: Engine) -> None:
    """Two organizations, to be renamed."""
    with Session(engine) as session, session.begin():
        session.add_all(
            [make_organization(slug="a", name="0"), make_organization(slug="b", name="0")]
        )


def rename(slug: str, name: str) -> Any:
    """The statement."""
    return update(Organization).where(Organization.slug == slug).values(name=name)


def names(session: Session) -> list[str]:
    """The names of both."""
    return list(session.scalars(select(Organization.name).order_by(Organization.slug)))


def run_threads(*targets: Callable[[], object]) -> list[BaseException]:
    """Run *targets* at the same time; what they raised."""
    errors: list[BaseException] = []

    def guarded(target: Callable[[], object]) -> None:
        try:
            target()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return errors


@pytest.mark.concurrent
@pytest.mark.parametrize("at_commit", [False, True], ids=["while writing", "at COMMIT"])
def test_a_write_skew_is_repeated(committed: Engine, at_commit: bool) -> None:
    """Each writes what it read of the other's row; without the repeat, both would write 0 + 1."""
    desk_of_two(committed)
    serializable = committed.execution_options(isolation_level="SERIALIZABLE")
    factory = sessionmaker(serializable)
    both_have_read, the_other_has_committed = threading.Barrier(2), threading.Event()
    calls = {"first": 0, "second": 0}

    def first(session: Session) -> None:
        calls["first"] += 1
        total = sum(map(int, names(session)))
        if calls["first"] == 1:
            if at_commit:
                session.execute(rename("a", str(total + 1)))
            both_have_read.wait(30)
            assert the_other_has_committed.wait(30)
            if at_commit:
                return
        session.execute(rename("a", str(total + 1)))

    def second(session: Session) -> None:
        calls["second"] += 1
        total = sum(map(int, names(session)))
        both_have_read.wait(30)
        session.execute(rename("b", str(total + 1)))

    def run_second() -> None:
        retried(second, retry=AT_ONCE)(factory)
        the_other_has_committed.set()

    assert run_threads(lambda: retried(first, retry=AT_ONCE)(factory), run_second) == []
    with Session(committed) as session:
        assert names(session) == ["2", "1"]
    assert calls == {"first": 2, "second": 1}


@pytest.mark.concurrent
def test_a_deadlock_is_repeated(committed: Engine) -> None:
    desk_of_two(committed)
    factory = session_factory(committed)
    both_have_one, one_is_done = threading.Barrier(2), threading.Event()
    calls: list[str] = []

    def work(session: Session, mine: str, other: str) -> None:
        calls.append(mine)
        first_time = calls.count(mine) == 1
        # Repeated at once, the loser may take its row again before the winner wakes up.
        assert first_time or one_is_done.wait(30)
        session.execute(text("SET LOCAL deadlock_timeout = '20ms'"))
        session.execute(rename(mine, mine))
        if first_time:
            both_have_one.wait(30)
        session.execute(rename(other, mine))

    def run(mine: str, other: str) -> None:
        retried(work, retry=AT_ONCE)(factory, mine, other)
        one_is_done.set()

    assert run_threads(lambda: run("a", "b"), lambda: run("b", "a")) == []
    with Session(committed) as session:
        assert len(set(names(session))) == 1, "one whole transaction after the other"
    assert len(calls) == 3


def test_deadlocks_by_the_class_alone_are_missed_on_asyncpg(own_desk: Desk) -> None:
    """The trap: psycopg raises OperationalError, asyncpg a bare DBAPIError; the SQLSTATE is one."""
    for sqlstate in ("40001", "40P01"):
        error = own_desk.error(sql(f"DO $$ BEGIN RAISE SQLSTATE '{sqlstate}'; END $$"))
        assert isinstance(error, exc.OperationalError) == (own_desk.name != "asyncpg")
        translated = translate(error)
        assert translated is not None
        assert translated.may_retry


def run_async(url: str, driver: str, body: Callable[[Any], Awaitable[None]]) -> None:
    """Run *body* with a factory of sessions in a loop of its own."""

    async def within() -> None:
        engine = create_asyncio_engine(url, driver=driver)  # type: ignore[arg-type]
        try:
            await body(engine)
        finally:
            await engine.dispose()

    asyncio.run(within())


@pytest.fixture(params=["asyncpg", "psycopg"])
def async_driver(request: pytest.FixtureRequest) -> str:
    """An async driver."""
    return str(request.param)


@pytest.mark.concurrent
def test_a_write_skew_is_repeated_async(real_commits: str, async_driver: str) -> None:
    watcher = create_sync_engine(real_commits)
    desk_of_two(watcher)
    calls: list[str] = []

    async def body(engine: AsyncEngine) -> None:
        factory = async_sessionmaker(engine.execution_options(isolation_level="SERIALIZABLE"))
        first_has_read, second_has_committed = asyncio.Event(), asyncio.Event()

        async def work(session: AsyncSession, mine: str) -> None:
            calls.append(mine)
            total = sum(map(int, await session.run_sync(names)))
            if calls.count("a") == 1 and mine == "a":
                first_has_read.set()
                await second_has_committed.wait()
            await session.execute(rename(mine, str(total + 1)))

        run = async_retried(work, retry=AT_ONCE)

        async def second() -> None:
            await first_has_read.wait()
            await run(factory, "b")
            second_has_committed.set()

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(run(factory, "a"))
            group.create_task(second())

    run_async(real_commits, async_driver, body)
    with Session(watcher) as session:
        assert names(session) == ["2", "1"]
    watcher.dispose()
    assert sorted(calls) == ["a", "a", "b"]


@pytest.mark.concurrent
def test_a_deadlock_is_repeated_async(real_commits: str, async_driver: str) -> None:
    watcher = create_sync_engine(real_commits)
    desk_of_two(watcher)
    calls: list[str] = []

    async def body(engine: AsyncEngine) -> None:
        both_have_one, one_is_done = asyncio.Barrier(2), asyncio.Event()

        async def work(session: AsyncSession, mine: str, other: str) -> None:
            calls.append(mine)
            first_time = calls.count(mine) == 1
            if not first_time:
                await one_is_done.wait()
            await session.execute(text("SET LOCAL deadlock_timeout = '20ms'"))
            await session.execute(rename(mine, mine))
            if first_time:
                await both_have_one.wait()
            await session.execute(rename(other, mine))

        async def run(mine: str, other: str) -> None:
            await async_retried(work, retry=AT_ONCE)(async_session_factory(engine), mine, other)
            one_is_done.set()

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(run("a", "b"))
            group.create_task(run("b", "a"))

    run_async(real_commits, async_driver, body)
    with Session(watcher) as session:
        assert len(set(names(session))) == 1
    watcher.dispose()
    assert len(calls) == 3


# A connection that goes away.


def test_lost_before_commit_is_repeated(committed: Engine) -> None:
    calls = []

    def work(session: Session) -> None:
        calls.append(session)
        session.add(make_tag())
        session.flush()
        if len(calls) == 1:
            kill(session)
        session.add(make_tag())  # found dead by the flush that comes before COMMIT

    retried(work, retry=AT_ONCE)(session_factory(committed))
    assert (len(calls), count_tags(committed)) == (2, 2)
    assert calls[0] is not calls[1]


def test_lost_before_commit_is_repeated_async(real_commits: str, async_driver: str) -> None:
    calls = []

    async def body(engine: AsyncEngine) -> None:
        async def work(session: AsyncSession) -> None:
            calls.append(1)
            session.add(make_tag())
            await session.flush()
            if len(calls) == 1:
                await session.run_sync(kill)
            session.add(make_tag())

        await async_retried(work, retry=AT_ONCE)(async_session_factory(engine))

    run_async(real_commits, async_driver, body)
    watcher = create_sync_engine(real_commits)
    assert (len(calls), count_tags(watcher)) == (2, 2)
    watcher.dispose()


def lose_a_tag(session: Session) -> None:
    """A flush that fails ends the session's transaction; a statement only PostgreSQL's."""
    session.add(make_tag(name="VIP"))
    session.flush()
    with suppress(exc.IntegrityError):
        session.execute(insert(Tag).values(name="vip"))


def assert_told(error: exc.DBAPIError) -> None:
    """It says what PostgreSQL says, and is not repeated."""
    translated = translate(error)
    assert isinstance(translated, UnexpectedError)
    assert (translated.sqlstate, translated.may_retry) == ("25P02", False)


def test_a_commit_that_is_answered_with_rollback(committed: Engine) -> None:
    with Session(committed) as session:
        lose_a_tag(session)
        session.commit()
    assert count_tags(committed) == 0, "the trap: no driver says so"
    with pytest.raises(exc.DBAPIError) as caught:
        retried(lose_a_tag, retry=AT_ONCE)(session_factory(committed))
    assert_told(caught.value)
    assert count_tags(committed) == 0


def test_a_commit_that_is_answered_with_rollback_async(
    real_commits: str, async_driver: str
) -> None:
    async def work(session: AsyncSession) -> None:
        await session.run_sync(lose_a_tag)

    async def body(engine: AsyncEngine) -> None:
        factory = async_session_factory(engine)
        async with factory.begin() as session:
            await work(session)
        with pytest.raises(exc.DBAPIError) as caught:
            await async_retried(work, retry=AT_ONCE)(factory)
        assert_told(caught.value)

    run_async(real_commits, async_driver, body)
    watcher = create_sync_engine(real_commits)
    assert count_tags(watcher) == 0
    watcher.dispose()


def test_the_price_of_being_told_is_a_statement(committed: Engine) -> None:
    def work(session: Session, *tags: Tag) -> None:
        session.add_all(tags)

    with assert_statements(committed, exactly=2):
        retried(work)(session_factory(committed), make_tag())
    with assert_statements(committed, exactly=0):
        retried(work)(session_factory(committed))


@contextmanager
def swallowing_proxy(url: str) -> Iterator[str]:
    """A URL through which every COMMIT is done, and its answer lost with the connection."""
    target = make_url(url)
    open_sockets: list[socket.socket] = []

    def serve(client: socket.socket) -> None:
        server = socket.create_connection((target.host, target.port))
        open_sockets.extend([client, server])
        committing = threading.Event()

        def forward() -> None:
            written = False
            try:
                while data := client.recv(65536):
                    # Not what a driver commits of its own when it connects.
                    written |= b"INSERT" in data
                    if written and b"COMMIT" in data:
                        committing.set()
                    server.sendall(data)
            except OSError:
                pass
            finally:
                shut(server)

        threading.Thread(target=forward, daemon=True).start()
        try:
            while data := server.recv(65536):
                if committing.is_set():
                    break  # PostgreSQL has answered: it is done
                client.sendall(data)
        except OSError:
            pass
        finally:
            shut(client)
            shut(server)

    def shut(one: socket.socket) -> None:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    listener = socket.create_server(("127.0.0.1", 0))
    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    port = listener.getsockname()[1]
    try:
        yield target.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    finally:
        shut(listener)
        listener.close()
        accepting.join(10)
        for one in open_sockets:
            one.close()


@pytest.mark.concurrent
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_an_unanswered_commit_is_not_repeated(real_commits: str, driver: Any) -> None:
    watcher = create_sync_engine(real_commits)
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        session.add(make_tag())

    with swallowing_proxy(real_commits) as url:
        engine = create_sync_engine(url, driver=driver, pool=PoolSettings(external=True))
        with pytest.raises(OutcomeUnknownError) as caught, domain_errors():
            retried(work, retry=AT_ONCE)(session_factory(engine))
        assert (len(calls), count_tags(watcher)) == (1, 1)
        assert not caught.value.may_retry

        # Wrong: a loop around everything, which takes any lost connection for "not stored".
        for _ in range(2):
            with Session(engine) as session:
                work(session)
                with pytest.raises(exc.OperationalError) as lost:
                    session.commit()
            assert lost.value.connection_invalidated
        assert count_tags(watcher) == 3, "the naive loop stores it twice"
    watcher.dispose()


@pytest.mark.concurrent
def test_an_unanswered_commit_is_not_repeated_async(real_commits: str, async_driver: str) -> None:
    calls = []

    async def body(engine: AsyncEngine) -> None:
        async def work(session: AsyncSession) -> None:
            calls.append(1)
            session.add(make_tag())

        with pytest.raises(OutcomeUnknownError):
            await async_retried(work, retry=AT_ONCE)(async_session_factory(engine))

    with swallowing_proxy(real_commits) as url:
        run_async(url, async_driver, body)
    watcher = create_sync_engine(real_commits)
    assert (len(calls), count_tags(watcher)) == (1, 1)
    watcher.dispose()


def test_killed_between_flush_and_commit_is_unknown_as_well(committed: Engine) -> None:
    factory, calls = session_factory(committed), []

    def work(session: Session) -> None:
        calls.append(1)
        session.add(make_tag())

    event.listen(factory, "before_commit", kill)
    with pytest.raises(OutcomeUnknownError):
        retried(work, retry=AT_ONCE)(factory)
    assert (len(calls), count_tags(committed)) == (1, 0)


# How often, and what not.


def failing(sqlstate: str, calls: list[Session]) -> Callable[[Session], None]:
    """Work that always fails with *sqlstate*."""

    def work(session: Session) -> None:
        calls.append(session)
        sql(f"DO $$ BEGIN RAISE SQLSTATE '{sqlstate}'; END $$")(session)

    return work


def test_attempts_are_bounded_and_the_last_error_is_raised(
    committed: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[Session] = []
    with pytest.raises(exc.OperationalError) as caught:
        retried(failing("40001", calls), retry=Retry(attempts=3, first=0))(
            session_factory(committed)
        )
    assert facts_of(caught.value).sqlstate == "40001"
    assert len(set(map(id, calls))) == len(calls) == 3
    assert [record.getMessage()[:14] for record in caplog.records] == ["SQLSTATE 40001"] * 2


@pytest.mark.parametrize(
    "sqlstate", ["23505", "57014", "55P03", "53300", "25006", "40003", "22012"]
)
def test_what_is_not_repeated(committed: Engine, sqlstate: str) -> None:
    calls: list[Session] = []
    with pytest.raises(exc.DBAPIError):
        retried(failing(sqlstate, calls), retry=AT_ONCE)(session_factory(committed))
    assert len(calls) == 1


def test_a_translated_error_is_still_repeated(committed: Engine) -> None:
    calls: list[Session] = []

    def work(session: Session) -> None:
        with domain_errors():
            failing("40001", calls)(session)

    with pytest.raises(BusyError):
        retried(work, retry=Retry(attempts=2, first=0))(session_factory(committed))
    assert len(calls) == 2


def test_work_must_not_commit(committed: Engine) -> None:
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        session.add(make_tag())
        session.commit()

    with pytest.raises(RuntimeError, match="must not commit"):
        retried(work)(session_factory(committed))
    assert (len(calls), count_tags(committed)) == (1, 0)


def test_work_may_use_savepoints(committed: Engine) -> None:
    def work(session: Session) -> int:
        return len(add_each(session, [make_tag(name="x"), make_tag(name="X")]))

    assert retried(work)(session_factory(committed)) == 1
    assert count_tags(committed) == 1


def test_a_decorated_function_takes_a_factory_and_its_arguments(committed: Engine) -> None:
    @retried
    def add_tag(session: Session, name: str, *, color: str) -> str:
        """Add it."""
        session.add(Tag(name=name, color=color))
        return name

    assert add_tag(session_factory(committed), "x", color="#000000") == "x"
    assert (add_tag.__name__, add_tag.__doc__) == ("add_tag", "Add it.")
    assert count_tags(committed) == 1


@pytest.mark.asyncio
async def test_a_decorated_coroutine(real_commits: str) -> None:
    @async_retried
    async def add_tag(session: AsyncSession, name: str) -> str:
        session.add(Tag(name=name))
        return name

    engine = create_asyncio_engine(real_commits)
    assert await add_tag(async_session_factory(engine), "x") == "x"
    async with AsyncSession(engine) as session:
        assert (await session.scalars(select(Tag.name))).all() == ["x"]
    await engine.dispose()


def test_no_connection_is_held_while_waiting(
    committed: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    pool: Any = committed.pool
    monkeypatch.setattr("time.sleep", lambda _: held.append(pool.checkedout()))
    with pytest.raises(exc.OperationalError):
        retried(failing("40P01", []))(session_factory(committed))
    assert held == [0, 0, 0, 0]


def test_a_timeout_of_a_commit_is_unknown_and_of_a_statement_is_not_repeated() -> None:
    with pytest.raises(OutcomeUnknownError):
        pause_before_retry(TimeoutError(), iter([0.0]), committing=True)
    with pytest.raises(TimeoutError):
        pause_before_retry(TimeoutError(), iter([0.0]), committing=False)


@given(
    attempts=st.integers(1, 60),
    first=st.floats(0, 2),
    longest=st.floats(2, 100),
)
def test_pauses_grow_are_bounded_and_random(attempts: int, first: float, longest: float) -> None:
    pauses = list(Retry(attempts=attempts, first=first, longest=longest).pauses())
    assert len(pauses) == attempts - 1
    for number, pause in enumerate(pauses):
        assert 0 <= pause <= min(longest, first * 2**number)
    if len(pauses) > 10 and first > 0.01:
        assert len(set(pauses)) > 5


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"first": -1}, {"first": 5}, {"longest": float("nan")}]
)
def test_senseless_retries_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected attempts >= 1"):
        Retry(**wrong)
