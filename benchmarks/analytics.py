"""A dashboard's figures: computed by PostgreSQL in one statement, in four, or in Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import Engine, case, func, select
from sqlalchemy.orm import Session

from examples.analytics import get_ticket_statistics, ticket_statistics
from examples.models import Ticket, User

from .databases import desk, driver_url
from .harness import Case

TITLE = "Tickets by status, by priority and by assignee, with their mean time"
BASELINE = "one statement"
QUICK, FULL = 5_000, 100_000
PEERS = ()
Counts = dict[str, int]
LIVE = Ticket.deleted_at.is_(None)
HOURS = func.extract("epoch", Ticket.resolved_at - Ticket.created_at) / 3600


@contextmanager
def cases(server_url: str, size: int) -> Iterator[list[Case]]:
    """Each way computes all figures; the answer that is compared is the tickets by status."""
    with desk(server_url, size, threads=False) as engine:
        ways = {
            "one statement": one_statement(engine),
            "four statements": four_statements(engine),
            "five columns of every row, counted in Python": columns_in_python(engine),
            "every object, counted in Python": objects_in_python(engine),
        }
        with psycopg.connect(driver_url(engine)) as driver:
            ways["psycopg alone, the one statement"] = by_driver(engine, driver)
            yield [Case(name, run, size, "by status") for name, run in ways.items()]


def one_statement(engine: Engine) -> Callable[[], Counts]:
    """The kit's way."""

    def run() -> Counts:
        with Session(engine) as session:
            return without_zeros(get_ticket_statistics(session)["status_counts"])

    return run


def four_statements(engine: Engine) -> Callable[[], Counts]:
    """A statement a figure: four snapshots."""
    by_status = select(Ticket.status, func.count()).where(LIVE).group_by(Ticket.status)
    by_priority = select(Ticket.priority, func.count()).where(LIVE).group_by(Ticket.priority)
    mean = select(func.avg(HOURS)).where(LIVE)
    resolved = case((Ticket.resolved_at.is_not(None), HOURS))
    by_assignee = (
        select(User.id, User.full_name, func.count(), func.avg(resolved))
        .select_from(Ticket)
        .outerjoin(Ticket.assignee)
        .where(LIVE)
        .group_by(User.id, User.full_name)
    )

    def run() -> Counts:
        with Session(engine) as session:
            found = {status.value: count for status, count in session.execute(by_status)}
            for statement in (by_priority, mean, by_assignee):
                session.execute(statement).all()
            return found

    return run


def columns_in_python(engine: Engine) -> Callable[[], Counts]:
    """Values, no objects: the network and Python pay."""
    columns = select(
        Ticket.status, Ticket.priority, Ticket.assignee_id, Ticket.created_at, Ticket.resolved_at
    ).where(LIVE)

    def run() -> Counts:
        with Session(engine) as session:
            rows = session.execute(columns).all()
            return counted([row[0].value for row in rows], [row[1].value for row in rows])

    return run


def objects_in_python(engine: Engine) -> Callable[[], Counts]:
    """What a service layer does that has a repository and nothing else."""

    def run() -> Counts:
        with Session(engine) as session:
            tickets = session.scalars(select(Ticket).where(LIVE)).all()
            return counted(
                [ticket.status.value for ticket in tickets],
                [ticket.priority.value for ticket in tickets],
            )

    return run


def by_driver(engine: Engine, connection: psycopg.Connection) -> Callable[[], Counts]:
    """The limit: the same SQL without SQLAlchemy."""
    compiled = ticket_statistics().compile(
        engine, compile_kwargs={"literal_binds": True, "render_postcompile": True}
    )
    sql = str(compiled).replace("%%", "%").encode()

    def run() -> Counts:
        (found,) = connection.execute(sql).fetchall()[0]
        connection.rollback()
        return without_zeros(found["status_counts"])

    return run


def counted(statuses: list[str], priorities: list[str]) -> Counts:
    """The tickets by status; those by priority are counted too."""
    Counter(priorities)
    return dict(Counter(statuses))


def without_zeros(counts: dict[str, int]) -> Counts:
    """What a GROUP BY would give."""
    return {name: count for name, count in counts.items() if count}
