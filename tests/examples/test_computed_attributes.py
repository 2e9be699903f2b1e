"""Python and SQL agree to the microsecond in any zone; indexes serve; nothing loads unasked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Computed,
    DateTime,
    Engine,
    ForeignKey,
    MetaData,
    Select,
    Table,
    and_,
    cast,
    func,
    insert,
    inspect,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.exc import (
    CompileError,
    DBAPIError,
    IntegrityError,
    InvalidRequestError,
    MissingGreenlet,
    NotSupportedError,
    ProgrammingError,
    StatementError,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.hybrid import hybrid_method, hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    column_property,
    mapped_column,
    relationship,
)
from sqlalchemy.schema import CreateTable

from examples.computed_attributes import (
    OVERDUE_AFTER,
    DeskBase,
    DeskTicket,
    DeskUser,
    EmailLogin,
    TicketAges,
    TimeEntry,
    async_find_overdue,
    find_overdue,
    first_response_at,
    hours_between,
    hybrids_without_sql,
    moment_before,
    overdue_tickets,
    tickets_to_escalate,
    user_by_email,
    with_response_times,
)
from examples.database import create_sync_engine
from examples.models import DONE, Comment, Ticket, TicketStatus, User
from examples.postgres import temporary_database
from examples.testing_patterns.factories import (
    make_comment,
    make_organization,
    make_ticket,
    make_user,
)
from examples.testing_patterns.plans import assert_indexes
from examples.testing_patterns.statements import assert_statements
from tests.short import times
from tests.test_upgrading import SA_21

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
NEW_YORK = "America/New_York"  # its clocks went forward on 8 March 2026
ZONES = ["UTC", NEW_YORK, "Europe/Berlin", "Asia/Kolkata"]
DAY, HOUR, TICK = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)


def set_zone(session: Session, zone: str) -> None:
    """The session's time zone, until the transaction ends."""
    session.execute(text("SELECT set_config('TimeZone', :zone, true)"), {"zone": zone})


def add_ticket(session: Session, **fields: Any) -> Ticket:
    """A saved ticket."""
    ticket = make_ticket(**fields)
    session.add(ticket)
    session.flush()
    return ticket


def server_now(session: Session) -> datetime:
    """When the transaction began, by the server's clock."""
    return session.execute(select(func.now())).scalar_one()


# --- Both sides agree -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scratch(postgres_url: str, template_name: str) -> Iterator[Engine]:
    """A database whose tickets each example makes and rolls back."""
    with temporary_database(postgres_url, template=template_name) as url:
        engine = create_sync_engine(url)
        yield engine
        engine.dispose()


# What goes wrong lies at the limit, to the microsecond.
edges = st.builds(
    lambda limit, ticks: limit + ticks * TICK,
    st.sampled_from([OVERDUE_AFTER, DAY, 36 * HOUR]),
    st.integers(-2, 2),
)
random_tickets = st.lists(
    st.tuples(
        st.sampled_from(TicketStatus),
        edges | st.timedeltas(-DAY, 30 * DAY),
        st.timedeltas(timedelta(0), 400 * DAY),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)
moments = st.datetimes(datetime(2026, 3, 1), datetime(2026, 11, 30), timezones=st.just(UTC))


@settings(max_examples=times(60, 12), deadline=None)
@given(
    rows=random_tickets,
    now=moments,
    now_in=st.sampled_from(ZONES),
    zone=st.sampled_from(ZONES),
    hours=st.sampled_from([24, 36, 0.1, 1 / 3]),
)
def test_python_agrees_with_sql(  # noqa: PLR0917
    scratch: Engine,
    rows: list[tuple[TicketStatus, timedelta, timedelta, bool]],
    now: datetime,
    now_in: str,
    zone: str,
    hours: float,
) -> None:
    asked = now.astimezone(ZoneInfo(now_in))
    with Session(scratch) as session:
        set_zone(session, zone)
        organization, creator = make_organization(), make_user()
        for status, age, taken, deleted in rows:
            ticket = make_ticket(organization=organization, creator=creator, status=status)
            ticket.created_at = now - age
            ticket.resolved_at = ticket.created_at + taken if status in DONE else None
            ticket.deleted_at = now if deleted else None
            session.add(ticket)
        session.flush()
        found = session.execute(
            select(
                DeskTicket,
                DeskTicket.is_open_since(OVERDUE_AFTER, asked),
                DeskTicket.is_priority_escalation_needed(hours, asked),
                DeskTicket.resolution_hours,
                DeskTicket.is_overdue,
            )
        ).all()
        begun = server_now(session)
        assert len(found) == len(rows)
        for ticket_, overdue, escalate, taken_hours, overdue_now in found:
            assert ticket_.is_open_since(OVERDUE_AFTER, asked) is overdue
            assert ticket_.is_priority_escalation_needed(hours, asked) is escalate
            assert ticket_.resolution_hours == taken_hours
            assert ticket_.is_open_since(OVERDUE_AFTER, begun) is overdue_now
        session.rollback()


@settings(max_examples=times(40, 8), deadline=None)
@given(
    comments=st.lists(
        st.tuples(st.booleans(), st.booleans(), st.timedeltas(timedelta(0), 30 * DAY)), max_size=6
    ),
    created_at=moments,
    zone=st.sampled_from(ZONES),
)
def test_the_response_time_agrees_with_a_model(
    scratch: Engine,
    comments: list[tuple[bool, bool, timedelta]],
    created_at: datetime,
    zone: str,
) -> None:
    with Session(scratch) as session:
        set_zone(session, zone)
        ticket = add_ticket(session, created_at=created_at)
        staff, customer = make_user(is_staff=True), make_user()
        for is_internal, by_staff, after in comments:
            session.add(
                make_comment(
                    ticket=ticket,
                    author=staff if by_staff else customer,
                    is_internal=is_internal,
                    created_at=created_at + after,
                )
            )
        session.flush()
        answers = [after for internal, by_staff, after in comments if by_staff and not internal]
        expected = min(answers).total_seconds() / 3600 if answers else None
        (found,) = session.scalars(with_response_times([ticket.id]))
        assert found.response_time_hours == expected
        session.rollback()


@pytest.mark.asyncio
async def test_both_sides_under_asyncio(async_session: AsyncSession) -> None:
    ticket = make_ticket(
        created_at=NOON - 2 * DAY, status="resolved", resolved_at=NOON - 2 * DAY + 1.5 * HOUR
    )
    async_session.add_all([ticket, make_ticket(created_at=NOON - OVERDUE_AFTER - TICK)])
    await async_session.flush()
    rows = await async_session.execute(
        select(
            DeskTicket, DeskTicket.is_open_since(OVERDUE_AFTER, NOON), DeskTicket.resolution_hours
        ).order_by(DeskTicket.id)
    )
    (done, no, hours), (late, yes, none) = rows.all()
    assert (done.is_open_since(OVERDUE_AFTER, NOON), no) == (False, False)
    assert (late.is_open_since(OVERDUE_AFTER, NOON), yes) == (True, True)
    assert (done.resolution_hours, hours, late.resolution_hours, none) == (1.5, 1.5, None, None)


def test_the_names_of_old(session: Session) -> None:
    """7.5 days are overdue: the published ``date_part('day', …) > 7`` asks for 8."""
    now = server_now(session)
    add_ticket(session, title="old", created_at=now - 7.5 * DAY)
    add_ticket(session, title="begun", created_at=now - 7.5 * DAY, status="in_progress")
    add_ticket(session, title="waiting", created_at=now - 25 * HOUR)
    add_ticket(session, title="new", created_at=now - 23 * HOUR)
    add_ticket(session, title="gone", created_at=now - 30 * DAY, deleted_at=now)
    with assert_statements(session, exactly=1):
        overdue = find_overdue(session)
    with assert_statements(session, exactly=1):
        urgent = session.scalars(tickets_to_escalate()).all()
    with assert_statements(session, exactly=0):
        assert all(ticket.is_overdue for ticket in overdue)
        assert all(ticket.is_priority_escalation_needed() for ticket in urgent)
    assert [ticket.title for ticket in overdue] == ["old", "begun"]
    assert [ticket.title for ticket in urgent] == ["old", "waiting"]
    everything = session.scalars(select(DeskTicket).order_by(DeskTicket.id)).all()
    assert [ticket.is_overdue for ticket in everything] == [True, True, False, False, False]
    asked = [ticket.is_priority_escalation_needed() for ticket in everything]
    assert asked == [True, False, True, False, False]
    days = func.date_part("day", func.now() - DeskTicket.created_at) > 7
    by_days = select(DeskTicket.title).where(days, DeskTicket.deleted_at.is_(None))
    assert session.scalars(by_days).all() == []


def test_an_alias_is_asked_about_itself(session: Session) -> None:
    now = server_now(session)
    add_ticket(session, title="old", created_at=now - 8 * DAY)
    add_ticket(session, title="new", created_at=now)
    other = aliased(DeskTicket)
    pairs = select(DeskTicket.title, other.title).where(
        DeskTicket.id > other.id,
        other.is_overdue,
        other.is_priority_escalation_needed(24),
        ~DeskTicket.is_overdue,
    )
    assert session.execute(pairs).all() == [("new", "old")]


def test_a_ticket_that_is_not_saved_has_no_age() -> None:
    new = make_ticket()
    unsaved = DeskTicket(title=new.title)
    assert unsaved.is_overdue is False
    assert unsaved.is_priority_escalation_needed() is False
    assert unsaved.resolution_hours is None
    unsaved.resolved_at = NOON
    assert unsaved.resolution_hours is None


def test_a_moment_without_zone_is_refused() -> None:
    naive = NOON.replace(tzinfo=None)
    with pytest.raises(ValueError, match=r"received 2026-03-10T12:00:00; expected a time zone"):
        moment_before(DAY, naive)
    with pytest.raises(ValueError, match="expected a time zone"):
        hours_between(naive, NOON)
    with pytest.raises(ValueError, match="expected a time zone"):
        DeskTicket.is_open_since(DAY, naive)


def test_days_are_no_fixed_time(session: Session) -> None:
    """``now() - timedelta(days=7)`` in a zone whose clocks went forward three days ago."""
    now = server_now(session)
    day = (now - 3 * DAY).astimezone(UTC).timetuple().tm_yday - 1
    set_zone(session, f"AAA0BBB,{day}/0,{(day + 100) % 365}/0")
    ticket = add_ticket(session, created_at=now - 167.5 * HOUR)
    naive = select(DeskTicket.created_at < func.now() - timedelta(days=7))
    assert session.execute(naive).scalar_one() is True, "167.5 hours taken for seven days"
    assert session.execute(select(DeskTicket.is_overdue)).scalar_one() is False
    assert session.get_one(DeskTicket, ticket.id).is_overdue is False
    ticket.created_at = now - OVERDUE_AFTER - TICK
    session.flush()
    assert session.execute(select(DeskTicket.is_overdue)).scalar_one() is True
    ticket.created_at = now - OVERDUE_AFTER
    session.flush()
    assert session.execute(select(DeskTicket.is_overdue)).scalar_one() is False


def test_python_subtracts_on_the_wall_clock(session: Session) -> None:
    """psycopg gives the session's zone; two moments of one zone are subtracted as wall clocks."""
    set_zone(session, NEW_YORK)
    add_ticket(session, created_at=NOON - 7 * DAY, status="resolved", resolved_at=NOON)
    session.expunge_all()
    ticket, hours = session.execute(select(DeskTicket, DeskTicket.resolution_hours)).one()
    assert ticket.resolution_hours == hours == 168
    assert ticket.resolved_at
    wall = ticket.resolved_at - ticket.created_at
    driver = session.get_bind().dialect.driver
    assert wall == (169 * HOUR if driver == "psycopg" else 168 * HOUR)
    in_york = [moment.astimezone(ZoneInfo(NEW_YORK)) for moment in (NOON - 7 * DAY, NOON)]
    assert in_york[1] - in_york[0] == 169 * HOUR
    assert hours_between(*in_york) == 168
    assert moment_before(7 * DAY, in_york[1]) == NOON - 7 * DAY


# --- What loads: SQL computes it, and only when asked ---------------------------------------------


def answered(session: Session, *, after: timedelta = 2 * HOUR) -> Ticket:
    """A ticket that staff answered."""
    ticket = add_ticket(session, created_at=NOON)
    staff = make_user(is_staff=True)
    session.add(make_comment(ticket=ticket, author=staff, created_at=NOON + after))
    session.flush()
    return ticket


def test_response_times_are_loaded_when_asked(session: Session) -> None:
    ids = [answered(session).id, add_ticket(session).id]
    with assert_statements(session, exactly=1):
        found = session.scalars(with_response_times(ids)).all()
        assert [ticket.response_time_hours for ticket in found] == [2.0, None]
    slow = select(DeskTicket.id).where(DeskTicket.response_time_hours > 1)
    assert session.scalars(slow).all() == ids[:1]
    session.expunge_all()
    with assert_statements(session, exactly=1) as ran:
        ticket = session.scalars(select(DeskTicket).where(DeskTicket.id == ids[0])).one()
        with pytest.raises(InvalidRequestError, match="not available due to raiseload=True"):
            _ = ticket.response_time_hours
    assert "comments" not in ran[0], "nobody pays who did not ask"


def test_a_loaded_value_grows_old(session: Session) -> None:
    ticket = answered(session)
    (found,) = session.scalars(with_response_times([ticket.id]))
    staff = make_user(is_staff=True)
    session.add(make_comment(ticket=ticket, author=staff, created_at=NOON + HOUR))
    session.flush()
    assert found.response_time_hours == 2.0
    stale = with_response_times([ticket.id]).execution_options(populate_existing=False)
    assert session.scalars(stale).one().response_time_hours == 2.0
    assert session.scalars(with_response_times([ticket.id])).one().response_time_hours == 1.0


@pytest.mark.asyncio
async def test_nothing_loads_under_asyncio(async_session: AsyncSession) -> None:
    ticket = await async_session.run_sync(answered)
    await async_session.run_sync(lambda session: add_ticket(session, created_at=NOON - 999 * DAY))
    with assert_statements(async_session, exactly=1):
        found = (await async_find_overdue(async_session))[0]
        assert found.is_overdue
    with pytest.raises(InvalidRequestError, match="not available due to raiseload=True"):
        _ = found.response_time_hours
    with assert_statements(async_session, exactly=1):
        await async_session.refresh(found, ["response_time_hours"])
        assert found.response_time_hours is None
    with assert_statements(async_session, exactly=1):
        (quick,) = await async_session.scalars(with_response_times([ticket.id]))
    assert quick.response_time_hours == 2.0


class Loading(DeclarativeBase):
    """What the kit does not do."""


class Parcel(Loading):
    """A hybrid over a relationship, and a column_property in every SELECT."""

    __tablename__ = "computed_parcels"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    items: Mapped[list[Item]] = relationship()

    @hybrid_property
    def weight(self) -> int:
        return sum(item.grams for item in self.items)

    @weight.inplace.expression
    @classmethod
    def _weight(cls) -> ColumnElement[int]:
        grams = select(func.sum(Item.grams)).where(Item.parcel_id == cls.id)
        return func.coalesce(grams.correlate_except(Item).scalar_subquery(), 0)


class Item(Loading):
    """One of a parcel's."""

    __tablename__ = "computed_items"
    id: Mapped[int] = mapped_column(primary_key=True)
    parcel_id: Mapped[int] = mapped_column(ForeignKey("computed_parcels.id"))
    grams: Mapped[int]


counted = select(func.count()).where(Item.parcel_id == Parcel.__table__.c.id)
Parcel.number = column_property(counted.correlate_except(Item).scalar_subquery())
Parcel.kept = column_property(
    counted.correlate_except(Item).scalar_subquery(), expire_on_flush=False
)
Parcel.careless = column_property(counted.scalar_subquery(), deferred=True)


@pytest.mark.asyncio
async def test_a_hybrid_that_loads_fails_under_asyncio(async_session: AsyncSession) -> None:
    await (await async_session.connection()).run_sync(Loading.metadata.create_all)
    async_session.add(Parcel(id=1, name="a", items=[Item(id=1, grams=5), Item(id=2, grams=6)]))
    await async_session.flush()
    async_session.expunge_all()
    parcel, weight = (await async_session.execute(select(Parcel, Parcel.weight))).one()
    assert weight == 11
    with pytest.raises((MissingGreenlet, StatementError), match="greenlet_spawn"):
        _ = parcel.weight


def test_a_hybrid_that_loads_costs_a_statement_each(session: Session) -> None:
    Loading.metadata.create_all(session.connection())
    session.add_all(Parcel(id=n, name="a", items=[Item(id=n, grams=n)]) for n in range(1, 6))
    session.flush()
    session.expunge_all()
    parcels = session.scalars(select(Parcel)).all()
    with assert_statements(session, exactly=5):
        assert sum(parcel.weight for parcel in parcels) == 15


@pytest.mark.asyncio
async def test_a_flush_forgets_a_column_property(async_session: AsyncSession) -> None:
    await (await async_session.connection()).run_sync(Loading.metadata.create_all)
    async_session.add(Parcel(id=1, name="a", items=[Item(id=1, grams=5)]))
    await async_session.flush()
    async_session.expunge_all()
    parcel: Any = (await async_session.scalars(select(Parcel))).one()
    assert (parcel.number, parcel.kept) == (1, 1)
    parcel.name = "b"
    await async_session.flush()
    assert parcel.kept == 1
    with pytest.raises((MissingGreenlet, StatementError), match="greenlet_spawn"):
        _ = parcel.number


def test_a_subquery_says_what_it_correlates(session: Session) -> None:
    """Without it a query that joins the same table takes it out of the subquery."""
    Loading.metadata.create_all(session.connection())
    careless: Any = inspect(Parcel).attrs.careless.class_attribute
    with pytest.raises(InvalidRequestError, match="no FROM clauses due to auto-correlation"):
        session.execute(select(careless).join(Item, Item.parcel_id == Parcel.id))
    ticket = answered(session)
    joined = (
        select(DeskTicket.response_time_hours)
        .join(Comment, Comment.ticket_id == DeskTicket.id)
        .join(User, User.id == Comment.author_id)
    )
    assert session.scalars(joined).all() == [2.0]
    other = aliased(DeskTicket)
    assert session.scalars(select(other.response_time_hours)).all() == [2.0]
    on_the_desk = select(first_response_at(Ticket.id)).where(Ticket.id == ticket.id)
    assert session.execute(on_the_desk).scalar_one() == NOON + 2 * HOUR


# --- E-mail ---------------------------------------------------------------------------------------


def test_an_address_is_found_however_it_is_written(session: Session) -> None:
    session.add_all([make_user(email="Ann@Acme.example"), make_user(email="bob@acme.example")])
    session.flush()
    with assert_statements(session, exactly=1):
        ann = session.scalars(user_by_email("aNN@ACME.example")).one()
    assert ann.login == ann.email == "Ann@Acme.example"
    assert session.scalars(select(DeskUser.login).where(DeskUser.id == ann.id)).one() == ann.login
    several = select(DeskUser.email).where(DeskUser.login.in_(["ANN@acme.example", "x@y.example"]))
    assert session.scalars(several).all() == ["Ann@Acme.example"]
    others = select(DeskUser.email).where(DeskUser.login != "ANN@ACME.EXAMPLE")
    assert session.scalars(others).all() == ["bob@acme.example"]
    rest = select(DeskUser.email).where(DeskUser.login.not_in(["BOB@acme.example"]))
    assert session.scalars(rest).all() == ["Ann@Acme.example"]
    assert session.scalars(select(DeskUser).where(DeskUser.login.in_([]))).all() == []
    with pytest.raises(NotImplementedError, match=r"received like_op; expected ==, != or in_\(\)"):
        DeskUser.login.like("ann%")


def test_python_lowers_another_way(session: Session) -> None:
    """The dotted capital I: two characters in Python, one in the locales C, C.UTF-8 and libc's."""
    email = "İnci@acme.example"
    session.add(make_user(email=email))
    session.flush()
    by_python = select(DeskUser).where(func.lower(DeskUser.email) == email.lower())
    lowered = session.execute(select(func.lower(email))).scalar_one()
    assert len(session.scalars(by_python).all()) == (lowered == email.lower())
    assert session.scalars(user_by_email(email)).one().email == email


# --- The side that nobody wrote -------------------------------------------------------------------


class Careless(DeclarativeBase):
    """Hybrids as they are published."""


class Visit(Careless):
    """Python bodies that run on the class."""

    __tablename__ = "computed_visits"
    id: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    minutes: Mapped[int]

    @hybrid_method
    def is_long(self, limit: int) -> bool:
        if self.state == "open":
            return self.minutes > limit
        return False

    @hybrid_property
    def is_short(self) -> bool:
        return self.state == "done" and self.minutes < 5

    @hybrid_property
    def label(self) -> int:
        return len(self.state)

    @hybrid_property
    def is_quick(self) -> bool:
        return self.minutes < 5 and self.state == "done"

    @hybrid_property
    def is_named(self) -> bool:
        return not self.state

    @hybrid_property
    def hours(self) -> float:
        return self.minutes / 60

    @hours.inplace.expression
    @classmethod
    def _hours(cls) -> ColumnElement[Any]:
        return cls.minutes / 60.0


def where_of(statement: Select[Any]) -> str:
    """The WHERE of *statement*."""
    return str(statement).partition("WHERE ")[2]


def test_a_python_body_becomes_another_condition() -> None:
    assert where_of(select(Visit).where(Visit.is_long(24))) == "false"
    assert where_of(select(Visit).where(Visit.is_short)) == "computed_visits.state = :state_1"
    with pytest.raises(InvalidRequestError, match="to return a ClauseElement object, got: False"):
        select(Visit).where(Visit.is_named)
    with pytest.raises(TypeError, match="Boolean value of this clause is not defined"):
        _ = Visit.is_quick
    escalate = where_of(select(DeskTicket).where(DeskTicket.is_priority_escalation_needed(24)))
    assert "tickets.status = " in escalate
    assert "tickets.created_at < now() - make_interval(" in escalate


def test_a_hybrid_without_sql_is_named() -> None:
    names = ("is_long", "is_named", "is_quick", "is_short", "label")
    assert hybrids_without_sql(Careless) == [f"Visit.{name}" for name in names]
    assert hybrids_without_sql(DeskBase) == []


def test_a_hybrid_without_sql_breaks_bulk_statements(session: Session) -> None:
    Careless.metadata.create_all(session.connection())
    rows = [{"id": 1, "state": "open", "minutes": 3}, {"id": 2, "state": "done", "minutes": 3}]
    with pytest.raises(TypeError, match=r"has no len|Boolean value of") if SA_21 else nullcontext():
        session.execute(insert(Visit), rows)


class Own(DeclarativeBase):
    """A user's own base, with the hybrids mixed in."""

    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012


class OwnTicket(TicketAges, EmailLogin, Own):
    """A user's own ticket."""

    __tablename__ = "computed_own_tickets"
    __table_args__ = (CheckConstraint("id > 0"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    status: Mapped[TicketStatus]
    created_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]


def test_mixed_into_ones_own_class(session: Session) -> None:
    assert hybrids_without_sql(Own) == []
    Own.metadata.create_all(session.connection())
    now = server_now(session)
    fields = {"email": "A@x.org", "status": TicketStatus.OPEN}
    rows = [{"id": n, "created_at": now - n * DAY, **fields} for n in (6, 8, 9)]
    session.execute(insert(OwnTicket), rows)
    returned = session.scalars(
        insert(OwnTicket).returning(OwnTicket.id),
        [{"id": 10, "created_at": now - 10 * DAY, **fields}],
    )
    assert returned.all() == [10]
    session.execute(update(OwnTicket), [{"id": 8, "created_at": now}])
    overdue = session.scalars(select(OwnTicket).where(OwnTicket.is_overdue)).all()
    assert {ticket.id for ticket in overdue} == {9, 10}
    assert all(ticket.is_overdue for ticket in overdue)
    session.execute(update(OwnTicket).where(OwnTicket.is_overdue).values(email="b@x.org"))
    assert {ticket.email for ticket in overdue} == {"b@x.org"}
    assert len(session.scalars(select(OwnTicket).where(OwnTicket.login == "B@X.org")).all()) == 2


def test_the_import_leaves_the_desk_alone() -> None:
    code = (
        "from sqlalchemy import inspect\n"
        "from examples.models import Base, Ticket\n"
        "def seen():\n"
        "    mappers = sorted(m.class_.__name__ for m in Base.registry.mappers)\n"
        "    names = sorted(Ticket.__mapper__.all_orm_descriptors.keys())\n"
        "    return Ticket.__mapper__.configured, mappers, names, sorted(Base.metadata.tables)\n"
        "before = seen()\n"
        "import examples.computed_attributes\n"
        "assert seen() == before\n"
        "assert before[0] is False\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_second_mapping_reads() -> None:
    columns = inspect(DeskUser).attrs.keys()
    assert set(columns) == {"id", "email", "full_name"}
    assert "search_vector" not in inspect(DeskTicket).attrs


# --- Generated columns ----------------------------------------------------------------------------


def test_postgresql_computes_the_seconds(session: Session) -> None:
    DeskBase.metadata.create_all(session.connection())
    ticket = add_ticket(session)
    entry = TimeEntry(ticket_id=ticket.id, started_at=NOON, ended_at=NOON + HOUR)
    session.add(entry)
    with assert_statements(session, exactly=1):
        session.flush()
        assert entry.seconds == 3600
    entry.ended_at = NOON + 2 * HOUR
    with assert_statements(session, exactly=1):
        session.flush()
        assert entry.seconds == 7200
    session.execute(text("UPDATE time_entries SET ended_at = started_at + interval '5 seconds'"))
    assert session.scalars(select(TimeEntry.seconds)).one() == 5
    with pytest.raises(ProgrammingError, match="cannot insert a non-DEFAULT value into column"):
        session.execute(
            insert(TimeEntry).values(ticket_id=ticket.id, started_at=NOON, ended_at=NOON, seconds=1)
        )


def test_an_entry_ends_after_its_start(session: Session) -> None:
    DeskBase.metadata.create_all(session.connection())
    ticket = add_ticket(session)
    session.add(TimeEntry(ticket_id=ticket.id, started_at=NOON, ended_at=NOON - TICK))
    with pytest.raises(IntegrityError, match="ck_time_entries_ends_after_start"):
        session.flush()


class Plain(DeclarativeBase):
    """Without ``eager_defaults``."""

    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012


class Box(Plain):
    """A generated column that an UPDATE does not return."""

    __tablename__ = "computed_boxes"
    id: Mapped[int] = mapped_column(primary_key=True)
    side: Mapped[int]
    area: Mapped[int] = mapped_column(Computed("side * side", persisted=True))


@pytest.mark.asyncio
async def test_an_update_returns_the_generated_value(async_session: AsyncSession) -> None:
    connection = await async_session.connection()
    await connection.run_sync(DeskBase.metadata.create_all)
    await connection.run_sync(Plain.metadata.create_all)
    ticket = await async_session.run_sync(lambda session: add_ticket(session, created_at=NOON))
    entry = TimeEntry(ticket_id=ticket.id, started_at=NOON, ended_at=NOON)
    box = Box(id=1, side=2)
    async_session.add_all([entry, box])
    await async_session.flush()
    assert (entry.seconds, box.area) == (0, 4)
    entry.ended_at, box.side = NOON + HOUR, 3
    await async_session.flush()
    assert entry.seconds == 3600
    with pytest.raises((MissingGreenlet, StatementError), match="greenlet_spawn"):
        _ = box.area


def ddl_of(engine: Engine, persisted: bool | None) -> str:
    """CREATE TABLE with a generated column, for the server of *engine*."""
    table = Table("computed_ddl", MetaData(), Box.__table__.c.side._copy())
    column: Any = Box.__table__.c.area._copy()
    column.computed.persisted = persisted
    table.append_column(column)
    return str(CreateTable(table).compile(engine))


@pytest.mark.requires_postgres(18)
def test_what_a_virtual_column_cannot(session: Session) -> None:
    """The other kind, of PostgreSQL 18: no rewrite to add it, no disk, no index."""
    session.execute(text("CREATE TABLE computed_kinds (a integer)"))
    session.execute(text("INSERT INTO computed_kinds VALUES (1)"))
    file = text("SELECT pg_relation_filenode('computed_kinds')")
    before = session.scalar(file)
    add = "ALTER TABLE computed_kinds ADD COLUMN {} integer GENERATED ALWAYS AS (a + 1) {}"
    session.execute(text(add.format("b", "VIRTUAL")))
    assert session.scalar(file) == before
    session.execute(text(add.format("c", "STORED")))
    assert session.scalar(file) != before, "the whole table was written again"
    assert session.execute(text("SELECT b, c FROM computed_kinds")).one() == (2, 2)
    with (
        pytest.raises(
            (NotSupportedError, DBAPIError),
            match="indexes on virtual generated columns are not supported",
        ),
        session.begin_nested(),
    ):
        session.execute(text("CREATE INDEX ON computed_kinds (b)"))
    session.execute(text("CREATE INDEX ON computed_kinds (c)"))


@pytest.mark.requires_postgres(18)
def test_what_computed_means_without_persisted(engine: Engine) -> None:
    """On PostgreSQL 18: stored by 2.0, virtual by 2.1."""
    with engine.connect():
        assert "STORED" in ddl_of(engine, True)
        assert ("STORED" in ddl_of(engine, None)) is not SA_21
        if SA_21:
            assert "GENERATED ALWAYS AS (side * side) VIRTUAL" in ddl_of(engine, False)
        else:
            with pytest.raises(CompileError, match="'virtual' persistence"):
                ddl_of(engine, False)


def test_a_clock_is_no_generated_column(session: Session) -> None:
    with pytest.raises(ProgrammingError, match="generation expression is not immutable"):
        session.execute(
            text(
                "CREATE TABLE computed_clock (at timestamptz, late boolean "
                "GENERATED ALWAYS AS (at < now() - interval '7 days') STORED)"
            )
        )


# --- Plans ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(postgres_url: str, template_name: str) -> Iterator[Engine]:
    """20,000 tickets of two weeks, one in fifty open; 10,000 users; analysed."""
    with temporary_database(postgres_url, template=template_name) as url:
        engine = create_sync_engine(url)
        DeskBase.metadata.create_all(engine)
        with engine.begin() as connection:
            for line in (
                "INSERT INTO organizations (name, slug) VALUES ('C', 'c')",
                "INSERT INTO users (email, full_name, password_hash, is_staff) "
                "SELECT 'U' || n || '@x.org', 'U', '-', true FROM generate_series(1, 10000) AS n",
                "INSERT INTO tickets (title, description, organization_id, creator_id, "
                "assignee_id, status, created_at, resolved_at) "
                "SELECT 'Ticket ' || n, '', 1, 1, n % 20 + 1, "
                "CASE WHEN n % 50 = 0 THEN 'open' ELSE 'resolved' END, "
                "now() - n * interval '1 minute', CASE WHEN n % 50 <> 0 THEN now() END "
                "FROM generate_series(1, 20000) AS n",
                "INSERT INTO comments (ticket_id, author_id, content, created_at) "
                "SELECT n % 1000 + 1, 1, 'C', now() - n * interval '1 second' "
                "FROM generate_series(1, 20000) AS n",
                "INSERT INTO time_entries (ticket_id, started_at, ended_at) "
                "SELECT n, now(), now() + n * interval '1 second' "
                "FROM generate_series(1, 20000) AS n",
            ):
                connection.execute(text(line))
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text("VACUUM ANALYZE"))
        yield engine
        engine.dispose()


QUEUE, NEWEST = "ix_tickets_open_queue", "ix_tickets_created_at_id"


@pytest.mark.parametrize(
    ("statement", "indexes"),
    [
        (overdue_tickets(11), {QUEUE}),
        (with_response_times([50]), {"pk_tickets", "ix_comments_ticket_id_created_at_id"}),
        (user_by_email("u77@X.ORG"), {"uq_users_email_lower"}),
    ],
    ids=["overdue_tickets of one", "with_response_times", "user_by_email"],
)
def test_each_read_is_one_statement_by_its_indexes(
    many: Engine, statement: Select[Any], indexes: set[str]
) -> None:
    with (
        Session(many) as session,
        assert_statements(session, exactly=1),
        assert_indexes(session, *indexes),
    ):
        assert session.execute(statement).all()


@pytest.mark.parametrize("statement", [overdue_tickets(), tickets_to_escalate(48)], ids=range(2))
def test_of_all_assignees_either_index_serves(many: Engine, statement: Select[Any]) -> None:
    """That of the time, or the queue's: PostgreSQL 18 can skip its first column."""
    with (
        Session(many) as session,
        assert_statements(session, exactly=1),
        assert_indexes(session) as plans,
    ):
        assert session.execute(statement).all()
    (scan,) = [node for node in plans[0].nodes if node.index]
    assert scan.index in {QUEUE, NEWEST}
    assert "(created_at < " in (scan.condition or "")


def plan_of(engine: Engine, statement: Select[Any], options: str = "COSTS OFF") -> str:
    """The plan of *statement*, with its values written in."""
    sql = statement.compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        found = connection.exec_driver_sql(f"EXPLAIN ({options}) {sql}")
        return "\n".join(row[0] for row in found)


def conditions(plan: str, kind: str) -> str:
    """The lines of *plan* that say what the index found, or what was thrown away afterwards."""
    return "\n".join(line for line in plan.splitlines() if f"{kind}: " in line)


def test_the_queue_serves_what_is_overdue(many: Engine) -> None:
    plan = plan_of(many, overdue_tickets(7))
    assert "ix_tickets_open_queue" in plan
    assert "((assignee_id = 7) AND (created_at < " in conditions(plan, "Index Cond")


@pytest.mark.parametrize(
    "careless",
    [
        func.now() - DeskTicket.created_at > timedelta(days=7),
        func.date_part("day", func.now() - DeskTicket.created_at) > 7,
        DeskTicket.created_at + timedelta(days=7) < func.now(),
    ],
)
def test_a_column_inside_an_expression_is_a_filter(
    many: Engine, careless: ColumnElement[bool]
) -> None:
    query = select(DeskTicket.id).where(careless, DeskTicket.created_at.is_not(None))
    plan = plan_of(many, query)
    # The table or an index, from end to end.
    assert "Index Cond" not in plan
    assert "created_at" in conditions(plan, "Filter")


def test_days_are_wrong_by_an_index_too(many: Engine) -> None:
    """What the clocks make of it nobody sees in a plan."""
    naive = DeskTicket.created_at < func.now() - timedelta(days=7)
    queue = (DeskTicket.resolved_at.is_(None), DeskTicket.deleted_at.is_(None))
    plan = plan_of(many, select(DeskTicket.id).where(DeskTicket.assignee_id == 7, naive, *queue))
    assert "ix_tickets_open_queue" in plan
    assert "(created_at < " in conditions(plan, "Index Cond")


def test_an_open_ticket_must_be_said_as_the_index_says_it(many: Engine) -> None:
    """A status that implies it is not enough: the CHECK is not asked."""
    old = DeskTicket.created_at < func.now() - func.make_interval(0, 0, 0, 7)
    by_status = and_(DeskTicket.status == TicketStatus.OPEN, old, DeskTicket.assignee_id == 7)
    assert "ix_tickets_open_queue" not in plan_of(many, select(DeskTicket.id).where(by_status))


def test_the_unique_index_finds_an_address(many: Engine) -> None:
    plan = plan_of(many, user_by_email("u77@X.ORG"))
    assert "Index Scan using uq_users_email_lower" in plan
    assert "Index Cond: (lower(email) = 'u77@x.org'::text)" in plan
    several = select(DeskUser).where(DeskUser.login.in_(["u7@x.org", "u8@x.org"]))
    assert "uq_users_email_lower" in plan_of(many, several)
    assert "Seq Scan on users" in plan_of(many, select(User.id).where(User.email == "U77@x.org"))


def test_a_first_answer_stops_at_the_first(many: Engine) -> None:
    query = with_response_times([5])
    plan = plan_of(many, query, "ANALYZE, COSTS OFF, TIMING OFF")
    (line,) = [line for line in plan.splitlines() if "on comments" in line]
    assert "Index Scan using ix_comments_ticket_id_created_at_id" in line
    assert "rows=1" in line.replace("rows=1.00", "rows=1 "), "twenty are there"
    assert "Sort" not in plan


def test_the_generated_column_is_indexed(many: Engine) -> None:
    plan = plan_of(many, select(TimeEntry.id).where(TimeEntry.seconds > 19_990))
    assert "ix_time_entries_seconds" in plan


def test_a_literal_moment_keeps_its_zone(session: Session) -> None:
    """What ``is_open_since(now=…)`` sends has a zone: New York's session reads it no other way."""
    set_zone(session, NEW_YORK)
    add_ticket(session, created_at=NOON)
    query = select(cast(literal(NOON), DateTime(timezone=True)) == DeskTicket.created_at)
    assert session.execute(query).scalar_one() is True
    late = select(DeskTicket.is_open_since(HOUR, NOON + HOUR + TICK))
    soon = select(DeskTicket.is_open_since(HOUR, NOON + HOUR))
    assert session.execute(late).scalar_one() is True
    assert session.execute(soon).scalar_one() is False
