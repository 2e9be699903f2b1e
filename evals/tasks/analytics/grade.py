"""Are the figures those of the zone's days, each event once?"""

from __future__ import annotations

from datetime import date, timedelta
from types import ModuleType
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from evals.workspace import Workspace, must_raise

BERLIN = "Europe/Berlin"
MARCH = (date(2026, 3, 1), date(2026, 3, 31))


def desk(work: Workspace) -> ModuleType:
    """The report; the tables, empty."""
    report = work.module("report")
    work.module("models").Base.metadata.create_all(work.engine())
    return report


def ticket(
    work: Workspace,
    opened: str,
    solved: str | None = None,
    *,
    team: str | None = "one",
    comments: int = 0,
    deleted: bool = False,
) -> None:
    """Insert a ticket with so many comments."""
    key = work.value(
        "INSERT INTO tickets (team, opened_at, solved_at, deleted_at)"
        " VALUES (:team, CAST(:opened AS timestamptz), CAST(:solved AS timestamptz),"
        " CASE WHEN :deleted THEN now() END) RETURNING id",
        team=team,
        opened=opened,
        solved=solved,
        deleted=deleted,
    )
    work.rows(
        "INSERT INTO comments (ticket_id, body) SELECT :key, 'text' FROM generate_series(1, :many)",
        key=key,
        many=comments,
    )


def days(
    work: Workspace, first: date, last: date, zone: str = BERLIN, connection: str = "UTC"
) -> list[tuple[date, int, int]]:
    """What per_day tells, the connection being in another zone."""
    with Session(work.engine()) as session:
        session.execute(text(f"SET LOCAL TIME ZONE '{connection}'"))
        return [
            (row[0], row[1], row[2])
            for row in work.module("report").per_day(session, first, last, zone)
        ]


def teams(work: Workspace) -> dict[str | None, dict[str, Any]]:
    """What per_team tells of March."""
    with Session(work.engine()) as session:
        told: dict[str | None, dict[str, Any]] = work.module("report").per_team(
            session, *MARCH, BERLIN
        )
        return told


def check_every_day(work: Workspace) -> None:
    """Each day from first to last is there once, in order, also one without tickets"""
    desk(work)
    ticket(work, "2026-03-03T12:00:00Z", "2026-03-05T12:00:00Z")
    ticket(work, "2026-02-28T12:00:00Z")
    ticket(work, "2026-04-01T12:00:00Z")
    told = days(work, *MARCH)
    every = [MARCH[0] + timedelta(days=number) for number in range(31)]
    assert [row[0] for row in told] == every, f"days {[str(row[0]) for row in told]}"
    busy = [row for row in told if row[1:] != (0, 0)]
    assert busy == [(date(2026, 3, 3), 1, 0), (date(2026, 3, 5), 0, 1)], f"told {busy}"
    one = days(work, date(2026, 3, 3), date(2026, 3, 3))
    assert one == [(date(2026, 3, 3), 1, 0)], f"of one day: {one}"


def check_zone(work: Workspace) -> None:
    """A ticket of 23:30 UTC counts on the next day in Berlin, in whatever zone the connection is"""
    desk(work)
    ticket(work, "2026-03-10T23:30:00Z", "2026-03-31T22:30:00Z")
    for connection in ("UTC", "America/New_York", "Asia/Tokyo"):
        told = days(work, date(2026, 3, 10), date(2026, 3, 11), connection=connection)
        expected = [(date(2026, 3, 10), 0, 0), (date(2026, 3, 11), 1, 0)]
        assert told == expected, f"connection in {connection}: {told}"
        april = days(work, date(2026, 4, 1), date(2026, 4, 1), connection=connection)
        assert april == [(date(2026, 4, 1), 0, 1)], f"connection in {connection}: {april}"
    there = days(work, date(2026, 3, 10), date(2026, 3, 10), zone="America/New_York")
    assert there == [(date(2026, 3, 10), 1, 0)], f"in New York: {there}"


def check_clock_changes(work: Workspace) -> None:
    """The days on which the clocks change hold their 23 and 25 hours"""
    desk(work)
    # A ticket each hour of UTC, around both changes.
    for start in ("2026-03-28T00:30:00Z", "2026-10-24T00:30:00Z"):
        work.rows(
            "INSERT INTO tickets (opened_at)"
            " SELECT CAST(:start AS timestamptz) + n * interval '1 hour'"
            " FROM generate_series(0, 71) n",
            start=start,
        )
    for day, hours in ((date(2026, 3, 29), 23), (date(2026, 10, 25), 25)):
        told = days(work, day, day)
        assert told == [(day, hours, 0)], f"told {told}, expected {hours}"


def check_two_events(work: Workspace) -> None:
    """Opened and solved are counted each on its own day, and do not multiply each other"""
    desk(work)
    for _ in range(3):
        ticket(work, "2026-03-10T10:00:00Z", "2026-03-12T10:00:00Z")
    for _ in range(2):
        ticket(work, "2026-02-01T10:00:00Z", "2026-03-10T10:00:00Z")
    told = days(work, date(2026, 3, 10), date(2026, 3, 12))
    expected = [(date(2026, 3, 10), 3, 2), (date(2026, 3, 11), 0, 0), (date(2026, 3, 12), 0, 3)]
    assert told == expected, f"told {told}"


def check_teams(work: Workspace) -> None:
    """Comments neither multiply a team's tickets nor shift its median; the team None is there"""
    desk(work)
    ticket(work, "2026-03-10T10:00:00Z", "2026-03-10T12:00:00Z", comments=9)
    ticket(work, "2026-03-11T10:00:00Z", "2026-03-11T20:00:00Z", comments=1)
    ticket(work, "2026-03-12T10:00:00Z", "2026-03-13T06:00:00Z")
    ticket(work, "2026-03-12T10:00:00Z", team=None, comments=2)
    ticket(work, "2026-04-12T10:00:00Z", team="later")
    told = teams(work)
    expected = {
        "one": {"tickets": 3, "comments": 10, "median_hours": 10.0},
        None: {"tickets": 1, "comments": 2, "median_hours": None},
    }
    assert told == expected, f"told {told}"


def check_median_and_deleted(work: Workspace) -> None:
    """median_hours is a float, None where nothing is solved; deleted tickets count nowhere"""
    desk(work)
    ticket(work, "2026-03-10T10:00:00Z", "2026-03-10T11:00:00Z")
    ticket(work, "2026-03-10T10:00:00Z", "2026-03-10T12:30:00Z")
    ticket(work, "2026-03-10T10:00:00Z", "2026-03-10T20:00:00Z", deleted=True, comments=4)
    ticket(work, "2026-03-10T10:00:00Z", team="two")
    told = teams(work)
    assert type(told["one"]["median_hours"]) is float, f"told {told}"
    assert abs(told["one"]["median_hours"] - 1.75) < 1e-9, f"told {told}"
    assert told["one"]["tickets"] == 2, f"told {told}"
    assert told["one"]["comments"] == 0, f"told {told}"
    assert told["two"]["median_hours"] is None, f"told {told}"
    day = days(work, date(2026, 3, 10), date(2026, 3, 10))
    assert day == [(date(2026, 3, 10), 3, 2)], f"told {day}"


def check_unknown_zone(work: Workspace) -> None:
    """A zone that does not exist is a ValueError, and the session can be used after it"""
    report = desk(work)
    ticket(work, "2026-03-10T10:00:00Z")
    with Session(work.engine()) as session:
        for function in (report.per_day, report.per_team):
            for zone in ("Mars/Olympus", "../../etc/passwd", ""):
                with must_raise(ValueError):
                    function(session, *MARCH, zone)
        assert session.scalar(text("SELECT count(*) FROM tickets")) == 1


def check_few_statements(work: Workspace) -> None:
    """A year takes no more than five statements"""
    report = desk(work)
    ticket(work, "2026-03-10T10:00:00Z", comments=3)
    engine = work.engine()
    year = (date(2026, 1, 1), date(2026, 12, 31), BERLIN)
    for function in (report.per_day, report.per_team):
        with Session(engine) as session, work.statements(engine) as seen:
            assert function(session, *year), "nothing told"
        assert seen.count <= 5, f"{function.__name__}: {seen}"
