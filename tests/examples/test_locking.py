"""What two connections do to each other.  Nobody sleeps: a test waits until PostgreSQL says so."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import URL, Engine, func, literal, select, text, update
from sqlalchemy.exc import (
    DBAPIError,
    NotSupportedError,
    OperationalError,
    PendingRollbackError,
    SAWarning,
)
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, joinedload
from sqlalchemy.orm.exc import StaleDataError

from examples.database import (
    PoolSettings,
    async_session_factory,
    create_asyncio_engine,
    create_sync_engine,
)
from examples.locking import (
    ChangedMeanwhile,
    NobodyLeft,
    agents_on_duty,
    assign_tickets,
    async_changing,
    async_claim_next,
    async_leave_desk,
    async_mark_duplicate,
    async_only_one,
    async_serializable,
    changing,
    claim_next,
    claim_tickets,
    etag,
    expected_version,
    leave_desk,
    lock_key,
    lock_name,
    lock_tickets,
    lock_timeout,
    mark_duplicate,
    only_one,
    return_abandoned,
    serializable,
    sqlstate,
    try_lock_name,
    waiting_tickets,
)
from examples.models import DONE, Comment, Ticket, TicketPriority, TicketStatus, User
from examples.testing_patterns.factories import (
    make_comment,
    make_organization,
    make_ticket,
    make_user,
)
from examples.testing_patterns.plugin import ASYNC_DRIVERS, SYNC_DRIVERS
from examples.testing_patterns.statements import assert_statements
from tests.waiting import (
    DEADLINE,
    LOCK_TIMEOUT,
    end_backend,
    in_task,
    in_thread,
    patient,
    patient_engine,
    pid_of,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
WORKERS = 50
LOW, MEDIUM, HIGH, URGENT = TicketPriority


# --- Connections ----------------------------------------------------------------------------------


@pytest.fixture
def desk_url(real_commits: str) -> URL:
    """A clone of its own, where a test that went wrong gives up instead of waiting for ever."""
    return patient(real_commits)


@pytest.fixture
def observer(desk_url: URL) -> Iterator[Engine]:
    """Who prepares, looks on and kills; never waits for a row."""
    with patient_engine(desk_url, pool=PoolSettings(external=True)) as engine:
        yield engine


@pytest.fixture(params=SYNC_DRIVERS)
def desk(desk_url: URL, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine of many connections; the test runs once a driver."""
    pool = PoolSettings(size=WORKERS, max_overflow=0, timeout=DEADLINE)
    with patient_engine(desk_url, driver=request.param, pool=pool) as engine:
        yield engine


@pytest_asyncio.fixture(loop_scope="session", params=ASYNC_DRIVERS)
async def async_desk(desk_url: URL, request: pytest.FixtureRequest) -> AsyncIterator[AsyncEngine]:
    """The same for asyncio."""
    pool = PoolSettings(size=WORKERS, max_overflow=0, timeout=DEADLINE)
    engine = create_asyncio_engine(desk_url, driver=request.param, pool=pool)
    yield engine
    await engine.dispose()


@pytest.fixture
def crowd(postgres_url: str) -> Iterator[None]:
    """One crowd at a time on this server, however many test processes: it serves 100."""
    engine = create_sync_engine(postgres_url, pool=PoolSettings(external=True))
    with engine.begin() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(lock_key("a crowd of workers"))))
        yield
    engine.dispose()


def put(engine: Engine, *rows: Ticket | User) -> list[int]:
    """Commit *rows*: their ids, in this order."""
    with Session(engine) as session, session.begin():
        for row in rows:
            session.add(row)
            session.flush()
        return [row.id for row in rows]


def change(engine: Engine, ticket_id: int, **values: Any) -> None:
    """Somebody else changes a ticket, and commits."""
    with Session(engine) as session, session.begin():
        ticket = session.get_one(Ticket, ticket_id)
        for name, value in values.items():
            setattr(ticket, name, value)


def stored(engine: Engine, ticket_id: int) -> Ticket:
    """The ticket as everybody sees it."""
    with Session(engine) as session:
        return session.get_one(Ticket, ticket_id)


def staff(number: int) -> list[User]:
    """Agents on duty."""
    return [make_user(is_staff=True) for _ in range(number)]


def titles(tickets: Any) -> list[str]:
    """The titles, in order."""
    return [ticket.title for ticket in tickets]


# --- The queue: what is next ----------------------------------------------------------------------


def test_urgent_first_then_oldest_then_first_come(session: Session) -> None:
    for title, priority, at in (
        ("low", LOW, NOON),
        ("urgent, later", URGENT, LATER),
        ("urgent, twin", URGENT, LATER),
        ("medium", MEDIUM, NOON),
        ("urgent", URGENT, NOON),
        ("high", HIGH, NOON),
    ):
        session.add(make_ticket(title=title, priority=priority, created_at=at))
        session.flush()
    agent = make_user()
    session.add(agent)
    session.flush()
    order = ["urgent", "urgent, later", "urgent, twin", "high", "medium", "low"]
    with assert_statements(session, exactly=1):
        assert titles(session.scalars(waiting_tickets(9))) == order
    with assert_statements(session, exactly=1):
        assert titles(claim_next(session, agent.id, 4)) == order[:4]
    assert titles(session.scalars(waiting_tickets(1))) == ["medium"]


def test_what_does_not_wait_is_not_taken(session: Session) -> None:
    agent = make_user()
    session.add_all(
        [
            make_ticket(assignee=agent),
            make_ticket(deleted_at=NOON),
            *(
                make_ticket(status=status, resolved_at=NOON if status in DONE else None)
                for status in TicketStatus
                if status is not TicketStatus.OPEN
            ),
        ]
    )
    session.flush()
    assert claim_next(session, agent.id, 99) == []


def test_a_claim_is_seen_by_the_session_and_moves_the_version(session: Session) -> None:
    ticket, agent = make_ticket(), make_user()
    session.add_all([ticket, agent])
    session.flush()
    with assert_statements(session, exactly=1):
        assert claim_next(session, agent.id) == [ticket]
        assert (ticket.status, ticket.version) == (TicketStatus.IN_PROGRESS, 2)
        assert ticket.assignee_id == agent.id


def test_the_index_of_the_queue_serves_it(session: Session) -> None:
    ticket = make_ticket()
    session.add(ticket)
    session.flush()
    done = """
        INSERT INTO tickets (title, description, organization_id, creator_id, status, resolved_at)
        SELECT 'Done', 'It works.', :organization, :creator, 'closed', now()
        FROM generate_series(1, 5000)"""
    keys = {"organization": ticket.organization_id, "creator": ticket.creator_id}
    session.execute(text(done), keys)
    session.execute(text("ANALYZE tickets"))
    connection = session.connection()
    for statement in (waiting_tickets(1), claim_tickets(1)):
        sql = statement.compile(connection, compile_kwargs={"literal_binds": True})
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {sql}").scalars())
        assert "ix_tickets_open_queue" in plan
        assert "Seq Scan" not in plan
    assert "CTE waiting" in plan, "what locks is run once"


# --- The queue: many at it ------------------------------------------------------------------------


def work_until_empty(
    engine: Engine, observer: Engine, agent_id: int, start: threading.Barrier, *, crashes: bool
) -> list[int]:
    """Take ticket after ticket; who crashes loses the first one together with the connection."""
    taken: list[int] = []
    with Session(engine) as session:
        pid_of(session)
        start.wait(DEADLINE)
        while True:
            got = [ticket.id for ticket in claim_next(session, agent_id)]
            if got and crashes:
                crashes = False
                end_backend(observer, pid_of(session))
                session.invalidate()
                continue
            session.commit()
            if not got:
                return taken
            taken += got


@pytest.mark.concurrent
def test_fifty_workers_lose_nothing_and_share_nothing(
    desk: Engine, observer: Engine, crowd: None
) -> None:
    agents = put(observer, *staff(WORKERS))
    customer, creator = put(observer, make_organization(), make_user())  # type: ignore[arg-type]
    fields = {"organization_id": customer, "creator_id": creator}
    ids = put(observer, *(make_ticket(**fields) for _ in range(2 * WORKERS)))
    start = threading.Barrier(WORKERS)
    with ThreadPoolExecutor(WORKERS) as threads:
        futures = [
            threads.submit(work_until_empty, desk, observer, agent, start, crashes=number % 10 == 0)
            for number, agent in enumerate(agents)
        ]
        results = [future.result(DEADLINE) for future in futures]
    taken = dict(zip(agents, results, strict=True))
    assert sorted(ticket for each in taken.values() for ticket in each) == ids
    with Session(observer) as session:
        for ticket in session.scalars(select(Ticket)):
            assert ticket.id in taken[ticket.assignee_id or 0]
            assert ticket.version == 2


@pytest.mark.concurrent
@pytest.mark.asyncio
async def test_fifty_tasks_lose_nothing_and_share_nothing(
    async_desk: AsyncEngine, observer: Engine, crowd: None
) -> None:
    agents = put(observer, *staff(WORKERS))
    customer, creator = put(observer, make_organization(), make_user())  # type: ignore[arg-type]
    fields = {"organization_id": customer, "creator_id": creator}
    ids = put(observer, *(make_ticket(**fields) for _ in range(2 * WORKERS)))
    start = asyncio.Barrier(WORKERS)
    factory = async_session_factory(async_desk)

    async def work(agent_id: int) -> list[int]:
        taken: list[int] = []
        async with factory() as session:
            await session.connection()
            await start.wait()
            while got := [ticket.id for ticket in await async_claim_next(session, agent_id)]:
                await session.commit()
                taken += got
        return taken

    async with asyncio.timeout(DEADLINE):
        found = await asyncio.gather(*(work(agent) for agent in agents))
    assert sorted(ticket for each in found for ticket in each) == ids


def test_a_crash_returns_the_ticket(desk: Engine, observer: Engine) -> None:
    agent, *_ = put(observer, *staff(1))
    first, second = put(observer, make_ticket(priority=URGENT), make_ticket())
    with Session(desk) as one, Session(desk) as two:
        assert [ticket.id for ticket in one.scalars(waiting_tickets(1))] == [first]
        assert [ticket.id for ticket in two.scalars(waiting_tickets(1))] == [second]
        two.rollback()
        end_backend(observer, pid_of(one))
        one.invalidate()
        assert [ticket.id for ticket in claim_next(two, agent)] == [first]


@pytest.mark.asyncio
async def test_a_crash_returns_the_ticket_under_asyncio(
    async_desk: AsyncEngine, observer: Engine
) -> None:
    agent, *_ = put(observer, *staff(1))
    first, second = put(observer, make_ticket(priority=URGENT), make_ticket())
    factory = async_session_factory(async_desk)
    async with factory() as one, factory() as two:
        assert [ticket.id for ticket in await async_claim_next(one, agent)] == [first]
        assert [ticket.id for ticket in await async_claim_next(two, agent)] == [second]
        await two.rollback()
        end_backend(observer, await one.run_sync(pid_of))
        await one.invalidate()
        assert [ticket.id for ticket in await async_claim_next(two, agent)] == [first]


def test_who_hangs_in_a_transaction_loses_it_to_a_timeout(desk: Engine, observer: Engine) -> None:
    ticket_id, *_ = put(observer, make_ticket())
    with Session(desk) as one, Session(desk) as two:
        one.scalars(waiting_tickets(1)).one()
        one.execute(text("SET LOCAL idle_in_transaction_session_timeout = '300ms'"))
        assert two.scalars(lock_tickets([ticket_id])).one().id == ticket_id
        with pytest.raises(DBAPIError):
            one.scalar(select(1))


def test_a_claim_that_was_committed_comes_back_when_it_is_idle(
    desk: Engine, observer: Engine
) -> None:
    agent, *_ = put(observer, *staff(1))
    busy = {"status": TicketStatus.IN_PROGRESS, "assignee_id": agent}
    long_ago = datetime.now(UTC) - timedelta(hours=3)
    idle, locked, fresh = put(
        observer,
        make_ticket(**busy, updated_at=long_ago),
        make_ticket(**busy, updated_at=long_ago),
        make_ticket(**busy),
    )
    deleted, waiting = put(
        observer,
        make_ticket(**busy, updated_at=long_ago, deleted_at=NOON),
        make_ticket(updated_at=long_ago, status=TicketStatus.WAITING_ON_CUSTOMER),
    )
    with Session(desk) as one, Session(desk) as two:
        one.scalars(lock_tickets([locked])).one()
        returned = two.scalars(return_abandoned(timedelta(hours=1))).all()
        assert [ticket.id for ticket in returned] == [idle]
        two.commit()
    assert stored(observer, idle).status is TicketStatus.OPEN
    assert stored(observer, idle).assignee_id is None
    for other in (locked, fresh, deleted):
        assert stored(observer, other).assignee_id == agent
    assert stored(observer, waiting).status is TicketStatus.WAITING_ON_CUSTOMER


def test_who_comes_back_too_late_changes_nothing(desk: Engine, observer: Engine) -> None:
    slow, quick = put(observer, *staff(2))
    ticket_id, *_ = put(observer, make_ticket())
    with Session(desk, expire_on_commit=False) as one, Session(desk) as two:
        (ticket,) = claim_next(one, slow)
        one.commit()
        assert two.scalars(return_abandoned(timedelta(0))).one().id == ticket_id
        two.commit()
        assert [each.id for each in claim_next(two, quick)] == [ticket_id]
        two.commit()
        ticket.status, ticket.resolved_at = TicketStatus.RESOLVED, NOON
        with pytest.raises(StaleDataError):
            one.flush()
    assert stored(observer, ticket_id).assignee_id == quick


def test_the_queue_wants_read_committed(desk: Engine, observer: Engine) -> None:
    agent, *_ = put(observer, *staff(1))
    ticket_id, *_ = put(observer, make_ticket())
    with Session(desk.execution_options(isolation_level="REPEATABLE READ")) as session:
        session.scalar(select(1))  # the snapshot is taken here
        change(observer, ticket_id, title="Changed")
        with pytest.raises(DBAPIError) as caught:
            claim_next(session, agent)
        assert sqlstate(caught.value) == "40001"


@pytest.mark.parametrize("named", [False, True])
def test_without_of_the_customer_is_locked_too(desk: Engine, observer: Engine, named: bool) -> None:
    creator, *_ = put(observer, make_user())
    put(observer, *(make_ticket(creator_id=creator) for _ in range(2)))
    query = waiting_tickets(1).options(joinedload(Ticket.creator, innerjoin=True))
    if not named:
        query = query.with_for_update(skip_locked=True)
    with Session(desk) as one, Session(desk) as two:
        assert len(one.scalars(query).all()) == 1
        assert len(two.scalars(query).all()) == named


# --- Row locks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("for_update", [False, True])
def test_a_comment_can_be_added_to_a_locked_ticket(
    desk: Engine, observer: Engine, for_update: bool
) -> None:
    ticket_id, *_ = put(observer, make_ticket())
    with Session(desk) as one, Session(desk) as two:
        plain = select(Ticket).where(Ticket.id == ticket_id).with_for_update()
        one.scalars(plain if for_update else lock_tickets([ticket_id])).one()
        two.execute(lock_timeout(200))
        two.add(make_comment(ticket_id=ticket_id))
        if for_update:
            with pytest.raises(DBAPIError) as caught:
                two.commit()
            assert sqlstate(caught.value) == "55P03"
        else:
            two.commit()
            one.rollback()
            assert one.scalar(select(func.count()).select_from(Comment)) == 1


@pytest.mark.concurrent
def test_a_locked_ticket_is_waited_for_refused_or_skipped(desk: Engine, observer: Engine) -> None:
    first, second = put(observer, make_ticket(), make_ticket())
    with Session(desk) as one, Session(desk) as two:
        one.scalars(lock_tickets([first])).one()
        assert [each.id for each in two.scalars(lock_tickets([first, second], "skip"))] == [second]
        with pytest.raises(DBAPIError) as caught:
            two.scalars(lock_tickets([first], "not at all"))
        assert sqlstate(caught.value) == "55P03"
        with pytest.raises(DBAPIError) as caught:
            two.scalar(select(1))
        assert sqlstate(caught.value) == "25P02", "the transaction is over"
        two.rollback()
        waiting = in_thread(observer, two, lambda: two.scalars(lock_tickets([first])).one().id)
        one.rollback()
        assert waiting.result(DEADLINE) == first


def test_a_wait_for_a_lock_ends(desk: Engine, observer: Engine) -> None:
    ticket_id, *_ = put(observer, make_ticket())
    with Session(desk) as one, Session(desk) as two:
        one.scalars(lock_tickets([ticket_id])).one()
        assert two.scalar(lock_timeout(50)) == "50ms"
        with pytest.raises(DBAPIError) as caught:
            two.scalars(lock_tickets([ticket_id]))
        assert sqlstate(caught.value) == "55P03"
        two.rollback()
        two.execute(lock_timeout(50))
        two.commit()
        assert two.scalar(text("SHOW lock_timeout")) == LOCK_TIMEOUT, "it was for one transaction"


def test_deleted_and_missing_tickets_are_not_locked(session: Session) -> None:
    live, deleted = make_ticket(), make_ticket(deleted_at=NOON)
    session.add_all([live, deleted])
    session.flush()
    with assert_statements(session, exactly=1):
        assert session.scalars(lock_tickets([live.id, deleted.id, -1, live.id])).all() == [live]
    assert session.scalars(lock_tickets([])).all() == []


@pytest.mark.concurrent
@pytest.mark.parametrize("how", ["tickets", "assignment"])
def test_locks_are_taken_in_the_order_of_the_key(desk: Engine, observer: Engine, how: str) -> None:
    agent, *_ = put(observer, *staff(1))
    ids = put(observer, make_ticket(), make_ticket(), make_ticket())
    # Moved to the end of the table: what reads it as it lies meets the first one last. Statistics
    # say that the table is small, and it is read as it lies.
    change(observer, ids[0], title="Changed")
    with observer.begin() as connection:
        connection.execute(text("ANALYZE tickets"))
    statement = lock_tickets(ids[::-1]) if how == "tickets" else assign_tickets(ids[::-1], agent)
    with Session(desk) as one, Session(desk) as two, Session(desk) as three:
        one.scalars(lock_tickets(ids[:1])).one()
        waiting = in_thread(observer, two, lambda: len(two.scalars(statement).all()))
        # It waits for the first, and holds none of the others.
        assert len(three.scalars(lock_tickets(ids[1:], "not at all")).all()) == 2
        three.rollback()
        one.rollback()
        assert waiting.result(DEADLINE) == 3


@pytest.mark.concurrent
def test_two_locks_in_two_orders_are_a_deadlock(desk: Engine, observer: Engine) -> None:
    first, second = put(observer, make_user(), make_user())

    def lock(session: Session, user_id: int) -> None:
        session.scalars(select(User).where(User.id == user_id).with_for_update()).one()

    with Session(desk) as one, Session(desk) as two:
        lock(one, first)
        lock(two, second)
        waiting = in_thread(observer, one, lambda: lock(one, second))
        victims: list[BaseException | None] = []
        try:
            lock(two, first)
        except DBAPIError as error:
            victims.append(error)
            two.rollback()
        victims.append(waiting.exception(DEADLINE))
        (victim,) = [each for each in victims if each is not None]
        assert isinstance(victim, DBAPIError)
        assert sqlstate(victim) == "40P01"


@pytest.mark.concurrent
def test_two_that_cross_meet_no_deadlock_and_make_no_circle(desk: Engine, observer: Engine) -> None:
    first, second = put(observer, make_ticket(), make_ticket())
    with Session(desk) as one, Session(desk) as two:
        for session in (one, two):  # what they hold is old by the time they decide
            session.scalars(select(Ticket)).all()
        mark_duplicate(one, first, second)
        crossing = in_thread(observer, two, lambda: mark_duplicate(two, second, first))
        one.commit()
        with pytest.raises(ValueError, match="of one that is no duplicate itself"):
            crossing.result(DEADLINE)
    assert stored(observer, first).duplicate_of_id == second
    assert stored(observer, second).duplicate_of_id is None


@pytest.mark.concurrent
@pytest.mark.asyncio
async def test_two_that_cross_under_asyncio(async_desk: AsyncEngine, observer: Engine) -> None:
    first, second = put(observer, make_ticket(), make_ticket())
    factory = async_session_factory(async_desk)
    async with factory() as one, factory() as two:
        await two.scalars(select(Ticket))
        await async_mark_duplicate(one, first, second)
        crossing = await in_task(observer, two, async_mark_duplicate(two, second, first))
        await one.commit()
        with pytest.raises(ValueError, match="no duplicate itself"):
            await crossing
    assert stored(observer, second).duplicate_of_id is None


def test_what_cannot_be_a_duplicate_is_told(session: Session) -> None:
    one, two, deleted = make_ticket(), make_ticket(), make_ticket(deleted_at=NOON)
    closed = make_ticket(status=TicketStatus.CLOSED, resolved_at=NOON)
    session.add_all([one, two, deleted, closed])
    session.flush()
    for pair in ((one, one), (one, deleted), (deleted, one)):
        with pytest.raises(ValueError, match="expected two live tickets"):
            mark_duplicate(session, pair[0].id, pair[1].id)
    with pytest.raises(ValueError, match="expected one that is open"):
        mark_duplicate(session, closed.id, one.id)
    with assert_statements(session, exactly=2):
        assert mark_duplicate(session, one.id, two.id).status is TicketStatus.CLOSED


def test_assigning_leaves_what_is_done_as_it_is(session: Session) -> None:
    agent = make_user()
    tickets = {
        status: make_ticket(status=status, resolved_at=NOON if status in DONE else None)
        for status in TicketStatus
    }
    deleted = make_ticket(deleted_at=NOON)
    session.add_all([agent, deleted, *tickets.values()])
    session.flush()
    ids = [ticket.id for ticket in tickets.values()]
    with assert_statements(session, exactly=1):
        changed = session.scalars(assign_tickets([*ids, deleted.id], agent.id)).all()
        assert {ticket.status for ticket in changed} == set(TicketStatus) - set(DONE)
        for status, ticket in tickets.items():
            assert ticket.status is status
            assert ticket.assignee_id == (None if status in DONE else agent.id)
            assert ticket.version == (1 if status in DONE else 2)
    assert deleted.assignee_id is None
    assert session.scalars(assign_tickets([], agent.id)).all() == []


@pytest.mark.asyncio
async def test_the_statements_under_asyncio(async_desk: AsyncEngine, observer: Engine) -> None:
    agent, *_ = put(observer, *staff(1))
    first, second = put(observer, make_ticket(), make_ticket())
    factory = async_session_factory(async_desk)
    async with factory() as one, factory() as two:
        assigned = (await one.scalars(assign_tickets([second, first], agent))).all()
        assert {ticket.id for ticket in assigned} == {first, second}
        await two.execute(lock_timeout(50))
        for wait in ("until free", "not at all"):
            with pytest.raises(DBAPIError) as caught:
                async with two.begin_nested():
                    await two.scalars(lock_tickets([first], wait))
            assert sqlstate(caught.value) == "55P03"
        assert (await two.scalars(lock_tickets([first], "skip"))).all() == []
        await one.commit()
        change(observer, first, status=TicketStatus.IN_PROGRESS)
        returned = await one.scalars(return_abandoned(timedelta(0)))
        assert [ticket.id for ticket in returned] == [first]


@pytest.mark.asyncio
async def test_only_the_sqlstate_is_the_same_on_every_driver(async_session: AsyncSession) -> None:
    deadlock = "DO $$ BEGIN RAISE EXCEPTION 'so' USING ERRCODE = '40P01'; END $$"
    with pytest.raises(DBAPIError) as caught:
        await async_session.execute(text(deadlock))
    assert sqlstate(caught.value) == "40P01"
    is_asyncpg = async_session.get_bind().dialect.driver == "asyncpg"
    assert isinstance(caught.value, OperationalError) != is_asyncpg


# --- What a lock shows ----------------------------------------------------------------------------


@pytest.mark.concurrent
def test_the_values_after_waiting_are_those_of_now(desk: Engine, observer: Engine) -> None:
    ticket_id, *_ = put(observer, make_ticket(title="old"))
    with Session(desk) as one, Session(desk) as two:
        held = two.get_one(Ticket, ticket_id)
        ticket = one.scalars(lock_tickets([ticket_id])).one()
        ticket.title = "new"
        one.flush()
        waiting = in_thread(observer, two, lambda: two.scalars(lock_tickets([ticket_id])).one())
        one.commit()
        assert waiting.result(DEADLINE) is held
        assert (held.title, held.version) == ("new", 2)


def test_a_lock_alone_does_not_refresh(desk: Engine, observer: Engine) -> None:
    ticket_id, *_ = put(observer, make_ticket(title="old"))
    with Session(desk) as session:
        ticket = session.get_one(Ticket, ticket_id)
        change(observer, ticket_id, title="new")
        session.scalars(select(Ticket).with_for_update()).all()
        assert ticket.title == "old"
        # Here the version saves it; a model without one loses the other's change.
        ticket.title += "!"
        with pytest.raises(StaleDataError):
            session.flush()
        session.rollback()
        session.scalars(lock_tickets([ticket_id])).one()
        assert ticket.title == "new"


def test_without_a_version_the_change_is_lost(desk: Engine, observer: Engine) -> None:
    user_id, *_ = put(observer, make_user(full_name="old"))
    with Session(desk) as session:
        user = session.get_one(User, user_id)
        with Session(observer) as other, other.begin():
            other.get_one(User, user_id).full_name = "new"
        assert session.get(User, user_id, with_for_update=True) is user
        assert user.full_name == "old"
        user.full_name += "!"
        session.commit()
        assert user.full_name == "old!"


@pytest.mark.parametrize("populate_existing", [False, True])
def test_get_with_a_lock_refuses_what_refresh_cures(
    desk: Engine, observer: Engine, populate_existing: bool
) -> None:
    ticket_id, *_ = put(observer, make_ticket(title="old"))
    with Session(desk) as session:
        ticket = session.get_one(Ticket, ticket_id)
        change(observer, ticket_id, title="new")
        options: dict[str, Any] = {"populate_existing": populate_existing}
        with pytest.raises(StaleDataError, match="does not match database-loaded version id"):
            session.get(Ticket, ticket_id, with_for_update=True, **options)
        session.refresh(ticket, with_for_update={"key_share": True})
        assert ticket.title == "new"


def test_the_nullable_side_of_an_outer_join_cannot_be_locked(session: Session) -> None:
    ticket = make_ticket(assignee=make_user())
    session.add(ticket)
    session.flush()
    query = select(Ticket).options(joinedload(Ticket.assignee))
    assert session.scalars(query.with_for_update(of=Ticket)).all() == [ticket]
    with pytest.raises(NotSupportedError, match="nullable side of an outer join"):
        session.scalars(query.with_for_update())


# --- Versions -------------------------------------------------------------------------------------


def test_a_change_of_what_the_client_has_seen(session: Session) -> None:
    ticket = make_ticket()
    session.add(ticket)
    session.flush()
    with (
        assert_statements(session, exactly=2),
        changing(session, ticket.id, expected_version(etag(ticket.version))) as found,
    ):
        found.title = "Changed"
    assert (ticket.title, ticket.version) == ("Changed", 2)
    with (
        pytest.raises(ChangedMeanwhile, match="is at version 2; expected version 1") as caught,
        changing(session, ticket.id, 1),
    ):
        pytest.fail("the block must not run")
    assert (caught.value.ticket_id, caught.value.found) == (ticket.id, 2)
    assert ticket.title == "Changed"


@pytest.mark.parametrize("deleted", [False, True])
def test_a_ticket_that_is_gone(session: Session, deleted: bool) -> None:
    ticket = make_ticket(deleted_at=NOON)
    session.add(ticket)
    session.flush()
    wanted = ticket.id if deleted else -1
    with pytest.raises(ChangedMeanwhile, match="is gone") as caught, changing(session, wanted, 1):
        pytest.fail("the block must not run")
    assert caught.value.found is None


def be_overtaken(session: Session, observer: Engine, ticket_id: int) -> None:
    """Change a ticket while somebody else does, too, and is faster."""
    with changing(session, ticket_id, 1) as ticket:
        ticket.title = "Mine"
        change(observer, ticket_id, title="Theirs")


async def async_be_overtaken(session: AsyncSession, observer: Engine, ticket_id: int) -> None:
    """The same for asyncio."""
    async with async_changing(session, ticket_id, 1) as ticket:
        ticket.title = "Mine"
        change(observer, ticket_id, title="Theirs")


def test_somebody_is_faster_within_the_block(desk: Engine, observer: Engine) -> None:
    one, two = put(observer, make_ticket(title="one"), make_ticket(title="two"))
    with Session(desk) as session:
        session.get_one(Ticket, one).title = "Mine, before"
        with pytest.raises(ChangedMeanwhile) as caught:
            be_overtaken(session, observer, two)
        assert caught.value.found == 2
        session.commit()
    assert stored(observer, one).title == "Mine, before"
    assert stored(observer, two).title == "Theirs"


@pytest.mark.asyncio
async def test_versions_under_asyncio(async_desk: AsyncEngine, observer: Engine) -> None:
    one, two = put(observer, make_ticket(title="one"), make_ticket(title="two"))
    async with async_session_factory(async_desk)() as session:
        with assert_statements(async_desk, exactly=2):
            async with async_changing(session, one, 1) as ticket:
                ticket.title = "Mine"
        with pytest.raises(ChangedMeanwhile, match="version 2"):
            async with async_changing(session, one, 1):
                pytest.fail("the block must not run")
        with pytest.raises(ChangedMeanwhile) as caught:
            await async_be_overtaken(session, observer, two)
        assert caught.value.found == 2
        with pytest.raises(ChangedMeanwhile, match="is gone"):
            async with async_changing(session, -1, 1):
                pytest.fail("the block must not run")
        await session.commit()
    assert titles([stored(observer, one), stored(observer, two)]) == ["Mine", "Theirs"]


def test_an_earlier_failure_is_not_told_as_this_one(desk: Engine, observer: Engine) -> None:
    one, two = put(observer, make_ticket(), make_ticket())
    with Session(desk) as session:
        session.get_one(Ticket, one).title = "Mine"
        change(observer, one, title="Theirs")
        with pytest.raises(StaleDataError), changing(session, two, 1):
            pytest.fail("the block must not run")


@pytest.mark.asyncio
async def test_an_earlier_failure_under_asyncio(async_desk: AsyncEngine, observer: Engine) -> None:
    one, two = put(observer, make_ticket(), make_ticket())
    async with async_session_factory(async_desk)() as session:
        (await session.get_one(Ticket, one)).title = "Mine"
        change(observer, one, title="Theirs")
        with pytest.raises(StaleDataError):
            async with async_changing(session, two, 1):
                pytest.fail("the block must not run")


def test_stale_data_ends_the_transaction_where_no_savepoint_confines_it(
    desk: Engine, observer: Engine
) -> None:
    ticket_id, *_ = put(observer, make_ticket())
    with Session(desk) as session:
        ticket = session.get_one(Ticket, ticket_id)
        change(observer, ticket_id, title="Theirs")
        ticket.title = "Mine"
        with pytest.raises(StaleDataError, match="expected to update 1 row"):
            session.flush()
        with pytest.raises(PendingRollbackError):
            session.scalar(select(1))


def test_a_version_set_by_hand_checks_nothing_and_goes_back(desk: Engine, observer: Engine) -> None:
    ticket_id, *_ = put(observer, make_ticket(title="old"))
    change(observer, ticket_id, title="Theirs")
    with Session(desk) as session:
        ticket = session.get_one(Ticket, ticket_id)
        ticket.version = 1  # what the client sent
        ticket.title = "Mine"
        session.commit()
    found = stored(observer, ticket_id)
    assert (found.title, found.version) == ("Mine", 1)


def test_a_bulk_update_is_not_noticed_unless_it_moves_the_version(
    desk: Engine, observer: Engine
) -> None:
    agent, *_ = put(observer, *staff(1))
    unseen, seen = put(observer, make_ticket(title="old"), make_ticket(title="old"))
    with Session(desk) as session:
        tickets = {ticket.id: ticket for ticket in session.scalars(select(Ticket))}
        with Session(observer) as other, other.begin():
            other.execute(update(Ticket).where(Ticket.id == unseen).values(title="Theirs"))
            other.scalars(assign_tickets([seen], agent)).one()
        tickets[unseen].title = "Mine"
        session.flush()
        tickets[seen].title = "Mine"
        with pytest.raises(StaleDataError):
            session.flush()


def test_an_update_by_key_asks_for_the_version_and_checks_it(session: Session) -> None:
    ticket = make_ticket()
    session.add(ticket)
    session.flush()
    row: dict[str, Any] = {"id": ticket.id, "title": "Bulk"}
    with pytest.raises(KeyError, match="version"):
        session.execute(update(Ticket), [row])
    session.execute(update(Ticket), [row | {"version": 1}])
    assert session.scalar(select(Ticket.version)) == 2
    with pytest.raises(StaleDataError), session.begin_nested():
        session.execute(update(Ticket), [row | {"version": 1}])


def test_a_delete_of_a_changed_ticket_is_refused(desk: Engine, observer: Engine) -> None:
    ticket_id, *_ = put(observer, make_ticket())
    with Session(desk) as session:
        ticket = session.get_one(Ticket, ticket_id)
        change(observer, ticket_id, title="Theirs")
        session.delete(ticket)
        with pytest.raises(StaleDataError, match="expected to delete 1 row"):
            session.flush()
    assert stored(observer, ticket_id).title == "Theirs"


def test_an_etag_there_and_back() -> None:
    assert expected_version(f" {etag(7)} ") == 7
    for other in ('W/"7"', "7", "*", '"7", "8"', '""', '"-1"', '"9999999999"', '"٧"'):
        with pytest.raises(ValueError, match="expected an ETag"):
            expected_version(other)


# --- Names ----------------------------------------------------------------------------------------


@pytest.mark.once
def test_a_key_is_the_same_in_every_process() -> None:
    program = "from examples.locking import lock_key; print(lock_key('nightly report').value)"
    keys = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert keys == {"1451769646762480301\n"}


@pytest.mark.concurrent
def test_a_name_is_held_until_the_transaction_ends(desk: Engine, observer: Engine) -> None:
    names = [f"name {number}" for number in range(20)]  # keys of both signs
    with Session(desk) as one, Session(desk) as two:
        for name in names:
            one.execute(lock_name(name))
            assert two.scalar(try_lock_name(name)) is False
        waiting = in_thread(observer, two, lambda: two.execute(lock_name(names[0])).all())
        one.rollback()
        waiting.result(DEADLINE)
        assert one.scalar(try_lock_name(names[0])) is False
        assert one.scalar(try_lock_name(names[1])) is True
        one.rollback()
        end_backend(observer, pid_of(two))
        two.invalidate()
        assert one.scalar(try_lock_name(names[0])) is True


@pytest.mark.asyncio
async def test_names_under_asyncio(async_desk: AsyncEngine) -> None:
    factory = async_session_factory(async_desk)
    async with factory() as one, factory() as two:
        for name in (f"name {number}" for number in range(20)):
            await one.execute(lock_name(name))
            assert await two.scalar(try_lock_name(name)) is False
        await one.commit()
        assert await two.scalar(try_lock_name("name 0")) is True
    async with (
        async_only_one(async_desk, "nightly") as first,
        async_only_one(async_desk, "nightly") as second,
    ):
        assert (first, second) == (True, False)
    async with async_only_one(async_desk, "nightly") as again:
        assert again


def test_a_session_level_lock_goes_back_to_the_pool(desk: Engine, observer: Engine) -> None:
    key = lock_key("nightly")
    with Session(desk) as session:
        session.execute(select(func.pg_advisory_lock(key)))
        session.commit()
    with Session(observer) as other:
        assert other.scalar(select(func.pg_try_advisory_lock(key))) is False


def test_one_process_does_the_job(desk: Engine, observer: Engine) -> None:
    with only_one(desk, "nightly") as first, only_one(desk, "nightly") as second:
        assert (first, second) == (True, False)
        with only_one(desk, "weekly") as other:
            assert other
        with observer.begin() as connection:
            idle = """
                SELECT count(*) FROM pg_stat_activity
                WHERE state LIKE 'idle in transaction%' AND datname = current_database()"""
            assert connection.scalar(text(idle)) == 0, "the job holds no transaction"
    with pytest.raises(RuntimeError, match="failed"), only_one(desk, "nightly"):
        raise RuntimeError("the job failed")
    with only_one(desk, "nightly") as again:
        assert again
    with desk.connect() as connection:
        assert connection.scalar(text("SHOW transaction_isolation")) == "read committed"


def lose_the_connection(desk: Engine, observer: Engine) -> None:
    """Do a job whose connection is cut; another may begin then."""
    holder = """
        SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database
        WHERE locktype = 'advisory' AND granted AND datname = current_database()"""
    with only_one(desk, "nightly") as first:
        assert first
        with observer.begin() as connection:
            pid = connection.scalars(text(holder)).one()
        end_backend(observer, pid)
        with only_one(observer, "nightly") as second:
            assert second


def test_a_job_that_lost_its_connection_is_told_at_the_end(desk: Engine, observer: Engine) -> None:
    with pytest.raises(DBAPIError):
        lose_the_connection(desk, observer)


@pytest.mark.concurrent
def test_a_snapshot_older_than_the_lock_shows_the_past(desk: Engine, observer: Engine) -> None:
    strict = desk.execution_options(isolation_level="REPEATABLE READ")
    seen: dict[str, int | None] = {}
    for level, engine in (("read committed", desk), ("repeatable read", strict)):
        with Session(desk) as one, Session(engine) as two:
            one.execute(lock_name("sign up"))

            def wait_and_count(session: Session = two) -> int | None:
                session.execute(lock_name("sign up"))
                return session.scalar(select(func.count()).select_from(User))

            waiting = in_thread(observer, two, wait_and_count)
            one.add(make_user())
            one.commit()
            seen[level] = waiting.result(DEADLINE)
    assert seen == {"read committed": 1, "repeatable read": 1}, "the second should have seen two"


# --- Isolation ------------------------------------------------------------------------------------


def on_duty(engine: Engine) -> int:
    """How many agents are left."""
    with Session(engine) as session:
        return len(session.scalars(agents_on_duty(lock=False)).all())


@pytest.mark.parametrize(
    "levels",
    [
        ("READ COMMITTED", "READ COMMITTED"),
        ("REPEATABLE READ", "REPEATABLE READ"),
        ("SERIALIZABLE", "READ COMMITTED"),
    ],
)
def test_write_skew_leaves_nobody(desk: Engine, observer: Engine, levels: tuple[str, str]) -> None:
    ann, bob = put(observer, *staff(2))
    with (
        Session(desk.execution_options(isolation_level=levels[0])) as one,
        Session(desk.execution_options(isolation_level=levels[1])) as two,
    ):
        leave_desk(one, ann, lock=False)
        leave_desk(two, bob, lock=False)
        one.commit()
        two.commit()
    assert on_duty(observer) == 0


def test_serializable_refuses_the_second(desk: Engine, observer: Engine) -> None:
    ann, bob = put(observer, *staff(2))
    strict = desk.execution_options(isolation_level="SERIALIZABLE")
    with Session(strict) as one, Session(strict) as two:
        leave_desk(one, ann, lock=False)
        leave_desk(two, bob, lock=False)
        one.commit()
        with pytest.raises(DBAPIError) as caught:
            two.commit()
        assert sqlstate(caught.value) == "40001"
    assert on_duty(observer) == 1


def test_the_whole_transaction_is_tried_again(desk: Engine, observer: Engine) -> None:
    ann, bob = put(observer, *staff(2))
    runs = count(1)
    last = 0

    def leave(session: Session) -> None:
        nonlocal last
        last = next(runs)
        leave_desk(session, bob, lock=False)
        if last == 1:
            strict = desk.execution_options(isolation_level="SERIALIZABLE")
            with Session(strict) as other, other.begin():
                leave_desk(other, ann, lock=False)

    with pytest.raises(NobodyLeft, match=f"agent {bob} is the last"):
        serializable(desk, leave)
    assert (last, on_duty(observer)) == (2, 1)


@pytest.mark.asyncio
async def test_the_whole_transaction_is_tried_again_under_asyncio(
    async_desk: AsyncEngine, observer: Engine
) -> None:
    ann, bob = put(observer, *staff(2))
    runs = count(1)
    last = 0

    async def leave(session: AsyncSession) -> None:
        nonlocal last
        last = next(runs)
        await async_leave_desk(session, bob, lock=False)
        if last == 1:
            strict = async_desk.execution_options(isolation_level="SERIALIZABLE")
            async with async_session_factory(strict).begin() as other:
                await async_leave_desk(other, ann, lock=False)

    with pytest.raises(NobodyLeft):
        await async_serializable(async_desk, leave)
    assert (last, on_duty(observer)) == (2, 1)
    assert (
        await async_serializable(async_desk, lambda session: session.scalar(select(literal(7))))
        == 7
    )


def test_no_attempt_is_made_for_ever_nor_for_other_errors(desk: Engine) -> None:
    runs: list[str] = []

    def fail(session: Session, code: str) -> None:
        runs.append(code)
        session.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'so' USING ERRCODE = '{code}'; END $$"))

    for code, times in (("40001", 3), ("40P01", 3), ("23505", 1)):
        runs.clear()
        with pytest.raises(DBAPIError) as caught:
            serializable(desk, lambda session, code=code: fail(session, code), attempts=3)  # type: ignore[misc]
        assert (sqlstate(caught.value), len(runs)) == (code, times)
    level = text("SHOW transaction_isolation")
    assert serializable(desk, lambda session: session.scalar(level)) == "serializable"


@pytest.mark.concurrent
def test_a_lock_on_what_the_decision_rests_on_cures_it(desk: Engine, observer: Engine) -> None:
    ann, bob = put(observer, *staff(2))
    with Session(desk) as one, Session(desk) as two:
        leave_desk(one, ann)
        waiting = in_thread(observer, two, lambda: leave_desk(two, bob))
        one.commit()
        with pytest.raises(NobodyLeft):
            waiting.result(DEADLINE)
    assert on_duty(observer) == 1


def test_a_level_that_comes_too_late_is_ignored(desk: Engine) -> None:
    with Session(desk) as session:
        session.scalar(select(1))
        with pytest.warns(SAWarning, match="already established"):
            session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
        assert session.scalar(text("SHOW transaction_isolation")) == "read committed"
        session.rollback()
        session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
        assert session.scalar(text("SHOW transaction_isolation")) == "serializable"
