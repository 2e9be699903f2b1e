"""When an e-mail goes out, how often, and when it must not."""

from __future__ import annotations

import threading
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from evals.workspace import Workspace, must_raise

WAIT = 20.0


def desk(work: Workspace, count: int = 3) -> tuple[Any, Any, Engine, list[int]]:
    """The two modules, an engine, and the keys of *count* open tickets of as many customers."""
    notify, models = work.module("notify"), work.module("models")
    # Whoever waits for another's lock is told so, instead of hanging.
    engine = work.engine(driver="psycopg", connect_args={"options": "-c lock_timeout=5000"})
    models.Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        keys = []
        for number in range(count):
            customer = models.Customer(email=f"c{number}@example.com")
            ticket = models.Ticket(title=f"Ticket {number}", customer=customer)
            session.add(ticket)
            session.flush()
            keys.append(int(ticket.id))
    return notify, models, engine, keys


def resolve(engine: Engine, notify: Any, *keys: int) -> None:
    """Resolve tickets, one transaction each."""
    for key in keys:
        with Session(engine) as session, session.begin():
            notify.resolve_ticket(session, key)


def delivered(engine: Engine, notify: Any) -> list[int]:
    """The tickets whose messages a call of deliver() sends."""
    sent: list[dict[str, Any]] = []
    count = notify.deliver(engine, sent.append)
    assert count == len(sent), f"deliver() returned {count} and sent {len(sent)}"
    return sorted(message["ticket_id"] for message in sent)


def check_sent_once(work: Workspace) -> None:
    """Each resolved ticket is sent to its customer once, after the commit, and none the next time"""  # noqa: E501
    notify, _models, engine, keys = desk(work)
    sent: list[dict[str, Any]] = []
    with Session(engine) as session:
        notify.resolve_ticket(session, keys[0])
        notify.resolve_ticket(session, keys[1])
        session.flush()
        assert notify.deliver(engine, sent.append) == 0, f"sent before the commit: {sent}"
        session.commit()
    assert notify.deliver(engine, sent.append) == 2, f"sent: {sent}"
    assert sorted((one["ticket_id"], one["to"]) for one in sent) == [
        (keys[0], "c0@example.com"),
        (keys[1], "c1@example.com"),
    ], f"sent: {sent}"
    assert delivered(engine, notify) == [], "sent twice"
    rows = work.rows("SELECT status, resolved_at FROM tickets ORDER BY id")
    assert [row[0] for row in rows] == ["resolved", "resolved", "open"], rows
    assert rows[0][1] is not None, "resolved_at is NULL"


def check_commit_fails(work: Workspace) -> None:
    """Nothing is sent where the transaction is rolled back, or where its commit itself fails"""
    notify, models, engine, keys = desk(work)
    with Session(engine) as session:
        notify.resolve_ticket(session, keys[0])
        session.rollback()
    with Session(engine) as session, must_raise(IntegrityError):
        notify.resolve_ticket(session, keys[1])
        session.get_one(models.Ticket, keys[1]).duplicate_of_id = 10**6  # a deferred foreign key
        session.commit()
    assert delivered(engine, notify) == [], "sent although nothing was committed"
    resolve(engine, notify, keys[2])
    assert delivered(engine, notify) == [keys[2]]


def check_savepoint(work: Workspace) -> None:
    """Nothing is sent for what was rolled back to a savepoint, the rest is"""
    notify, _models, engine, keys = desk(work)
    with Session(engine) as session:
        notify.resolve_ticket(session, keys[0])
        savepoint = session.begin_nested()
        notify.resolve_ticket(session, keys[1])
        session.flush()
        savepoint.rollback()
        session.commit()
    sent = delivered(engine, notify)
    assert sent == [keys[0]], f"sent for {sent}, committed {keys[0]}"


def check_failing_send(work: Workspace) -> None:
    """A send that raises is tried again by the next call and does not hold up the others"""
    notify, _models, engine, keys = desk(work)
    resolve(engine, notify, *keys)
    sent: list[int] = []

    def send(message: dict[str, Any]) -> None:
        if message["ticket_id"] == keys[0]:
            raise RuntimeError("the mail server refuses")
        sent.append(message["ticket_id"])

    count = notify.deliver(engine, send)
    assert (count, sorted(sent)) == (2, keys[1:]), f"returned {count}, sent {sent}"
    again = delivered(engine, notify)
    assert again == [keys[0]], f"the next call sent {again}, expected {[keys[0]]}"


def check_workers(work: Workspace) -> None:
    """While one worker is sending, another sends the rest without waiting, and none goes out twice"""  # noqa: E501
    notify, _models, engine, keys = desk(work, count=4)
    resolve(engine, notify, *keys)
    first: list[int] = []
    second: list[int] = []
    failures: list[BaseException] = []
    sending, release = threading.Event(), threading.Event()

    def slow(message: dict[str, Any]) -> None:
        first.append(message["ticket_id"])
        sending.set()
        assert release.wait(WAIT)

    def work_slowly() -> None:
        try:
            notify.deliver(engine, slow, limit=1)
        except BaseException as error:
            failures.append(error)
        finally:
            sending.set()

    worker = threading.Thread(target=work_slowly, daemon=True)
    worker.start()
    assert sending.wait(WAIT), "the first worker did not send"
    try:
        notify.deliver(engine, lambda message: second.append(message["ticket_id"]))
    finally:
        release.set()
        worker.join(WAIT)
    assert not failures, f"the first worker failed: {failures}"
    assert sorted(second) == sorted(set(keys) - set(first)), (
        f"the first worker was sending {first}, meanwhile the second sent {second} of {keys}"
    )
    assert delivered(engine, notify) == [], "sent again afterwards"


def check_resolved_meanwhile(work: Workspace) -> None:
    """A ticket resolved again, by a session that still holds it as open too, is sent only once"""
    notify, models, engine, keys = desk(work)
    with Session(engine) as session:
        ticket = session.get_one(models.Ticket, keys[0])
        assert ticket.status == "open"
        resolve(engine, notify, keys[0])
        notify.resolve_ticket(session, keys[0])
        session.commit()
    resolve(engine, notify, keys[0])
    sent = delivered(engine, notify)
    assert sent == [keys[0]], f"sent for {sent}"


def check_limit(work: Workspace) -> None:
    """deliver() sends at most limit, and a failing oldest message does not starve the others"""
    notify, _models, engine, keys = desk(work, count=5)
    resolve(engine, notify, *keys)
    sent: list[int] = []

    def send(message: dict[str, Any]) -> None:
        if message["ticket_id"] == keys[0]:
            raise RuntimeError("the mail server refuses")
        sent.append(message["ticket_id"])

    counts = [notify.deliver(engine, send, limit=2) for _ in range(5)]
    assert max(counts) <= 2, f"sent per call: {counts}"
    assert sorted(sent) == keys[1:], f"sent after five calls: {sent} of {keys[1:]}"
