"""Walks visit each ticket once, whatever is added or deleted; cursors cannot be made up."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, Select, and_, delete, func, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from examples.database import create_sync_engine
from examples.models import Ticket
from examples.pagination import (
    LAST_RESOLVED,
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
from examples.query_plans import Plan, explain
from examples.testing_patterns.factories import make_organization, make_ticket, make_user
from examples.testing_patterns.plans import assert_indexes
from examples.testing_patterns.statements import assert_statements
from tests.short import times

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


def test_from_an_emptied_page_the_way_leads_back(session: Session) -> None:
    oldest, middle, newest = add(session, 0, 1, 2)
    first = load(session, None, 2)
    session.execute(delete(Ticket).where(Ticket.id == oldest))
    emptied = load(session, first.next, 2)
    assert (ids(emptied), emptied.next) == ([], None)
    assert emptied.previous
    back = load(session, emptied.previous, 2)
    assert (ids(back), back.previous) == ([newest, middle], None)


def test_from_an_emptied_first_page_the_way_leads_on(session: Session) -> None:
    oldest, middle, newest = add(session, 0, 1, 2)
    second = load(session, load(session, None, 1).next, 2)
    assert ids(second) == [middle, oldest]
    session.execute(delete(Ticket).where(Ticket.id == newest))
    emptied = load(session, second.previous, 2)
    assert (ids(emptied), emptied.previous) == ([], None)
    assert emptied.next
    on = load(session, emptied.next, 2)
    assert (ids(on), on.next) == ([middle, oldest], None)


def test_an_empty_list_has_no_neighbours(session: Session) -> None:
    assert load(session, None, 2) == Page([], None, None)


def test_a_page_is_one_statement(session: Session) -> None:
    add(session, *range(5))
    with assert_statements(session, exactly=1):
        first = load(session, None, 3)
    with assert_statements(session, exactly=1):
        second = load(session, first.next, 3)
    with assert_statements(session, exactly=1):
        load(session, second.previous, 3)


@pytest.mark.asyncio
async def test_pages_under_asyncio(async_session: AsyncSession) -> None:
    await async_session.run_sync(add, *range(5))
    with assert_statements(async_session, exactly=1):
        first = await async_load_page(async_session, select(Ticket), secret=SECRET, limit=3)
    with assert_statements(async_session, exactly=1):
        second = await async_load_page(
            async_session, select(Ticket), secret=SECRET, cursor=first.next, limit=3
        )
    assert (len(first.tickets), len(second.tickets), second.next) == (3, 2, None)
    with assert_statements(async_session, exactly=1) as ran:
        assert await async_estimated_count(async_session, select(Ticket)) >= 1
    assert ran[0].startswith("EXPLAIN (FORMAT JSON) SELECT"), "no row is read"


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


@settings(max_examples=times(40, 8), deadline=None)
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
        there = [ticket.id for ticket in session.scalars(newest_first(select(Ticket), None, 200))]
        if not page.tickets:
            assert page.previous, "stuck on an emptied page"
            assert ids(load(session, page.previous, limit)) == there[-limit:]
        # And back: everything that is there now, newest last.
        back: list[int] = []
        cursor = make_cursor(Position(NOON - timedelta(days=1), 0, "before"), SECRET)
        while cursor:
            page = load(session, cursor, limit)
            back = ids(page) + back
            cursor = page.previous
        assert back == there
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


@settings(deadline=None)
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


@settings(deadline=None)
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


# A place in the middle of the large desk, and the same in its other orders.
START = datetime(2025, 7, 1, tzinfo=UTC)
PLACE = Position(START + 60_000 * timedelta(days=365) / 100_000, 60_000)
BEFORE = Position(PLACE.created_at, PLACE.ticket_id, "before")
TENANT = select(Ticket).where(Ticket.organization_id == 7)
NEWEST, TENANTS = "ix_tickets_created_at_id", "ix_tickets_organization_id_created_at_id"


@pytest.mark.parametrize(
    ("statement", "rows", "index"),
    [
        (newest_first(select(Ticket), None, 50), 50, NEWEST),
        (newest_first(select(Ticket), PLACE, 50), 50, NEWEST),
        (newest_first(select(Ticket), BEFORE, 50), 50, NEWEST),
        (newest_first(TENANT, PLACE, 50), 50, TENANTS),
        (by_organization(None, 50), 50, TENANTS),
        (by_organization((40, PLACE.created_at, PLACE.ticket_id), 50), 50, TENANTS),
        (page_number(select(Ticket), 1, 50), 50, NEWEST),
        (page_number(TENANT, 3, 50), 50, TENANTS),
        (count_exactly(TENANT), 1, TENANTS),
        (count_up_to(TENANT, 1_000), 1, TENANTS),
    ],
    ids=[
        *("newest_first", "newest_first after", "newest_first before", "newest_first of one"),
        *("by_organization", "by_organization after", "page_number", "page_number of one"),
        *("count_exactly", "count_up_to"),
    ],
)
def test_each_read_is_one_statement_by_its_index(
    large_desk: Engine, statement: Select[Any], rows: int, index: str
) -> None:
    with (
        Session(large_desk) as session,
        assert_statements(session, exactly=1),
        assert_indexes(session, index) as plans,
    ):
        assert len(session.execute(statement).all()) == rows
    assert not any("Sort" in node.kind for node in plans[0].nodes), str(plans)


def plan_of(large_desk: Engine, statement: Select[Any]) -> Plan:
    """The plan of *statement* after a run, with the rows that each node read."""
    with Session(large_desk) as session:
        return explain(session, statement, analyze=True)


def test_a_late_page_enters_the_index(large_desk: Engine) -> None:
    (_, scan) = plan_of(large_desk, newest_first(select(Ticket), PLACE, 50)).nodes
    assert (scan.kind, scan.index, scan.filter) == ("Index Scan", NEWEST, None)
    assert "ROW(created_at, id) < " in (scan.condition or "")
    # The same place as an OR is a filter: all earlier tickets are read and thrown away.
    place = (PLACE.created_at, PLACE.ticket_id)
    spelled = or_(
        Ticket.created_at < place[0], and_(Ticket.created_at == place[0], Ticket.id < place[1])
    )
    order = (Ticket.created_at.desc(), Ticket.id.desc())
    (_, slow) = plan_of(large_desk, select(Ticket).where(spelled).order_by(*order).limit(50)).nodes
    assert slow.removed > 40_000
    assert slow.condition is None


def test_backwards_enters_the_same_index(large_desk: Engine) -> None:
    (_, scan) = plan_of(large_desk, newest_first(select(Ticket), BEFORE, 50)).nodes
    assert (scan.kind, scan.index, scan.filter) == ("Index Scan", NEWEST, None)
    assert "ROW(created_at, id) > " in (scan.condition or "")
    assert scan.rows == 50


def test_the_redundant_bound_enters_the_index(large_desk: Engine) -> None:
    place = (PLACE.created_at, PLACE.ticket_id)
    (_, scan) = plan_of(large_desk, by_organization((40, *place), 50)).nodes
    assert (scan.condition or "").startswith("(organization_id >= ")
    # Of the first organization alone: at most its two thousand.
    assert scan.removed < 2_500
    same = and_(Ticket.organization_id == 40, tuple_(Ticket.created_at, Ticket.id) < place)
    order = (Ticket.organization_id, Ticket.created_at.desc(), Ticket.id.desc())
    without = select(Ticket).where(or_(Ticket.organization_id > 40, same)).order_by(*order)
    (_, scan) = plan_of(large_desk, without.limit(50)).nodes
    assert scan.condition is None
    assert scan.removed > 70_000


def test_offset_reads_all_that_it_passes_over(large_desk: Engine) -> None:
    (page, scan) = plan_of(large_desk, page_number(select(Ticket), 801, 50)).nodes
    assert (page.rows, scan.rows) == (50, 40_050)


def test_a_key_that_may_be_null_enters_its_index(large_desk: Engine) -> None:
    """The first page, one among the resolved, and one in the tail of NULLs: 50 entries each."""
    resolved = (PLACE.created_at, PLACE.ticket_id)
    with Session(large_desk) as session:
        # Rolled back: the large desk is everybody's.
        session.execute(text(LAST_RESOLVED))
        for after in (None, resolved, (None, PLACE.ticket_id)):
            with assert_statements(session, exactly=1):
                assert len(session.scalars(last_resolved_first(after, 50)).all()) == 50
            scan = explain(session, last_resolved_first(after, 50), analyze=True).nodes[-1]
            assert (scan.index, scan.filter, scan.read) == ("ix_tickets_last_resolved", None, 50)
        # The same place as an OR is a filter, with an index of its own order as well.
        session.execute(
            text("CREATE INDEX ix_resolved ON tickets (resolved_at DESC NULLS LAST, id DESC)")
        )
        later = or_(tuple_(Ticket.resolved_at, Ticket.id) < resolved, Ticket.resolved_at.is_(None))
        order = (Ticket.resolved_at.desc().nulls_last(), Ticket.id.desc())
        spelled = select(Ticket).where(later).order_by(*order).limit(50)
        slow = explain(session, spelled, analyze=True).nodes[-1]
        assert slow.index == "ix_resolved"
        assert slow.removed > 25_000, "all that were resolved later"
        session.rollback()


def test_the_estimate_is_near_and_the_cap_stops(large_desk: Engine) -> None:
    with Session(large_desk) as session, assert_statements(session, exactly=2) as ran:
        everything = estimated_count(session, select(Ticket))
        some = estimated_count(session, TENANT)
    assert all(sql.startswith("EXPLAIN (FORMAT JSON) SELECT") for sql in ran), "no row is read"
    assert 90_000 < everything < 110_000
    assert 1_000 < some < 4_000
    capped = plan_of(large_desk, count_up_to(select(Ticket), 1_000))
    assert [node.rows for node in capped.nodes] == [1, 1_001, 1_001]
