"""Who owns the transaction, and what an object knows when."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, closing

import pytest
import sqlalchemy
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import IntegrityError, MissingGreenlet, OperationalError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import DetachedInstanceError

from examples.database import async_session_factory, create_asyncio_engine, create_sync_engine
from examples.database import session_factory as make_factory
from examples.models import Organization, Ticket, TicketStatus, User
from examples.sessions import (
    async_get_or_create_user,
    async_stream_tickets,
    count_by_status,
    fresh_ticket,
    get_or_create_user,
    lock_ticket,
    sign_up,
    stream_tickets,
)
from examples.testing_patterns.factories import make_ticket, make_user

LINE = ".".join(sqlalchemy.__version__.split(".")[:2])


@pytest.fixture(params=["psycopg", "psycopg2"])
def committed(real_commits: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine whose commits are real."""
    engine = create_sync_engine(real_commits, driver=request.param)
    yield engine
    engine.dispose()


def count(session: Session, entity: type[object]) -> int:
    """How many rows there are."""
    return session.scalars(select(func.count()).select_from(entity)).one()


def test_a_unit_of_work_is_all_or_none(committed: Engine) -> None:
    factory = make_factory(committed)
    sign_up(factory, company="Acme", slug="acme", email="ann@x.example", full_name="Ann")
    with pytest.raises(IntegrityError):
        sign_up(factory, company="Other", slug="other", email="ANN@x.example", full_name="Eve")
    with factory() as session:
        assert (count(session, Organization), count(session, User), count(session, Ticket)) == (
            1,
            1,
            1,
        )


def test_get_or_create_makes_one(session: Session) -> None:
    first, made = get_or_create_user(session, email="ann@x.example", full_name="Ann")
    assert made
    again, made = get_or_create_user(session, email="ANN@x.example", full_name="Ann")
    assert (again is first, made) == (True, False)


def test_a_lost_race_leaves_the_callers_transaction_alive(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.add_all([make_user(email="ann@x.example"), make_user(email="before@x.example")])
    session.flush()
    from examples import sessions

    real, calls = sessions.find_user, iter([False, True])

    # The first look comes too early: another transaction has not committed yet.
    def early(email: str) -> sqlalchemy.Select[User]:
        query = real(email)
        return query if next(calls) else query.where(sqlalchemy.false())

    monkeypatch.setattr(sessions, "find_user", early)
    user, made = get_or_create_user(session, email="ann@x.example", full_name="Ann")
    assert (user.email, made) == ("ann@x.example", False)
    assert count(session, User) == 2


def test_another_error_is_told_as_it_is(session: Session) -> None:
    with pytest.raises(IntegrityError, match="ck_users_email_format"):
        get_or_create_user(session, email="nobody", full_name="Nobody")


@pytest.mark.asyncio
async def test_another_error_is_told_as_it_is_async(async_session: AsyncSession) -> None:
    with pytest.raises(IntegrityError, match="ck_users_email_format"):
        await async_get_or_create_user(async_session, email="nobody", full_name="Nobody")


@pytest.mark.asyncio
async def test_get_or_create_async(async_session: AsyncSession) -> None:
    first, made = await async_get_or_create_user(
        async_session, email="ann@x.example", full_name="Ann"
    )
    again, made_again = await async_get_or_create_user(
        async_session, email="ann@x.example", full_name="Ann"
    )
    assert (made, made_again, again is first) == (True, False, True)


def test_a_select_keeps_what_is_loaded_and_lock_refreshes(session: Session) -> None:
    ticket = make_ticket(title="old")
    session.add(ticket)
    session.flush()
    identity = ticket.id
    session.connection().execute(text("UPDATE tickets SET title = 'new'"))
    kept = session.scalars(select(Ticket).where(Ticket.id == identity).with_for_update()).one()
    assert kept.title == "old"
    assert lock_ticket(session, identity).title == "new"
    session.connection().execute(text("UPDATE tickets SET title = 'newer'"))
    assert fresh_ticket(session, identity).title == "newer"
    assert ticket.title == "newer"


def test_lock_ticket_locks_for_others(committed: Engine) -> None:
    factory = make_factory(committed)
    identity = sign_up(factory, company="A", slug="a", email="a@x.example", full_name="A")
    with factory() as mine, factory() as theirs:
        lock_ticket(mine, identity)
        theirs.execute(text("SET LOCAL lock_timeout = '50ms'"))
        with pytest.raises(OperationalError, match="lock timeout"):
            lock_ticket(theirs, identity)


def test_autoflush_before_text(session: Session) -> None:
    session.add(make_user())
    seen = session.execute(text("SELECT count(*) FROM users")).scalar_one()
    assert seen == (1 if LINE == "2.1" else 0)


def test_detached_objects_do_not_load(committed: Engine) -> None:
    factory = make_factory(committed)
    with factory.begin() as session:
        user = make_user()
        session.add(user)
    with pytest.raises(DetachedInstanceError):
        _ = user.full_name


def test_the_identity_map_holds_one_object_a_row(session: Session) -> None:
    ticket = make_ticket()
    session.add(ticket)
    session.flush()
    assert session.get(Ticket, ticket.id) is ticket
    assert session.scalars(select(Ticket)).one() is ticket


def test_streaming_yields_all_in_order(session: Session) -> None:
    session.add_all(make_ticket() for _ in range(7))
    session.commit()
    identities = [ticket.id for ticket in stream_tickets(session, batch=3)]
    assert len(identities) == 7
    assert identities == sorted(identities)


@pytest.mark.asyncio
async def test_streaming_async(async_session: AsyncSession) -> None:
    async_session.add_all(make_ticket() for _ in range(7))
    await async_session.commit()
    assert len([ticket.id async for ticket in async_stream_tickets(async_session, batch=3)]) == 7


CURSORS = text("SELECT count(*) FROM pg_cursors")


def test_who_stops_early_leaves_no_cursor(session: Session) -> None:
    session.add_all(make_ticket() for _ in range(3))
    session.flush()
    with closing(stream_tickets(session, batch=1)) as tickets:
        assert next(tickets)
        assert session.scalar(CURSORS) == 1
    assert session.scalar(CURSORS) == 0


@pytest.mark.asyncio
async def test_who_stops_early_leaves_no_cursor_async(async_session: AsyncSession) -> None:
    async_session.add_all(make_ticket() for _ in range(3))
    await async_session.flush()
    async with aclosing(async_stream_tickets(async_session, batch=1)) as tickets:
        async for ticket in tickets:
            assert ticket
            break
    # asyncpg has no way to close one: it goes with the transaction.
    driver = (await async_session.connection()).dialect.driver
    assert (await async_session.scalar(CURSORS) == 0) == (driver == "psycopg")


@pytest.mark.asyncio
async def test_without_expire_on_commit_false_an_access_is_io(async_engine: AsyncEngine) -> None:
    async with async_engine.connect() as connection:
        outer = await connection.begin()
        async with AsyncSession(connection, join_transaction_mode="create_savepoint") as session:
            user = make_user()
            session.add(user)
            await session.commit()
            # Within a savepoint the same error arrives wrapped.
            with pytest.raises((MissingGreenlet, StatementError), match="greenlet_spawn"):
                _ = user.full_name
        await outer.rollback()


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_one_session_a_task(real_commits: str, driver: str) -> None:
    engine = create_asyncio_engine(
        real_commits, driver="asyncpg" if driver == "asyncpg" else "psycopg"
    )
    try:
        factory = async_session_factory(engine)
        async with factory.begin() as session:
            session.add_all([make_ticket(), make_ticket(status=TicketStatus.IN_PROGRESS)])
        counts = await count_by_status(factory, list(TicketStatus))
        assert counts[TicketStatus.OPEN] == counts[TicketStatus.IN_PROGRESS] == 1
        assert sum(counts.values()) == 2
    finally:
        await engine.dispose()


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_a_cancelled_query_gives_its_connection_back(real_commits: str, driver: str) -> None:
    engine = create_asyncio_engine(
        real_commits, driver="asyncpg" if driver == "asyncpg" else "psycopg"
    )
    try:

        async def sleep() -> None:
            async with async_session_factory(engine)() as session:
                await session.execute(text("SELECT pg_sleep(60)"))

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sleep(), 0.2)
        assert engine.pool.status().find("Current Checked out connections: 0") > 0
        async with async_session_factory(engine)() as session:
            busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND "
            query = text(busy + "state = 'active' AND datname = current_database()")
            for _ in range(600):  # the server notices within a moment
                if (await session.scalars(query)).one() == 0:
                    break
                await asyncio.sleep(0.1)
            assert (await session.scalars(query)).one() == 0
    finally:
        await engine.dispose()
