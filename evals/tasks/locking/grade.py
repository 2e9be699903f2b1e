"""Who gets which ticket, what others can do meanwhile, and whether an hour is lost."""

from __future__ import annotations

import threading
import time
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from evals.workspace import Workspace, describe, must_raise

WAIT = 20.0
PRIORITIES = ("medium", "urgent", "low", "high", "urgent", "high")
IN_ORDER = ("urgent 1", "urgent 4", "high 3", "high 5", "medium 0", "low 2")


def desk(work: Workspace) -> tuple[Any, Any, Engine]:
    """The two modules and an engine: two organizations with ten hours, six tickets of the first."""
    dispatch, models = work.module("dispatch"), work.module("models")
    # Whoever waits for a lock is told so, instead of hanging.
    engine = work.engine(
        driver="psycopg", connect_args={"options": "-c lock_timeout=3000"}, pool_size=10
    )
    models.Base.metadata.create_all(engine)
    work.rows("INSERT INTO organizations (name, hours) VALUES ('one', 10), ('two', 10)")
    work.rows("INSERT INTO agents (name) VALUES ('ann'), ('bob')")
    for number, priority in enumerate(PRIORITIES):
        work.rows(
            "INSERT INTO tickets (title, priority, created_at, organization_id) VALUES"
            " (:title, :priority, timestamptz '2026-01-01' + :number * interval '1 h', 1)",
            title=f"{priority} {number}",
            priority=priority,
            number=number,
        )
    return dispatch, models, engine


def titles(tickets: Any) -> list[str]:
    """What a claim returned."""
    return [ticket.title for ticket in tickets]


def hours(work: Workspace) -> list[Decimal]:
    """What the organizations have."""
    return [row[0] for row in work.rows("SELECT hours FROM organizations ORDER BY id")]


def check_order(work: Workspace) -> None:
    """Tickets are claimed most urgent first, then oldest, until none is left"""
    dispatch, _models, engine = desk(work)
    found: list[str] = []
    for limit in (1, 2, 5, 1):
        with Session(engine) as session, session.begin():
            claimed = titles(dispatch.claim(session, 1, limit))
            assert len(claimed) <= limit, f"{claimed} for a limit of {limit}"
            # What is claimed together may come back in any order.
            found += sorted(claimed, key=IN_ORDER.index)
    assert found == list(IN_ORDER), f"claimed {found}"
    rows = work.rows("SELECT DISTINCT status, assignee_id FROM tickets")
    assert [tuple(row) for row in rows] == [("in_progress", 1)], f"the table holds {rows}"


def check_two_agents(work: Workspace) -> None:
    """Two agents claim at the same time, neither waits, each gets the next tickets, also of one customer"""  # noqa: E501
    dispatch, _models, engine = desk(work)
    with Session(engine) as first, Session(engine) as second, Session(engine) as third:
        try:
            one = titles(dispatch.claim(first, 1, 2))
            two = titles(dispatch.claim(second, 2, 2))
            three = titles(dispatch.claim(third, 2, 10))
        except DBAPIError as error:
            raise AssertionError(f"an agent had to wait: {describe(error)}") from error
        for session in (first, second, third):
            session.commit()
    assert [sorted(one), sorted(two), sorted(three)] == [
        sorted(IN_ORDER[:2]),
        sorted(IN_ORDER[2:4]),
        sorted(IN_ORDER[4:]),
    ], f"claimed {one}, {two}, {three}"


def check_rollback(work: Workspace) -> None:
    """What was claimed in a transaction that is rolled back is there for the next agent"""
    dispatch, _models, engine = desk(work)
    with Session(engine) as session:
        assert len(dispatch.claim(session, 1, 6)) == 6
        session.rollback()
    with Session(engine) as session, session.begin():
        found = titles(dispatch.claim(session, 2, 1))
    assert found == ["urgent 1"], f"claimed {found}"


def check_comments(work: Workspace) -> None:
    """A customer can comment on a ticket, and open another, while a claim is not yet committed"""
    dispatch, models, engine = desk(work)
    with Session(engine) as session:
        (ticket,) = dispatch.claim(session, 1)
        key = int(ticket.id)
        try:
            with Session(engine) as customer, customer.begin():
                customer.add(models.Comment(ticket_id=key, body="Any news?"))
                customer.add(models.Ticket(title="Another", organization_id=1))
        except DBAPIError as error:
            raise AssertionError(f"the customer had to wait: {describe(error)}") from error
        session.commit()
    assert work.value("SELECT count(*) FROM comments") == 1


def check_fresh(work: Workspace) -> None:
    """claim() decides by what the database holds, and returns it, whatever the session has loaded"""  # noqa: E501
    dispatch, models, engine = desk(work)
    with Session(engine) as session:
        known = session.scalars(select(models.Ticket).order_by(models.Ticket.id)).unique().all()
        with Session(engine) as other, other.begin():
            assert titles(dispatch.claim(other, 2, 2))
            other.execute(text("UPDATE tickets SET title = 'renamed' WHERE title = 'high 3'"))
        found = dispatch.claim(session, 1, 2)
        assert sorted(titles(found)) == ["high 5", "renamed"], f"claimed {titles(found)}"
        states = {(ticket.status, ticket.assignee_id) for ticket in found}
        assert states == {("in_progress", 1)}, f"returned as {states}"
        session.commit()
        assert known
    rows = work.rows("SELECT title, assignee_id FROM tickets WHERE assignee_id IS NOT NULL")
    assert sorted(tuple(row) for row in rows) == [
        ("high 5", 1),
        ("renamed", 1),
        ("urgent 1", 2),
        ("urgent 4", 2),
    ], f"the table holds {rows}"


def check_transfer(work: Workspace) -> None:
    """transfer() moves hours, and raises ValueError where there are not enough, changing nothing"""
    dispatch, _models, engine = desk(work)
    with Session(engine) as session, session.begin():
        dispatch.transfer(session, 1, 2, Decimal("2.50"))
    assert hours(work) == [Decimal("7.50"), Decimal("12.50")], hours(work)
    with Session(engine) as session:
        with must_raise(ValueError):
            dispatch.transfer(session, 1, 2, Decimal(8))
        session.commit()
    assert hours(work) == [Decimal("7.50"), Decimal("12.50")], hours(work)


def check_no_lost_update(work: Workspace) -> None:
    """transfer() sees what was committed since the session loaded the organizations: no hour is lost or made"""  # noqa: E501
    dispatch, models, engine = desk(work)
    with Session(engine) as session:
        known = session.scalars(select(models.Organization)).all()
        assert len(known) == 2
        with Session(engine) as other, other.begin():
            dispatch.transfer(other, 1, 2, Decimal(6))
        with must_raise(ValueError):
            dispatch.transfer(session, 1, 2, Decimal(6))
        session.rollback()
        assert len(session.scalars(select(models.Organization)).all()) == 2
        with Session(engine) as other, other.begin():
            dispatch.transfer(other, 2, 1, Decimal(1))
        dispatch.transfer(session, 1, 2, Decimal(2))
        session.commit()
    assert hours(work) == [Decimal(3), Decimal(17)], f"hours: {hours(work)}, expected 3 and 17"


def meet(work: Workspace, dispatch: Any, engine: Engine, *pairs: tuple[int, int]) -> None:
    """Begin a transfer for each of *pairs*, all held up at organization 1; then let them go."""
    failures: list[BaseException] = []

    def move(pair: tuple[int, int]) -> None:
        try:
            with Session(engine) as session, session.begin():
                dispatch.transfer(session, *pair, Decimal(1))
        except BaseException as error:
            failures.append(error)

    movers = [threading.Thread(target=move, args=(pair,), daemon=True) for pair in pairs]
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
    )
    with engine.connect() as holder:
        holder.execute(text("SELECT 1 FROM organizations WHERE id = 1 FOR UPDATE"))
        for number, mover in enumerate(movers, start=1):
            mover.start()
            end = time.monotonic() + WAIT / 2
            while work.value(waiting) < number and mover.is_alive() and time.monotonic() < end:
                time.sleep(0.05)
        holder.rollback()
    for mover in movers:
        mover.join(WAIT)
        assert not mover.is_alive(), f"a transfer still waits: {pairs}"
    assert not failures, f"a transfer failed: {describe(failures[0])}"


def check_no_deadlock(work: Workspace) -> None:
    """Of two transfers in opposite directions at the same time none ends as a deadlock"""
    dispatch, _models, engine = desk(work)
    engine.dispose()
    patient = work.engine(driver="psycopg", connect_args={"options": "-c lock_timeout=20000"})
    # The first to wait for organization 1 gets it; whether that deadlocks is a matter of who it is.
    meet(work, dispatch, patient, (1, 2), (2, 1))
    meet(work, dispatch, patient, (2, 1), (1, 2))
    assert hours(work) == [Decimal(10), Decimal(10)], f"hours: {hours(work)}, expected 10 and 10"
