"""Analytics: PostgreSQL counts, and a handful of rows comes back.

Problem: figures of several statements contradict each other, groups without a ticket are missing,
and a day is cut in the wrong time zone.  Pattern: one statement, and so one snapshot, for each
report; the groups come from a list and the tickets are joined to it; a day is the local date in a
named zone.  Not for events by the billion: that is a column store's work.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypedDict
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Date,
    DateTime,
    Double,
    Engine,
    FromClause,
    Select,
    Text,
    and_,
    case,
    cast,
    column,
    func,
    literal,
    or_,
    select,
    table,
    text,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from .database import session_factory
from .models import DONE, Comment, Organization, Ticket, TicketPriority, TicketStatus, User
from .models import TicketStatusHistory as Change

DAY = timedelta(days=1)
DAYS_LIMIT, MONTHS_LIMIT = 1_100, 36


class AnalyticsError(ValueError):
    """What is asked for cannot be counted: what was received, expected, to try."""


# --- When -----------------------------------------------------------------------------------------


def known_zone(zone: str) -> ZoneInfo:
    """The IANA zone of this name.  Raises ``AnalyticsError``.

    PostgreSQL would take more: ``CET`` for an hour that knows no summer, and ``UTC+2`` for two
    hours *west* of Greenwich (PostgreSQL, B.5 "POSIX Time Zone Specifications").
    """
    try:
        if "/" in zone or zone == "UTC":
            return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise AnalyticsError(
        f"received the time zone {zone!r}; expected an IANA name; try 'Europe/Berlin' or 'UTC'"
    )


def aware(moment: datetime) -> datetime:
    """*moment*.  Raises ``AnalyticsError`` for one that each driver would read in another zone."""
    if moment.utcoffset() is None:
        raise AnalyticsError(
            f"received {moment.isoformat()}; expected a time zone; "
            "try datetime.now(UTC), or replace(tzinfo=…)"
        )
    return moment


def checked(first: date, last: date, zone: str) -> ZoneInfo:
    """The zone, where both are dates and in order.  Raises ``AnalyticsError``."""
    if isinstance(first, datetime) or isinstance(last, datetime):
        raise AnalyticsError(f"received the datetimes {first}, {last}; expected dates; try .date()")
    if not 1900 <= first.year <= last.year <= 9000 or first > last:
        raise AnalyticsError(
            f"received {first} to {last}; expected the earlier first, of the years 1900 to 9000"
        )
    return known_zone(zone)


@dataclass(frozen=True)
class Period:
    """Tickets created from ``start`` on and before ``before``; None: without that bound.

    ``before`` is excluded: a day ends where the next begins.  Raises ``AnalyticsError``.
    """

    start: datetime | None = None
    before: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse a time without a zone, and a period that ends before it begins."""
        bounds = [aware(moment) for moment in (self.start, self.before) if moment is not None]
        if bounds != sorted(bounds):
            raise AnalyticsError(f"received {bounds[0]} to {bounds[1]}; expected the earlier first")

    @classmethod
    def of_days(cls, first: date, last: date, zone: str) -> Period:
        """The days *first* to *last*, both whole, as they are in *zone*."""
        local = checked(first, last, zone)
        return cls(*(datetime.combine(day, time(), local) for day in (first, last + DAY)))


EVER = Period()


def live(period: Period) -> list[ColumnElement[bool]]:
    """The WHERE of every report: a deleted ticket never counts."""
    found: list[ColumnElement[bool]] = [Ticket.deleted_at.is_(None)]
    if period.start is not None:
        found.append(Ticket.created_at >= period.start)
    if period.before is not None:
        found.append(Ticket.created_at < period.before)
    return found


def number(value: Any) -> ColumnElement[Any]:
    """*value* as a float; of counts PostgreSQL makes numeric: a Decimal, which is no JSON."""
    return cast(value, Double)


def hours(start: Any, end: Any) -> ColumnElement[Any]:
    """Hours from *start* to *end*; divided by a float, a float."""
    return func.extract("epoch", end - start) / 3600.0


def percentile(part: float, value: ColumnElement[Any]) -> ColumnElement[Any]:
    """What *part* (0 to 1) of all do not exceed; between two of them if need be."""
    return func.percentile_cont(part).within_group(value)


def spread(value: ColumnElement[Any]) -> dict[str, ColumnElement[Any]]:
    """What an average alone hides."""
    parts = {"median": 0.5, "p90": 0.9, "p99": 0.99}
    return {"avg": func.avg(value)} | {name: percentile(parts[name], value) for name in parts}


def each(values: type[TicketStatus | TicketPriority], name: str) -> FromClause:
    """A table of *values* in their order: columns ``value`` and ``place``."""
    listed = func.unnest(literal([value.value for value in values], ARRAY(Text)))
    return listed.table_valued("value", with_ordinality="place").render_derived(name=name)


Hours = float | None


class AssigneeStatistics(TypedDict):
    """One member of staff; both names are None for the tickets that nobody has."""

    assignee_id: int | None
    assignee: str | None
    ticket_count: int
    open_count: int
    avg_resolution_hours: Hours


class TicketStatistics(TypedDict):
    """The desk at one moment.  Hours are None where no ticket is resolved."""

    total: int
    status_counts: dict[str, int]
    priority_counts: dict[str, int]
    avg_resolution_hours: Hours
    median_resolution_hours: Hours
    p90_resolution_hours: Hours
    p99_resolution_hours: Hours
    assignee_stats: list[AssigneeStatistics]


def assignee_table(period: Period = EVER) -> Select[int | None, str | None, int, int, Hours]:
    """Rows of ``AssigneeStatistics``, most tickets first: active staff, whoever has some, nobody.

    Counted, then joined: an inner join loses who has no ticket, and tickets that nobody has.
    """
    # Keys begin at 1. 0 stands for nobody: a join finds no NULL.
    key = func.coalesce(Ticket.assignee_id, text("0"))
    counted = (
        select(
            key.label("id"),
            func.count().label("tickets"),
            func.count().filter(Ticket.resolved_at.is_(None)).label("open"),
            func.avg(hours(Ticket.created_at, Ticket.resolved_at)).label("hours"),
        )
        .where(*live(period))
        .group_by(key)
        .cte("counted")
    )
    staff = and_(User.is_staff, User.is_active)
    people = union_all(
        select(User.id, User.full_name).where(or_(staff, User.id.in_(select(counted.c.id)))),
        select(literal(0, BigInteger), literal(None, Text)),
    ).subquery("people")
    tickets = func.coalesce(counted.c.tickets, 0).label("ticket_count")
    return (
        select(
            func.nullif(people.c.id, 0).label("assignee_id"),
            people.c.full_name.label("assignee"),
            tickets,
            func.coalesce(counted.c.open, 0).label("open_count"),
            counted.c.hours.label("avg_resolution_hours"),
        )
        .outerjoin_from(people, counted, counted.c.id == people.c.id)
        .order_by(tickets.desc(), people.c.full_name, people.c.id)
    )


def ticket_statistics(period: Period = EVER) -> Select[TicketStatistics]:
    """``TicketStatistics`` as one JSON value: one statement sees one snapshot.

    ``FILTER`` counts every status, those without a ticket as 0.
    """

    def json(values: dict[str, Any]) -> Any:
        return func.json_build_object(*(part for pair in values.items() for part in pair))

    def counts(of: Any, values: type[TicketStatus | TicketPriority]) -> Any:
        return json({item.value: func.count().filter(of == item) for item in values})

    people = assignee_table(period).subquery("people")
    order = (people.c.ticket_count.desc(), people.c.assignee, people.c.assignee_id)
    rows = select(func.to_json(people.table_valued())).order_by(*order).scalar_subquery()
    taken = spread(hours(Ticket.created_at, Ticket.resolved_at))
    figures = {
        "total": func.count(),
        "status_counts": counts(Ticket.status, TicketStatus),
        "priority_counts": counts(Ticket.priority, TicketPriority),
        **{f"{name}_resolution_hours": figure for name, figure in taken.items()},
        "assignee_stats": func.array_to_json(func.array(rows)),
    }
    whole: Any = cast(json(figures), JSON)
    return select(whole).where(*live(period))


def get_ticket_statistics(session: Session, period: Period = EVER) -> TicketStatistics:
    """The figures of a dashboard, ready for ``json.dumps``; one statement, one row."""
    return session.scalars(ticket_statistics(period)).one()


async def async_get_ticket_statistics(
    session: AsyncSession, period: Period = EVER
) -> TicketStatistics:
    """The same for asyncio."""
    return (await session.scalars(ticket_statistics(period))).one()


def status_by_priority(period: Period = EVER) -> Select[str, str, int]:
    """``(status, priority, tickets)``: every pair, those without a ticket as 0.

    The conditions stand in ON: in WHERE they would drop the pairs that have none.
    """
    status, priority = each(TicketStatus, "status"), each(TicketPriority, "priority")
    pair = (status.c.value, priority.c.value)
    match = and_(Ticket.status == pair[0], Ticket.priority == pair[1], *live(period))
    return (
        select(*pair, func.count(Ticket.id).label("tickets"))
        .select_from(status.join(priority, true()).outerjoin(Ticket, match))
        .group_by(*pair, status.c.place, priority.c.place)
        .order_by(status.c.place, priority.c.place)
    )


def assignee_by_priority(period: Period = EVER) -> Select[int | None, str | None, int, int]:
    """``(assignee, priority, tickets, level)`` with both subtotals and the total, in one scan.

    Tell them by *level*: 0 a pair, 1 all priorities of one assignee, 2 one priority of all, 3 all.
    An assignee of None alone may be a subtotal, or the tickets that nobody has.
    """
    pair: tuple[Any, Any] = (Ticket.assignee_id, Ticket.priority)
    level = func.grouping(*pair).label("level")
    sets = (tuple_(*pair), tuple_(pair[0]), tuple_(pair[1]), tuple_())
    return (
        select(*pair, func.count().label("tickets"), level)
        .where(*live(period))
        .group_by(func.grouping_sets(*sets))
        .order_by(level, *pair)
    )


def first_response(period: Period = EVER) -> Select[int, int, Hours, Hours, Hours, Hours]:
    """``(answered, waiting, avg, median, p90, p99)``: hours to staff's first public comment.

    Those still waiting are in no average: show their number beside it.
    """
    answers = (
        select(Comment.ticket_id, Comment.created_at)
        .join(Comment.author)
        .where(Comment.is_internal.is_(False), User.is_staff)
        .subquery()
    )
    first = (
        select(Ticket.created_at, func.min(answers.c.created_at).label("answered_at"))
        .outerjoin(answers, answers.c.ticket_id == Ticket.id)
        .where(*live(period))
        .group_by(Ticket.id)
        .subquery()
    )
    taken = spread(hours(first.c.created_at, first.c.answered_at))
    answered = func.count(first.c.answered_at).label("answered")
    waiting = (func.count() - func.count(first.c.answered_at)).label("waiting")
    return select(answered, waiting, *(figure.label(name) for name, figure in taken.items()))


# --- Series ---------------------------------------------------------------------------------------


def wall_clock(day: date) -> ColumnElement[Any]:
    """Midnight of *day* as clocks on the wall show it, in no zone."""
    return literal(datetime.combine(day, time()), DateTime())


def calendar(first: date, last: date, step: str) -> FromClause:
    """A column ``day``: *first* to *last*, one for each *step* of the calendar.

    A series of timestamptz would count the days of the connection's own zone.
    """
    series = func.generate_series(wall_clock(first), wall_clock(last), text(f"interval '{step}'"))
    made = series.table_valued("at").render_derived()
    return select(cast(made.c.at, Date).label("day")).subquery()


def local_day(moment: Any, zone: str) -> ColumnElement[Any]:
    """The date of *moment* in *zone*.  For GROUP BY build it once: twice has two parameters."""
    return cast(func.timezone(zone, moment), Date)


def within(moment: Any, first: date, last: date, zone: str) -> ColumnElement[bool]:
    """Bounds for an index, a day too wide on either side; the local date cuts exactly."""
    start, before = (func.timezone(zone, wall_clock(day)) for day in (first - DAY, last + 2 * DAY))
    return and_(moment >= start, moment < before)


def daily_series(first: date, last: date, zone: str) -> Select[date, int, int, int, float]:
    """``(day, created, resolved, backlog, mean created of seven days)``, both ends included.

    A day without a ticket is a row of zeros.  The backlog is what was open when the day ended.
    At most 1,100 days; raises ``AnalyticsError``.
    """
    checked(first, last, zone)
    if (last - first).days >= DAYS_LIMIT:
        raise AnalyticsError(f"received {first} to {last}; expected at most {DAYS_LIMIT} days")
    since = first - 6 * DAY  # so that the first day has its whole week
    days = calendar(since, last, "1 day")

    def by_day(moment: Any) -> FromClause:
        day = local_day(moment, zone)
        counted = select(day.label("day"), func.count().label("tickets")).group_by(day)
        return counted.where(*live(EVER), within(moment, since, last, zone)).subquery()

    created, resolved = by_day(Ticket.created_at), by_day(Ticket.resolved_at)
    came, went = func.coalesce(created.c.tickets, 0), func.coalesce(resolved.c.tickets, 0)
    before = (
        func.count().filter(local_day(moment, zone) < since)
        for moment in (Ticket.created_at, Ticket.resolved_at)
    )
    opening = select(next(before) - next(before)).where(*live(EVER)).scalar_subquery()
    running = func.sum(came - went).over(order_by=days.c.day)
    series = (
        select(
            days.c.day,
            came.label("created"),
            went.label("resolved"),
            cast(opening + running, BigInteger).label("backlog"),
            number(func.avg(came).over(order_by=days.c.day, rows=(-6, 0))).label("week"),
        )
        .outerjoin_from(days, created, created.c.day == days.c.day)
        .outerjoin(resolved, resolved.c.day == days.c.day)
        .subquery()
    )
    # Outside: a window sees only the rows that its own WHERE leaves.
    return select(*series.c).where(series.c.day >= first).order_by(series.c.day)


def resolution_cohorts(first: date, last: date, zone: str) -> Select[date, int, int, int, float]:
    """``(month of creation, age, its tickets, resolved at that age, share resolved by then)``.

    For the months of *first* to *last*, at most 36; age 0 is the month of creation.  An age that
    lies behind *last* is no row.  Raises ``AnalyticsError``.
    """
    checked(first, last, zone)
    if (last.year - first.year) * 12 + last.month - first.month >= MONTHS_LIMIT:
        raise AnalyticsError(f"received {first} to {last}; expected at most {MONTHS_LIMIT} months")
    since = first.replace(day=1)
    cohorts, months = (calendar(since, last, "1 month") for _ in range(2))
    month, now = cohorts.c.day, months.c.day
    born, done = (
        cast(func.date_trunc("month", func.timezone(zone, moment)), Date)
        for moment in (Ticket.created_at, Ticket.resolved_at)
    )
    facts = (
        select(born.label("born"), done.label("done"), func.count().label("tickets"))
        .where(*live(EVER), within(Ticket.created_at, since, last + 31 * DAY, zone))
        .group_by(born, done)
        .cte()
    )
    total = func.coalesce(func.sum(facts.c.tickets), 0)
    size = select(cast(total, BigInteger)).where(facts.c.born == month).correlate(cohorts)
    resolved = func.coalesce(facts.c.tickets, 0)
    so_far = func.sum(resolved).over(partition_by=month, order_by=now)
    return (
        select(
            month.label("month"),
            (func.row_number().over(partition_by=month, order_by=now) - 1).label("age"),
            size.scalar_subquery().label("tickets"),
            resolved.label("resolved"),
            number(so_far / func.nullif(size.scalar_subquery(), 0)).label("share"),
        )
        .join_from(cohorts, months, now >= month)
        .outerjoin(facts, and_(facts.c.born == month, facts.c.done == now))
        .order_by(month, now)
    )


FUNNEL: dict[str, tuple[TicketStatus, ...]] = {
    "started": (TicketStatus.IN_PROGRESS, TicketStatus.WAITING_ON_CUSTOMER, *DONE),
    "resolved": DONE,
    "closed": (TicketStatus.CLOSED,),
}
"""Which statuses show that a ticket came so far: one that skips a stage has passed it."""


def funnel(period: Period = EVER) -> CompoundSelect[int, str, int, Hours]:
    """``(step, stage, tickets that came so far, median hours since creation)``."""
    firsts = (
        func.min(Change.changed_at).filter(Change.new_status.in_(statuses)).label(stage)
        for stage, statuses in FUNNEL.items()
    )
    reached = (
        select(Ticket.created_at.label("created"), *firsts)
        .outerjoin(Change, Change.ticket_id == Ticket.id)
        .where(*live(period))
        .group_by(Ticket.id)
        .cte("reached")
    )
    stages = [
        select(
            literal(step).label("step"),
            literal(stage).label("stage"),
            func.count(reached.c[stage]).label("tickets"),
            percentile(0.5, hours(reached.c.created, reached.c[stage])).label("median_hours"),
        )
        for step, stage in enumerate(("created", *FUNNEL))
    ]
    return union_all(*stages).order_by("step")


def time_in_status(until: datetime, period: Period = EVER) -> Select[str, int, float, Hours]:
    """``(status, stays, hours in all, median of a stay)``; a status without any is a row.

    A stay lasts until the next change, or until *until* unless the ticket is done: a closed one
    would stay for ever.  A return to a status is another stay.  Raises ``AnalyticsError``.
    """
    # The id decides between changes of one transaction, which have one time.
    following = func.lead(Change.changed_at).over(
        partition_by=Change.ticket_id, order_by=(Change.changed_at, Change.id)
    )
    stays = (
        select(Change.new_status, Change.changed_at, following.label("left_at"))
        .join(Change.ticket)
        .where(*live(period), Change.changed_at < aware(until))
        .subquery()
    )
    lasting = case((stays.c.new_status.not_in(DONE), until))
    spent = hours(stays.c.changed_at, func.coalesce(stays.c.left_at, lasting))
    statuses = each(TicketStatus, "statuses")
    return (
        select(
            statuses.c.value.label("status"),
            func.count(stays.c.changed_at).label("stays"),
            func.coalesce(func.sum(spent), 0.0).label("hours"),
            percentile(0.5, spent).label("median_hours"),
        )
        .outerjoin_from(statuses, stays, stays.c.new_status == statuses.c.value)
        .group_by(statuses.c.value, statuses.c.place)
        .order_by(statuses.c.place)
    )


SUMMARY = (
    text(
        "CREATE MATERIALIZED VIEW organization_summary AS "
        "SELECT organization_id, status, count(*) AS tickets, min(created_at) AS oldest "
        "FROM tickets WHERE deleted_at IS NULL GROUP BY organization_id, status"
    ),
    text(
        "CREATE UNIQUE INDEX uq_organization_summary "
        "ON organization_summary (organization_id, status)"
    ),
)
"""For a migration.  No ``now()`` in the view: each refresh would write every row anew."""

REFRESH = text("REFRESH MATERIALIZED VIEW CONCURRENTLY organization_summary")
"""Readers go on; two refreshes wait for each other.  Needs the unique index, and a filled view."""

# In no MetaData: create_all() would make a table of this name.
organization_summary = table(
    "organization_summary",
    *(column(name) for name in ("organization_id", "status", "tickets", "oldest")),
)


def refresh_summary(session: Session) -> None:
    """Bring the view up to date; others see it once the caller commits."""
    session.flush()  # 2.0 does not flush before text()
    session.execute(REFRESH)


async def async_refresh_summary(session: AsyncSession) -> None:
    """The same for asyncio."""
    await session.flush()
    await session.execute(REFRESH)


def demo(engine: Engine) -> None:
    """Six tickets around the night in which the clocks of Europe change."""
    with session_factory(engine).begin() as session:
        acme = Organization(name="Acme", slug="acme")
        ann, sam, kim = (
            User(email=f"{name}@x.example", full_name=name, password_hash="!", is_staff=staff)
            for name, staff in (("Ann", False), ("Sam", True), ("Kim", True))
        )
        session.add(kim)
        for n in range(6):
            came = datetime(2026, 3, 27, 9, tzinfo=UTC) + timedelta(hours=13 * n)
            ticket = Ticket(title=f"Ticket {n}", description="It fails.", organization=acme)
            ticket.creator, ticket.assignee, ticket.created_at = ann, sam if n % 2 else None, came
            ticket.comments = [Comment(author=sam, content="We look.", created_at=came + n * DAY)]
            ticket.status_history.add(Change(new_status=TicketStatus.OPEN, changed_at=came))
            if n % 3:
                done = came + timedelta(hours=5 * n)
                ticket.status, ticket.resolved_at = TicketStatus.RESOLVED, done
                ticket.status_history.add(Change(new_status=ticket.status, changed_at=done))
            session.add(ticket)
        session.flush()
        for statement in SUMMARY:
            session.execute(statement)
    with session_factory(engine)() as session:
        for name, value in get_ticket_statistics(session).items():
            print(f"{name}: {value}")
        for title, report in (
            ("first response", first_response()),
            ("by day", daily_series(date(2026, 3, 28), date(2026, 3, 30), "Europe/Berlin")),
            ("subtotals", assignee_by_priority()),
            ("funnel", funnel()),
            ("time in status", time_in_status(datetime(2026, 4, 1, tzinfo=UTC))),
            ("kept", select(organization_summary)),
        ):
            print(f"{title}:", *(f"\n  {tuple(row)}" for row in session.execute(report)))
