"""Walks visit each ticket once, whatever is added or deleted; cursors cannot be made up."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, Select, and_, delete, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from examples.database import create_sync_engine
from examples.models import Ticket
from examples.pagination import (
    CursorError,
    Page,
    Position,
    async_estimated_count,
    async_load_page,
    by_organization,
    count_exactly,
    count_up_to,
    estimated_count,
    last_resolved_first,
    load_page,
    make_cursor,
    newest_first,
    page_number,
    read_cursor,
)
from examples.postgres import temporary_database
from examples.testing_patterns.factories import make_organization, make_ticket, make_user
from examples.testing_patterns.statements import assert_statements

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = b"a secret of the server"


def add(session: Session, *minutes: int) -> list[int]:
    """Tickets of so many minutes after noon, of one customer; their ids."""
    organization, creator = make_organization(), make_user()
    tickets = [
        make_ticket(
            organization=organization,
            creator=creator,
            created_at=NOON + timedelta(minutes=minute),
        )
        for minute in minutes
    ]
    session.add_all(tickets)
    session.flush()
    return [ticket.id for ticket in tickets]


def load(session: Session, cursor: str | None, limit: int) -> Page:
    """A page of all tickets."""
    return load_page(session, select(Ticket), secret=SECRET, cursor=cursor, limit=limit)


def ids(page: Page) -> list[int]:
    """The tickets of *page*."""
    return [ticket.id for ticket in page.tickets]


def test_pages_there_and_back(session: Session) -> None:
    made = add(session, *range(7))[::-1]
    first = load(session, None, 3)
    second = load(session, first.next, 3)
    third = load(session, second.next, 3)
    assert [ids(first), ids(second), ids(third)] == [made[:3], made[3:6], made[6:]]
    assert (first.previous, third.next) == (None, None)
    assert ids(load(session, third.previous, 3)) == ids(second)
    back = load(session, second.previous, 3)
    assert ids(back) == ids(first)
    assert back.previous is None
    assert ids(load(session, back.next, 3)) == ids(second)


def test_a_page_is_one_statement(session: Session) -> None:
    add(session, *range(5))
    with assert_statements(session, exactly=1):
        load(session, None, 3)


@pytest.mark.asyncio
async def test_pages_under_asyncio(async_session: AsyncSession) -> None:
    await async_session.run_sync(add, *range(5))
    first = await async_load_page(async_session, select(Ticket), secret=SECRET, limit=3)
    second = await async_load_page(
        async_session, select(Ticket), secret=SECRET, cursor=first.next, limit=3
    )
    assert (len(first.tickets), len(second.tickets), second.next) == (3, 2, None)
    assert await async_estimated_count(async_session, select(Ticket)) >= 1


# Few distinct times: ties are what goes wrong.
steps = st.lists(
    st.tuples(st.sampled_from(["add", "delete", "none"]), st.integers(0, 5)), max_size=6
)


@pytest.fixture(scope="module")
def scratch(postgres_url: str, template_name: str) -> Iterator[Engine]:
    """A database whose tickets each example makes and rolls back."""
    with temporary_database(postgres_url, template=template_name) as url:
        engine = create_sync_engine(url)
        yield engine
        engine.dispose()


@settings(max_examples=40, deadline=None)
@given(
    minutes=st.lists(st.integers(0, 5), min_size=1, max_size=25),
    limit=st.integers(1, 6),
    changes=steps,
)
def test_a_walk_visits_each_once(
    scratch: Engine, minutes: list[int], limit: int, changes: list[tuple[str, int]]
) -> None:
    with Session(scratch) as session:
        before = add(session, *minutes)
        deleted: set[int] = set()
        seen: list[int] = []
        pending, cursor = iter(changes), None
        while True:
            page = load(session, cursor, limit)
            seen += ids(page)
            cursor = page.next
            if cursor is None:
                break
            what, number = next(pending, ("none", 0))
            if what == "add":
                add(session, number)
            elif what == "delete":
                victim = before[number % len(before)]
                session.execute(delete(Ticket).where(Ticket.id == victim))
                deleted.add(victim)
        assert len(seen) == len(set(seen)), "a ticket was served twice"
        assert set(before) - deleted <= set(seen), "a ticket was passed over"
        # And back: everything that is there now, newest last.
        back: list[int] = []
        cursor = make_cursor(Position(NOON - timedelta(days=1), 0, "before"), SECRET)
        while cursor:
            page = load(session, cursor, limit)
            back = ids(page) + back
            cursor = page.previous
        there = session.scalars(newest_first(select(Ticket), None, 200))
        assert back == [ticket.id for ticket in there]
        session.rollback()


def test_offset_serves_one_twice_and_passes_over_another(session: Session) -> None:
    made = add(session, *range(4))[::-1]
    first = [ticket.id for ticket in session.scalars(page_number(select(Ticket), 1, 2))]
    add(session, 60)
    second = [ticket.id for ticket in session.scalars(page_number(select(Ticket), 2, 2))]
    assert first == made[:2]
    assert second == [made[1], made[2]], "the second came again"


def test_mixed_directions(session: Session) -> None:
    first, second = add(session, 0, 1, 2), add(session, 0, 1, 2)
    walked: list[int] = []
    after: tuple[int, datetime, int] | None = None
    while page := session.scalars(by_organization(after, 2)).all():
        walked += [ticket.id for ticket in page]
        after = (page[-1].organization_id, page[-1].created_at, page[-1].id)
    assert walked == first[::-1] + second[::-1]


def test_a_key_that_may_be_null(session: Session) -> None:
    add(session, *range(3))
    for minute in (1, 1, 2):
        session.add(make_ticket(status="resolved", resolved_at=NOON + timedelta(minutes=minute)))
    session.flush()
    order = (Ticket.resolved_at.desc().nulls_last(), Ticket.id.desc())
    whole = list(session.scalars(select(Ticket.id).order_by(*order)))
    walked: list[int] = []
    after: tuple[datetime | None, int] | None = None
    while page := session.scalars(last_resolved_first(after, 2)).all():
        walked += [ticket.id for ticket in page]
        after = (page[-1].resolved_at, page[-1].id)
    assert walked == whole
    assert len(walked) == 6


@pytest.mark.parametrize("size", [0, 201, -1])
def test_a_size_that_is_none_is_told(session: Session, size: int) -> None:
    with pytest.raises(ValueError, match=f"received a page of {size}; expected 1 to 200"):
        load(session, None, size)
    with pytest.raises(ValueError, match="received a page of"):
        page_number(select(Ticket), 1, size)
    with pytest.raises(ValueError, match="received page 0"):
        page_number(select(Ticket), 0, 10)
    assert len(load(session, None, 200).tickets) == 0


# --- Cursors --------------------------------------------------------------------------------------


@given(
    created_at=st.datetimes(timezones=st.just(UTC)),
    ticket_id=st.integers(1, 2**63 - 1),
    direction=st.sampled_from(["after", "before"]),
    scope=st.text(max_size=20),
)
def test_a_cursor_comes_back(
    created_at: datetime, ticket_id: int, direction: Any, scope: str
) -> None:
    position = Position(created_at, ticket_id, direction)
    cursor = make_cursor(position, SECRET, scope)
    assert read_cursor(cursor, SECRET, scope) == position
    with pytest.raises(CursorError):
        read_cursor(cursor, SECRET, scope + "another")
    with pytest.raises(CursorError):
        read_cursor(cursor, b"another secret", scope)


@given(st.text(max_size=80))
def test_a_made_up_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(CursorError, match="try the first page"):
        read_cursor(cursor, SECRET)


def test_a_changed_cursor_is_refused() -> None:
    raw = base64.urlsafe_b64decode(make_cursor(Position(NOON, 1), SECRET))
    changed = base64.urlsafe_b64encode(raw.replace(b", 1]", b", 2]")).decode()
    with pytest.raises(CursorError):
        read_cursor(changed, SECRET)


# --- Counts and plans -----------------------------------------------------------------------------


def test_counts(session: Session) -> None:
    add(session, *range(7))
    assert session.scalar(count_exactly(select(Ticket))) == 7
    assert session.scalar(count_up_to(select(Ticket), 5)) == 6
    assert session.scalar(count_up_to(select(Ticket), 10)) == 7
    assert session.scalar(count_exactly(select(Ticket).where(Ticket.title == "no such"))) == 0


def test_a_window_counts_nothing_for_an_empty_page(session: Session) -> None:
    add(session, *range(7))
    query = select(Ticket.id, func.count().over()).order_by(Ticket.id)
    assert session.execute(query.limit(2)).all()[0][1] == 7
    assert session.execute(query.limit(2).offset(10)).all() == []


@pytest.fixture(scope="module")
def many(postgres_url: str, template_name: str) -> Iterator[Engine]:
    """50,000 tickets, analysed."""
    with temporary_database(postgres_url, template=template_name) as url:
        engine = create_sync_engine(url)
        with engine.begin() as connection:
            for line in (
                "INSERT INTO organizations (name, slug) "
                "SELECT 'C ' || n, 'c-' || n FROM generate_series(1, 50) AS n",
                "INSERT INTO users (email, full_name, password_hash) VALUES ('u@x.org', 'U', '-')",
                "INSERT INTO tickets (title, description, organization_id, creator_id, created_at) "
                "SELECT 'Ticket ' || n, '', n % 50 + 1, 1, now() - n * interval '1 minute' "
                "FROM generate_series(1, 50000) AS n",
            ):
                connection.execute(text(line))
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text("VACUUM ANALYZE"))
        yield engine
        engine.dispose()


def analyzed(engine: Engine, statement: Select[Any]) -> str:
    """The plan of *statement* after a run, with the rows that each node read."""
    compiled = statement.compile(engine, compile_kwargs={"render_postcompile": True})
    with engine.connect() as connection:
        explain = f"EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF) {compiled}"
        return "\n".join(row[0] for row in connection.exec_driver_sql(explain, compiled.params))


def test_a_late_page_enters_the_index(many: Engine) -> None:
    with Session(many) as session:
        place = session.execute(
            select(Ticket.created_at, Ticket.id)
            .order_by(Ticket.created_at.desc(), Ticket.id.desc())
            .offset(40_000)
        ).first()
    assert place
    plan = analyzed(many, newest_first(select(Ticket), Position(place[0], place[1]), 50))
    assert "Index Scan using ix_tickets_created_at_id" in plan
    assert "Index Cond: (ROW(created_at, id) < " in plan
    assert "Filter" not in plan
    # The same place as an OR is a filter: all earlier tickets are read and thrown away.
    spelled = or_(
        Ticket.created_at < place[0], and_(Ticket.created_at == place[0], Ticket.id < place[1])
    )
    order = (Ticket.created_at.desc(), Ticket.id.desc())
    slow = analyzed(many, select(Ticket).where(spelled).order_by(*order).limit(50))
    assert "Rows Removed by Filter: 4000" in slow


def test_backwards_enters_the_same_index(many: Engine) -> None:
    position = Position(datetime.now(UTC) - timedelta(minutes=40_000), 1, "before")
    plan = analyzed(many, newest_first(select(Ticket), position, 50))
    assert "Index Scan Backward using ix_tickets_created_at_id" in plan
    assert "Filter" not in plan


def test_the_redundant_bound_enters_the_index(many: Engine) -> None:
    plan = analyzed(many, by_organization((40, datetime.now(UTC) - timedelta(days=9), 1), 50))
    assert "Index Cond: (organization_id >= " in plan
    removed = [line for line in plan.splitlines() if "Rows Removed by Filter" in line]
    # Of the first organization alone: a thousand, not forty thousand.
    assert not removed or int(removed[0].split(":")[1]) < 1_500


def test_offset_reads_all_that_it_passes_over(many: Engine) -> None:
    plan = analyzed(many, page_number(select(Ticket), 801, 50))
    assert "rows=40050" in plan.replace(".00", "")


def test_the_estimate_is_near_and_the_cap_stops(many: Engine) -> None:
    with Session(many) as session:
        everything = estimated_count(session, select(Ticket))
        some = estimated_count(session, select(Ticket).where(Ticket.organization_id == 7))
    assert 45_000 < everything < 55_000
    assert 500 < some < 2_000
    assert "rows=1001" in analyzed(many, count_up_to(select(Ticket), 1_000)).replace(".00", "")
