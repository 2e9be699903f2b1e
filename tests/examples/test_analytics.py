"""Each report agrees with a plain Python model, in one statement and few rows, in every zone."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from statistics import mean
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, Select, event, func, literal, select, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from examples.analytics import (
    DAYS_LIMIT,
    EVER,
    REFRESH,
    SUMMARY,
    AnalyticsError,
    Period,
    assignee_by_priority,
    assignee_table,
    async_get_ticket_statistics,
    async_refresh_summary,
    daily_series,
    first_response,
    funnel,
    get_ticket_statistics,
    hours,
    known_zone,
    local_day,
    organization_summary,
    refresh_summary,
    resolution_cohorts,
    status_by_priority,
    ticket_statistics,
    time_in_status,
    within,
)
from examples.database import create_sync_engine
from examples.models import (
    DONE,
    Base,
    Comment,
    Ticket,
    TicketPriority,
    TicketStatus,
    TicketStatusHistory,
    User,
)
from examples.postgres import temporary_database
from examples.testing_patterns.factories import (
    make_comment,
    make_organization,
    make_ticket,
    make_user,
)
from examples.testing_patterns.plans import assert_indexes, recorded_plans
from examples.testing_patterns.statements import assert_statements
from tests.short import times

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OPEN, STARTED, WAITING, RESOLVED, CLOSED = TicketStatus
BERLIN = "Europe/Berlin"
# A spring without 2 o'clock, half an hour, a midnight that is missing, one that comes twice, a day
# that never was, and two without any change.
ZONES = {
    BERLIN: date(2025, 3, 30),
    "America/New_York": date(2025, 11, 2),
    "Australia/Lord_Howe": date(2025, 4, 6),
    "Asia/Beirut": date(2025, 3, 30),
    "America/Havana": date(2024, 11, 3),
    "Pacific/Apia": date(2011, 12, 30),
    "Asia/Kathmandu": date(2025, 1, 1),
    "UTC": date(2025, 3, 30),
}


def reports(period: Period = EVER) -> dict[str, Any]:
    """Every statement of the module, over the same tickets where it takes a period."""
    return {
        "ticket_statistics": ticket_statistics(period),
        "assignee_table": assignee_table(period),
        "status_by_priority": status_by_priority(period),
        "assignee_by_priority": assignee_by_priority(period),
        "first_response": first_response(period),
        "daily_series": daily_series(date(2026, 2, 27), date(2026, 3, 5), BERLIN),
        "resolution_cohorts": resolution_cohorts(date(2026, 2, 1), date(2026, 4, 1), BERLIN),
        "funnel": funnel(period),
        "time_in_status": time_in_status(NOON + 30 * DAY, period),
    }


REPORTS = list(reports())


def resolved(after: timedelta | None, **values: Any) -> Ticket:
    """A ticket of noon, resolved so long after it was made unless None."""
    created: datetime = values.setdefault("created_at", NOON)
    if after is not None:
        values = {"status": RESOLVED, "resolved_at": created + after} | values
    return make_ticket(**values)


def save(session: Session, *tickets: Ticket) -> None:
    """Add *tickets* and flush."""
    session.add_all(tickets)
    session.flush()


def log(ticket: Ticket, *changes: tuple[TicketStatus, timedelta]) -> Ticket:
    """Note *changes* so long after noon, each from the one before."""
    old = None
    for new, after in changes:
        change = TicketStatusHistory(old_status=old, new_status=new, changed_at=NOON + after)
        ticket.status_history.add(change)
        old = new
    return ticket


# --- The dashboard --------------------------------------------------------------------------------


def test_the_dashboard(session: Session) -> None:
    sam, kim = make_user(full_name="Sam", is_staff=True), make_user(full_name="Kim", is_staff=True)
    gone = make_user(full_name="Gone", is_staff=True, is_active=False)
    idle = make_user(full_name="Idle", is_staff=True, is_active=False)
    session.add_all([kim, idle])
    save(
        session,
        resolved(2 * HOUR, assignee=sam, priority="high"),
        resolved(4 * HOUR, assignee=sam),
        resolved(12 * HOUR, assignee=gone),
        resolved(None, assignee=sam),
        resolved(None),
    )
    with assert_statements(session, exactly=1):
        found = get_ticket_statistics(session)
    people = found["assignee_stats"]
    assert {name: value for name, value in found.items() if name != "assignee_stats"} == {
        "total": 5,
        "status_counts": {
            "open": 2,
            "in_progress": 0,
            "waiting_on_customer": 0,
            "resolved": 3,
            "closed": 0,
        },
        "priority_counts": {"low": 0, "medium": 4, "high": 1, "urgent": 0},
        "avg_resolution_hours": 6.0,
        "median_resolution_hours": 4.0,
        "p90_resolution_hours": pytest.approx(10.4),
        "p99_resolution_hours": pytest.approx(11.84),
    }
    assert list(found["status_counts"]) == [status.value for status in TicketStatus]
    assert [tuple(person.values()) for person in people] == [
        (sam.id, "Sam", 3, 1, 3.0),
        (gone.id, "Gone", 1, 0, 12.0),
        (None, None, 1, 1, None),
        (kim.id, "Kim", 0, 0, None),
    ]
    with assert_statements(session, exactly=1):
        rows = [tuple(row) for row in session.execute(assignee_table())]
    assert rows == [tuple(person.values()) for person in people]


def test_an_empty_desk(session: Session) -> None:
    found = get_ticket_statistics(session)
    assert found["total"] == 0
    assert set(found["status_counts"].values()) == {0}
    assert found["avg_resolution_hours"] is None
    nobody = {"assignee_id": None, "assignee": None, "ticket_count": 0, "open_count": 0}
    assert found["assignee_stats"] == [nobody | {"avg_resolution_hours": None}]


@pytest.mark.asyncio
async def test_under_asyncio(async_session: AsyncSession) -> None:
    async_session.add_all([resolved(2 * HOUR), resolved(None)])
    await async_session.flush()
    with assert_statements(async_session, exactly=1):
        found = await async_get_ticket_statistics(async_session, Period(NOON, NOON + HOUR))
    assert (found["total"], found["avg_resolution_hours"]) == (2, 2.0)
    for report in reports(Period(NOON, NOON + HOUR)).values():
        with assert_statements(async_session, exactly=1):
            assert (await async_session.execute(report)).all()
    for statement in SUMMARY:
        await async_session.execute(statement)
    with assert_statements(async_session, exactly=1):
        await async_refresh_summary(async_session)


@pytest.mark.parametrize("name", REPORTS)
def test_rows_are_json(session: Session, name: str) -> None:
    """``avg`` and ``sum`` of counts are Decimal, which ``json.dumps`` refuses."""
    ticket = log(resolved(HOUR), (OPEN, 0 * HOUR), (RESOLVED, HOUR))
    save(session, ticket, resolved(None))
    session.add(make_comment(ticket=ticket, author=make_user(is_staff=True), created_at=NOON))
    session.flush()
    with assert_statements(session, exactly=1):
        rows = [tuple(row) for row in session.execute(reports()[name])]
    assert rows
    plain = [[v.isoformat() if isinstance(v, date) else v for v in row] for row in rows]
    assert json.loads(json.dumps(plain)) == json.loads(json.dumps(plain, default=repr))
    wrong = select(func.avg(func.extract("epoch", Ticket.resolved_at - Ticket.created_at)))
    value = session.scalar(wrong)
    assert isinstance(value, Decimal)
    with pytest.raises(TypeError, match="Decimal is not JSON serializable"):
        json.dumps(value)


@pytest.mark.parametrize("name", REPORTS)
def test_a_deleted_ticket_never_counts(session: Session, name: str) -> None:
    organization, customer = make_organization(), make_user()
    staff = make_user(is_staff=True)
    session.add_all([organization, customer, staff])
    session.flush()
    before = session.execute(reports()[name]).all()
    ticket = log(
        resolved(
            HOUR, organization=organization, creator=customer, deleted_at=NOON, assignee=staff
        ),
        (OPEN, 0 * HOUR),
        (RESOLVED, HOUR),
    )
    save(session, ticket)
    session.add(make_comment(ticket=ticket, author=staff, created_at=NOON + HOUR))
    session.flush()
    assert session.execute(reports()[name]).all() == before
    ticket.deleted_at = None
    session.flush()
    assert session.execute(reports()[name]).all() != before


def test_several_statements_are_several_snapshots(real_commits: str) -> None:
    """What the dashboards of four statements show while the desk works."""
    engine = create_sync_engine(real_commits)
    try:
        with Session(engine) as reader, Session(engine) as writer:
            by_status = select(func.count()).select_from(Ticket).group_by(Ticket.status)
            by_priority = select(func.count()).select_from(Ticket).group_by(Ticket.priority)
            assert sum(reader.scalars(by_status)) == 0
            writer.add(make_ticket())
            writer.commit()
            assert sum(reader.scalars(by_priority)) == 1, "the same transaction, another total"
            found = get_ticket_statistics(reader)
        assert (
            found["total"]
            == sum(found["status_counts"].values())
            == sum(found["priority_counts"].values())
            == sum(row["ticket_count"] for row in found["assignee_stats"])
            == 1
        )
    finally:
        engine.dispose()


# --- Periods and zones ----------------------------------------------------------------------------


def test_a_period_ends_where_the_next_begins(session: Session) -> None:
    march = Period.of_days(date(2026, 3, 1), date(2026, 3, 31), BERLIN)
    assert march.start == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert march.before == datetime(2026, 3, 31, 22, tzinfo=UTC)
    for moment in (march.start, march.before):
        assert moment
        session.add(make_ticket(created_at=moment - HOUR))
        session.add(make_ticket(created_at=moment))
    session.flush()
    assert get_ticket_statistics(session, march)["total"] == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: Period(datetime(2026, 3, 1)), "received 2026-03-01T00:00:00; expected a time z"),
        (lambda: Period(None, datetime(2026, 3, 1)), "expected a time zone; try datetime.now"),
        (lambda: Period(NOON, NOON - HOUR), "expected the earlier first"),
        (lambda: time_in_status(datetime(2026, 3, 1)), "expected a time zone"),
        (lambda: Period.of_days(date(2026, 3, 2), date(2026, 3, 1), "UTC"), "the earlier first"),
        (lambda: Period.of_days(NOON, NOON, "UTC"), "expected dates; try .date"),
        (lambda: daily_series(NOON, NOON, "UTC"), "expected dates"),
        (lambda: daily_series(date(2026, 3, 2), date(2026, 3, 1), "UTC"), "the earlier first"),
        (lambda: daily_series(date(2020, 1, 1), date(2026, 1, 1), "UTC"), "at most 1100 days"),
        (lambda: daily_series(date(2026, 3, 1), date(2026, 3, 1), "CET"), "'CET'; expected an I"),
        (lambda: resolution_cohorts(date(2026, 3, 1), date(2026, 3, 1), "X/Y"), "try 'Europe/B"),
        (lambda: resolution_cohorts(date(2023, 3, 1), date(2026, 3, 1), "UTC"), "at most 36 mon"),
        (lambda: resolution_cohorts(date(2026, 3, 2), date(2026, 3, 1), "UTC"), "the earlier f"),
        (lambda: daily_series(date.min, date.min, "UTC"), "of the years 1900 to 9000"),
        (lambda: Period.of_days(date.max, date.max, "UTC"), "of the years 1900 to 9000"),
    ],
    ids=range(15),
)
def test_what_cannot_be_counted_is_told(wrong: Any, said: str) -> None:
    with pytest.raises(AnalyticsError, match=said):
        wrong()


@pytest.mark.parametrize(
    "zone",
    [
        "",
        "Mars/Olympus",
        "UTC+2",
        "CET",
        "EST",
        "+02:00",
        "Europe",
        "../etc/passwd",
        "/etc",
        "a\0/",
    ],
)
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(AnalyticsError, match="received the time zone"):
        known_zone(zone)


def test_what_postgresql_takes_for_a_zone(session: Session) -> None:
    """Why the names are checked: these are accepted, and mean something else."""
    summer = literal(datetime(2026, 7, 1, 12, tzinfo=UTC))

    zones = (BERLIN, "CET", "UTC+2")
    shown = session.execute(select(*(func.timezone(zone, summer) for zone in zones))).one()
    assert [clock.hour for clock in shown] == [14, 13, 10]


# --- Groups ---------------------------------------------------------------------------------------


def test_every_pair_is_there(session: Session) -> None:
    save(session, make_ticket(priority="urgent"), make_ticket(priority="urgent"), resolved(HOUR))
    with assert_statements(session, exactly=1):
        rows = session.execute(status_by_priority()).all()
    pairs = [(status, priority) for status in TicketStatus for priority in TicketPriority]
    assert [(row[0], row[1]) for row in rows] == pairs
    assert {(row[0], row[1]): row[2] for row in rows if row[2]} == {
        ("open", "urgent"): 2,
        ("resolved", "medium"): 1,
    }


def test_subtotals_are_told_from_nobody(session: Session) -> None:
    sam = make_user(is_staff=True)
    save(session, make_ticket(assignee=sam), make_ticket(assignee=sam, priority="low"))
    save(session, make_ticket())
    with assert_statements(session, exactly=1):
        rows = session.execute(assignee_by_priority()).all()
    assert Counter(tuple(row) for row in rows) == Counter(
        [
            (sam.id, "low", 1, 0),
            (sam.id, "medium", 1, 0),
            (None, "medium", 1, 0),
            (sam.id, None, 2, 1),
            (None, None, 1, 1),
            (None, "low", 1, 2),
            (None, "medium", 2, 2),
            (None, None, 3, 3),
        ]
    )


def test_the_first_public_answer_of_staff_counts(session: Session) -> None:
    staff, customer = make_user(is_staff=True), make_user()

    def answered(*comments: tuple[User, timedelta, bool]) -> Ticket:
        ticket = make_ticket(created_at=NOON)
        ticket.comments = [
            make_comment(author=author, created_at=NOON + after, is_internal=internal)
            for author, after, internal in comments
        ]
        return ticket

    save(
        session,
        answered(
            (staff, HOUR, True), (customer, 2 * HOUR, False), (staff, 9 * HOUR, False),
            (staff, 4 * HOUR, False),
        ),
        answered((staff, 2 * HOUR, False)),
        answered((staff, HOUR, True), (customer, HOUR, False)),
        answered(),
    )  # fmt: skip
    with assert_statements(session, exactly=1):
        row = session.execute(first_response()).one()
    assert row._asdict() == {
        "answered": 2,
        "waiting": 2,
        "avg": 3.0,
        "median": 3.0,
        "p90": pytest.approx(3.8),
        "p99": pytest.approx(3.98),
    }


# --- Against a model ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scratch(postgres_url: str, template_name: str) -> Iterator[Engine]:
    """A database whose tickets each example makes and rolls back."""
    with temporary_database(postgres_url, template=template_name) as url:
        engine = create_sync_engine(url)
        yield engine
        engine.dispose()


def between(values: list[float], part: float) -> float | None:
    """The percentile by linear interpolation."""
    if not values:
        return None
    place = part * (len(values) - 1)
    low, high = sorted(values)[math.floor(place)], sorted(values)[math.ceil(place)]
    return low + (high - low) * (place % 1)


# Half hours, so that midnights are met; (created, hours until resolved or None, deleted).
lives = st.lists(
    st.tuples(
        st.integers(-200, 200),
        st.one_of(st.none(), st.integers(0, 200)),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=25,
)


@settings(max_examples=times(60, 12), deadline=None)
@given(
    zone=st.sampled_from(list(ZONES)),
    seat=st.sampled_from(["UTC", "Pacific/Kiritimati", "America/Los_Angeles"]),
    lives=lives,
    # From which day, and how many more; with 6 half of the tickets are older than the series.
    span=st.tuples(st.sampled_from([-1, 0, 6]), st.integers(0, 5)),
)
def test_days_agree_with_the_model(
    scratch: Engine,
    zone: str,
    seat: str,
    lives: list[tuple[int, int | None, bool]],
    span: tuple[int, int],
) -> None:
    local = ZoneInfo(zone)
    changes = datetime.combine(ZONES[zone], time(), UTC)
    offset, length = span
    first = ZONES[zone] + offset * DAY
    last = first + length * DAY
    made = [
        (changes + half * HOUR / 2, None if after is None else changes + (half + after) * HOUR / 2)
        for half, after, deleted in lives
        if not deleted
    ]
    came = Counter(created.astimezone(local).date() for created, _ in made)
    went = Counter(done.astimezone(local).date() for _, done in made if done)
    expected = []
    for number in range(length + 1):
        day = first + number * DAY
        backlog = sum(n for key, n in came.items() if key <= day)
        backlog -= sum(n for key, n in went.items() if key <= day)
        week = mean(came[day - back * DAY] for back in range(7))
        expected.append((day, came[day], went[day], backlog, pytest.approx(week)))
    with Session(scratch) as session:
        # The zone of the connection must not matter.
        session.execute(select(func.set_config("TimeZone", seat, True)))
        organization, creator = make_organization(), make_user()
        for half, after, deleted in lives:
            session.add(
                resolved(
                    None if after is None else after * HOUR / 2,
                    created_at=changes + half * HOUR / 2,
                    deleted_at=NOON if deleted else None,
                    organization=organization,
                    creator=creator,
                )
            )
        session.flush()
        with assert_statements(session, exactly=1):
            rows = session.execute(daily_series(first, last, zone)).all()
        session.rollback()
    assert [tuple(row) for row in rows] == expected


@settings(max_examples=times(40, 8), deadline=None)
@given(lives=lives, zone=st.sampled_from(list(ZONES)))
def test_figures_agree_with_the_model(
    scratch: Engine, lives: list[tuple[int, int | None, bool]], zone: str
) -> None:
    local = ZoneInfo(zone)
    start = datetime(2025, 2, 1, tzinfo=UTC)
    made = [
        (start + half * 6 * HOUR, after, deleted) for half, after, deleted in lives
    ]  # December to March
    with Session(scratch) as session:
        organization, creator = make_organization(), make_user()
        for created, after, deleted in made:
            session.add(
                resolved(
                    None if after is None else after * 6 * HOUR,
                    created_at=created,
                    deleted_at=NOON if deleted else None,
                    organization=organization,
                    creator=creator,
                )
            )
        session.flush()
        found = get_ticket_statistics(session)
        first, last = date(2024, 12, 3), date(2025, 3, 9)
        with assert_statements(session, exactly=1):
            cohorts = session.execute(resolution_cohorts(first, last, zone)).all()
        session.rollback()
    kept = [(created, after) for created, after, deleted in made if not deleted]
    taken = [after * 6.0 for _, after in kept if after is not None]
    assert found["total"] == len(kept)
    assert found["status_counts"]["resolved"] == len(taken)
    assert found["avg_resolution_hours"] == (pytest.approx(mean(taken)) if taken else None)
    for name, part in (("median", 0.5), ("p90", 0.9), ("p99", 0.99)):
        middle = between(taken, part)
        shown = found[f"{name}_resolution_hours"]  # type: ignore[literal-required]
        assert shown == (None if middle is None else pytest.approx(middle))

    def month(moment: datetime) -> int:
        day = moment.astimezone(local)
        return day.year * 12 + day.month

    begin, end = 2024 * 12 + 12, 2025 * 12 + 3
    expected = []
    for born in range(begin, end + 1):
        members = [(at, after) for at, after in kept if month(at) == born]
        done = Counter(month(at + after * 6 * HOUR) for at, after in members if after is not None)
        so_far = 0
        for age in range(end - born + 1):
            so_far += done[born + age]
            share = pytest.approx(so_far / len(members)) if members else None
            begun = date((born - 1) // 12, (born - 1) % 12 + 1, 1)
            expected.append((begun, age, len(members), done[born + age], share))
    assert [tuple(row) for row in cohorts] == expected


def test_the_night_of_the_clocks(session: Session) -> None:
    """The 29th of March has 23 hours in Berlin; a day of UTC puts both tickets elsewhere."""
    early = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)
    late = datetime(2026, 3, 29, 22, 30, tzinfo=UTC)
    save(session, make_ticket(created_at=early), make_ticket(created_at=late))
    rows = session.execute(daily_series(date(2026, 3, 28), date(2026, 3, 30), BERLIN))
    assert [(row[0].day, row[1]) for row in rows] == [(28, 0), (29, 1), (30, 1)]
    session.execute(text("SET LOCAL TIME ZONE 'UTC'"))
    utc = session.execute(select(func.date_trunc("day", Ticket.created_at)).order_by(Ticket.id))
    assert [row[0].day for row in utc] == [28, 29]
    # A series of moments: from the change on each "day" of Berlin begins at one o'clock.
    moments = (
        "SELECT generate_series('2026-03-27 23:00Z'::timestamptz, '2026-03-29 23:00Z', '1 day')"
    )
    starts = [at.astimezone(ZoneInfo(BERLIN)).hour for at in sorted(session.scalars(text(moments)))]
    assert starts == [0, 0, 1]


def test_a_midnight_that_comes_twice(session: Session) -> None:
    """Havana sets its clocks from one o'clock back to midnight: PostgreSQL means the second one."""
    first_half_hour = datetime(2024, 11, 3, 4, 30, tzinfo=UTC)
    zone, day = "America/Havana", date(2024, 11, 3)
    midnight = func.timezone(zone, literal(datetime(2024, 11, 3)))
    assert session.scalars(select(midnight)).one() == datetime(2024, 11, 3, 5, tzinfo=UTC)
    save(session, make_ticket(created_at=first_half_hour))
    # Its week is the first that is read: bounds by midnight would lose the ticket.
    row = session.execute(daily_series(day + 6 * DAY, day + 6 * DAY, zone)).one()
    assert (row.backlog, row.week) == (1, pytest.approx(1 / 7))
    month = session.execute(resolution_cohorts(day, day, zone)).one()
    assert month.tickets == 1
    assert get_ticket_statistics(session, Period.of_days(day, day, zone))["total"] == 1


def test_a_mean_of_seven_rows_is_not_of_seven_days(session: Session) -> None:
    """Without the days that have none the window reaches over them."""
    save(session, make_ticket(created_at=NOON), make_ticket(created_at=NOON + 30 * DAY))
    day = local_day(Ticket.created_at, "UTC")
    gaps = select(func.avg(func.count()).over(order_by=day, rows=(-6, 0))).group_by(day)
    assert list(session.scalars(gaps)) == [1, 1]
    last = (NOON + 30 * DAY).date()
    rows = session.execute(daily_series(NOON.date(), last, "UTC")).all()
    assert len(rows) == 31
    assert rows[-1].week == rows[0].week == pytest.approx(1 / 7)


def test_group_by_wants_the_same_expression(engine: Engine, session: Session) -> None:
    """Built twice it has two parameters; psycopg2 writes them into the SQL and does not notice."""
    save(session, make_ticket(created_at=NOON))

    def day() -> Any:
        return local_day(Ticket.created_at, BERLIN)

    twice = select(day(), func.count()).group_by(day())
    once = day()
    assert session.execute(select(once, func.count()).group_by(once)).all() == [(NOON.date(), 1)]
    if engine.driver == "psycopg2":
        assert session.execute(twice).all() == [(NOON.date(), 1)]
    else:
        with pytest.raises(ProgrammingError, match="must appear in the GROUP BY clause"):
            session.execute(twice)


# --- The status history ---------------------------------------------------------------------------


def test_the_funnel(session: Session) -> None:
    save(
        session,
        log(resolved(None), (OPEN, 0 * HOUR)),
        log(resolved(None), (OPEN, 0 * HOUR), (WAITING, HOUR)),
        log(resolved(5 * HOUR), (OPEN, 0 * HOUR), (RESOLVED, 5 * HOUR)),
        log(resolved(9 * HOUR), (STARTED, 3 * HOUR), (RESOLVED, 7 * HOUR), (CLOSED, 9 * HOUR)),
        resolved(None, created_at=NOON + DAY),
    )
    with assert_statements(session, exactly=1):
        rows = session.execute(funnel()).all()
    assert [tuple(row) for row in rows] == [
        (0, "created", 5, 0.0),
        (1, "started", 3, 3.0),
        (2, "resolved", 2, 6.0),
        (3, "closed", 1, 9.0),
    ]
    rows = session.execute(funnel(Period(NOON + HOUR))).all()
    assert [row.tickets for row in rows] == [1, 0, 0, 0]


def test_time_in_status(session: Session) -> None:
    save(
        session,
        log(
            resolved(None),
            (OPEN, 0 * HOUR),
            (RESOLVED, 2 * HOUR),
            (OPEN, 5 * HOUR),  # a return is another stay
        ),
        log(resolved(HOUR), (OPEN, 0 * HOUR), (CLOSED, HOUR)),
        log(resolved(None), (OPEN, 20 * HOUR)),  # not yet
    )
    with assert_statements(session, exactly=1):
        rows = session.execute(time_in_status(NOON + 10 * HOUR)).all()
    assert [tuple(row) for row in rows] == [
        ("open", 3, 8.0, 2.0),
        ("in_progress", 0, 0.0, None),
        ("waiting_on_customer", 0, 0.0, None),
        ("resolved", 1, 3.0, 3.0),
        ("closed", 1, 0.0, None),
    ]


@pytest.mark.parametrize("indexed", [True, False])
def test_changes_of_one_moment_follow_their_ids(session: Session, indexed: bool) -> None:
    """Those of one transaction have one time; the order of the rows on disk is none."""
    if not indexed:
        # The index has the id as its last column: by itself it would hide that nobody asked for it.
        session.execute(text(f"DROP INDEX {HISTORY}"))
    ticket = make_ticket()
    save(session, ticket)
    for number, status in ((3, WAITING), (2, STARTED), (1, OPEN)):
        change = TicketStatusHistory(id=10**9 + number, ticket_id=ticket.id, new_status=status)
        change.changed_at = NOON
        session.add(change)
        session.flush()
    with assert_statements(session, exactly=1):
        rows = session.execute(time_in_status(NOON + 4 * HOUR)).all()
    assert {row.status: row.hours for row in rows if row.stays} == {
        "open": 0.0,
        "in_progress": 0.0,
        "waiting_on_customer": 4.0,
    }


# --- The view that is kept ------------------------------------------------------------------------


def make_view(session: Session, *statements: Any) -> None:
    """Create the summary."""
    for statement in statements or SUMMARY:
        session.execute(statement)


def summary(session: Session) -> list[tuple[str, int]]:
    """What the view says."""
    query = select(organization_summary.c.status, organization_summary.c.tickets)
    return [(row[0], row[1]) for row in session.execute(query.order_by("status"))]


def test_a_refresh(session: Session) -> None:
    organization = make_organization()
    save(session, make_ticket(organization=organization))
    make_view(session)
    save(session, resolved(HOUR, organization=organization))
    save(session, make_ticket(organization=organization, deleted_at=NOON))
    with assert_statements(session, exactly=1):
        kept = summary(session)
    assert kept == [("open", 1)], "a view that is kept is not of now"
    with assert_statements(session, exactly=1):
        refresh_summary(session)
    assert summary(session) == [("open", 1), ("resolved", 1)]
    session.add(make_ticket(organization=organization))  # not flushed: 2.0 would pass it over
    refresh_summary(session)
    assert summary(session) == [("open", 2), ("resolved", 1)]


def test_a_refresh_without_a_unique_index_is_refused(session: Session) -> None:
    make_view(session, SUMMARY[0])
    with pytest.raises(DBAPIError, match="cannot refresh materialized view") as refused:
        refresh_summary(session)
    assert "Create a unique index with no WHERE clause" in str(refused.value)
    session.rollback()
    # An index with a condition is none for this.
    partial = text(f"{SUMMARY[1]} WHERE tickets > 0")
    make_view(session, SUMMARY[0], partial)
    with pytest.raises(DBAPIError, match="cannot refresh materialized view"):
        refresh_summary(session)


def test_a_view_that_was_never_filled_is_refused(session: Session) -> None:
    make_view(session, text(f"{SUMMARY[0]} WITH NO DATA"), SUMMARY[1])
    with pytest.raises(DBAPIError, match="CONCURRENTLY cannot be used"):
        refresh_summary(session)


def test_readers_go_on_while_it_is_refreshed(real_commits: str) -> None:
    engine = create_sync_engine(real_commits)
    try:
        with Session(engine) as writer, Session(engine) as reader:
            save(writer, make_ticket())
            make_view(writer)
            writer.commit()
            save(writer, make_ticket())
            refresh_summary(writer)
            reader.execute(text("SET LOCAL lock_timeout = '20s'"))
            assert len(summary(reader)) == 1, "the old rows, at once"
            reader.rollback()
            writer.commit()
            assert len(summary(reader)) == 2
            reader.rollback()
            # Without CONCURRENTLY they wait, until the writer commits.
            writer.execute(text("REFRESH MATERIALIZED VIEW organization_summary"))
            reader.execute(text("SET LOCAL lock_timeout = '100ms'"))
            with pytest.raises(DBAPIError, match="lock timeout"):
                summary(reader)
    finally:
        engine.dispose()


def test_a_refresh_writes_what_changed(real_commits: str) -> None:
    """``now()`` in the view would change every row."""
    engine = create_sync_engine(real_commits)
    versions = text("SELECT xmin::text FROM organization_summary ORDER BY organization_id")
    stamped = text(
        str(SUMMARY[0]).replace("count(*) AS tickets", "count(*) AS tickets, now() AS refreshed_at")
    )
    try:
        for view, kept in ((SUMMARY[0], True), (stamped, False)):
            with Session(engine) as session:
                session.add(make_ticket())
                session.commit()
                make_view(session, view, SUMMARY[1])
                session.commit()
                before = session.scalars(versions).all()
                session.commit()
                session.add(make_ticket())
                session.commit()
                session.execute(REFRESH)
                session.commit()
                after = session.scalars(versions).all()
                assert (list(after[:-1]) == list(before)) is kept
                session.execute(text("DROP MATERIALIZED VIEW organization_summary"))
                session.commit()
    finally:
        engine.dispose()


def test_create_all_leaves_the_view_alone(session: Session) -> None:
    assert organization_summary.name not in Base.metadata.tables
    assert session.scalar(text("SELECT to_regclass('organization_summary')")) is None


# --- A hundred thousand tickets -------------------------------------------------------------------

YEAR = (date(2025, 7, 1), date(2026, 6, 30))
WEEK = Period.of_days(date(2026, 3, 2), date(2026, 3, 8), BERLIN)
MONDAY = Period.of_days(date(2026, 3, 2), date(2026, 3, 2), BERLIN)


def large_reports() -> dict[str, tuple[Any, int]]:
    """Each report over the whole year, and how many rows it may fetch."""
    people = 20 + 1
    return {
        "ticket_statistics": (ticket_statistics(), 1),
        "assignee_table": (assignee_table(), people),
        "status_by_priority": (status_by_priority(), 5 * 4),
        "assignee_by_priority": (assignee_by_priority(), (people + 1) * (4 + 1)),
        "first_response": (first_response(), 1),
        "daily_series": (daily_series(*YEAR, BERLIN), 365),
        "resolution_cohorts": (resolution_cohorts(*YEAR, BERLIN), 12 * 13 // 2),
        "funnel": (funnel(), 4),
        "time_in_status": (time_in_status(datetime(2026, 7, 1, tzinfo=UTC)), 5),
    }


def ran(session: Session, statement: Any) -> tuple[list[Any], list[tuple[str, Any, int]]]:
    """The rows of *statement*, and ``(SQL, parameters, rows fetched)`` of all that ran."""
    seen: list[tuple[str, Any, int]] = []

    def note(_c: Any, cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        seen.append((sql, parameters, cursor.rowcount))

    bind = session.get_bind()
    event.listen(bind, "after_cursor_execute", note)
    try:
        return list(session.execute(statement)), seen
    finally:
        event.remove(bind, "after_cursor_execute", note)


@pytest.mark.parametrize("name", REPORTS)
def test_few_rows_come_of_a_hundred_thousand(large_desk: Engine, name: str) -> None:
    statement, bound = large_reports()[name]
    with Session(large_desk) as session, assert_statements(session, exactly=1):
        rows, seen = ran(session, statement)
    assert [fetched for _, _, fetched in seen] == [len(rows)]
    assert 0 < len(rows) <= bound


@pytest.mark.once
def test_the_figures_of_a_hundred_thousand_agree(large_desk: Engine) -> None:
    """Each report counts the same tickets as a plain count does."""
    alive = select(func.count()).select_from(Ticket).where(Ticket.deleted_at.is_(None))
    with Session(large_desk) as session:
        total = session.scalars(alive).one()
        still_open = session.scalars(alive.where(Ticket.resolved_at.is_(None))).one()
        found = get_ticket_statistics(session)
        days = session.execute(daily_series(*YEAR, "UTC")).all()
        later = session.execute(daily_series(date(2026, 7, 1), date(2026, 7, 31), "UTC")).all()
        pairs = session.execute(status_by_priority()).all()
        sets = session.execute(assignee_by_priority()).all()
        first = session.execute(first_response()).one()
        stages = session.execute(funnel()).all()
        cohorts = session.execute(resolution_cohorts(*YEAR, "UTC")).all()
        answers = (
            select(func.min(hours(Ticket.created_at, Comment.created_at)))
            .join(Comment.author)
            .join(Comment.ticket)
            .where(Ticket.deleted_at.is_(None), User.is_staff, Comment.is_internal.is_(False))
            .group_by(Ticket.id)
        )
        waited = list(session.scalars(answers))
    assert 95_000 < total < 100_000
    assert found["total"] == total == sum(row.tickets for row in pairs)
    assert total == sum(row["ticket_count"] for row in found["assignee_stats"])
    for level in range(4):
        assert sum(row.tickets for row in sets if row.level == level) == total
    assert sum(row.created for row in days) + sum(row.created for row in later) == total
    assert later[-1].backlog == still_open
    assert days[-1].backlog == later[0].backlog - later[0].created + later[0].resolved
    assert (first.answered, first.avg) == (len(waited), pytest.approx(mean(waited)))
    assert first.p99 == pytest.approx(between(waited, 0.99))
    assert first.answered + first.waiting == total
    done = sum(found["status_counts"][status] for status in DONE)
    assert [row.tickets for row in stages][0::2] == [total, done]
    assert sum(row.tickets for row in cohorts if row.age == 0) == sum(row.created for row in days)


TICKETS, COMMENTS = "ix_tickets_created_at_id", "ix_comments_ticket_id_created_at_id"
HISTORY = "ix_ticket_status_history_ticket_id_changed_at_id"


@pytest.mark.parametrize(
    ("statement", "indexes"),
    [
        (ticket_statistics(WEEK), {TICKETS}),
        (assignee_table(WEEK), {TICKETS}),
        (status_by_priority(WEEK), {TICKETS}),
        (assignee_by_priority(WEEK), {TICKETS}),
        (daily_series(date(2026, 3, 2), date(2026, 3, 8), BERLIN), {TICKETS}),
        (resolution_cohorts(date(2026, 3, 1), date(2026, 3, 31), BERLIN), {TICKETS}),
        # Over a week the planner rather reads the whole child table once.
        (first_response(MONDAY), {TICKETS, COMMENTS}),
        (funnel(MONDAY), {TICKETS, HISTORY}),
        (time_in_status(NOON + 30 * DAY, MONDAY), {TICKETS, HISTORY}),
    ],
    ids=range(9),
)
def test_the_index_of_a_short_period(
    large_desk: Engine, statement: Select[Any], indexes: set[str]
) -> None:
    with (
        Session(large_desk) as session,
        assert_statements(session, exactly=1),
        assert_indexes(session, *indexes) as plans,
    ):
        assert session.execute(statement).all()
    assert plans.indexes & {TICKETS, COMMENTS, HISTORY} == indexes


def test_a_local_date_in_where_enters_no_index(large_desk: Engine) -> None:
    """Why the days are bounded by moments as well."""
    day = date(2026, 3, 2)
    count = select(func.count()).select_from(Ticket)
    by_date = count.where(local_day(Ticket.created_at, BERLIN) == day)
    bounded = by_date.where(within(Ticket.created_at, day, day, BERLIN))
    with Session(large_desk) as session:
        with recorded_plans(session) as plans:
            by_dates, by_bounds = session.scalar(by_date), session.scalar(bounded)
        assert by_dates == by_bounds
    without, entered = plans
    assert not any(node.condition for node in without.nodes)
    assert any(node.index == TICKETS and node.condition for node in entered.nodes)


def test_the_limit_of_a_series_is_a_row_a_day(session: Session) -> None:
    first = date(2023, 1, 1)
    rows = session.execute(daily_series(first, first + (DAYS_LIMIT - 1) * DAY, BERLIN)).all()
    assert len(rows) == DAYS_LIMIT
