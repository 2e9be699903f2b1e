"""A ticket is given to somebody who leaves at the same moment."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from examples.data_curation.leavers import reassign_tickets
from examples.models import User
from tests.examples.test_fastapi_app.served import SAM, Served
from tests.examples.test_fastapi_app.test_answers import problem
from tests.waiting import DEADLINE, in_thread, patient_engine, until

LEAVER, COLLEAGUE = 2, 3
STRANDED = "SELECT tickets.id FROM tickets JOIN users ON users.id = assignee_id WHERE NOT is_active"


@pytest.fixture
def office(desk: Served, desk_url: str) -> Iterator[Engine]:
    """Where the leaver's tickets are handed over, with one of Ann's to be given to somebody."""
    desk.make()
    desk.sql(
        "INSERT INTO users (email, full_name, password_hash, is_staff) "
        "VALUES ('eva@desk.example', 'Eva', '!', true)"
    )
    assert desk.sql("SELECT max(id) FROM users") == [COLLEAGUE]
    with patient_engine(desk_url) as engine:
        yield engine


def leave(session: Session) -> dict[int, int]:
    """Hand over what the leaver has, and let him go."""
    given = reassign_tickets(session, LEAVER, [COLLEAGUE])
    session.get_one(User, LEAVER).is_active = False
    session.flush()
    return given


def assign(desk: Served, pool: ThreadPoolExecutor) -> Future[httpx.Response]:
    """Start to give ticket 1 to the leaver; returns once the request waits for a lock."""
    answer = pool.submit(
        desk.client.put, "/tickets/1/assignee", json={"assignee_id": LEAVER}, headers=SAM
    )
    until(lambda: desk.waiting() == 1 or answer.done(), "the request waits for a lock")
    return answer


@pytest.mark.concurrent
def test_who_is_given_a_ticket_hands_it_over_when_he_leaves(desk: Served, office: Engine) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        Session(office) as leaving,
        desk.admin.connect() as rival,
    ):
        rival.execute(text("SELECT FROM tickets FOR UPDATE"))
        answer = assign(desk, pool)
        given = in_thread(desk.admin, leaving, lambda: leave(leaving))
        rival.rollback()
        assert answer.result(DEADLINE).json()["assignee_id"] == LEAVER
        assert given.result(DEADLINE) == {1: COLLEAGUE}
        leaving.commit()
    assert desk.sql(STRANDED) == []
    desk.assert_clean()


@pytest.mark.concurrent
def test_who_has_left_meanwhile_is_given_nothing(desk: Served, office: Engine) -> None:
    with ThreadPoolExecutor(1) as pool, Session(office) as leaving:
        assert leave(leaving) == {}
        answer = assign(desk, pool)
        leaving.commit()
        assert problem(answer.result(DEADLINE), 422)["fields"] == ["assignee_id"]
    assert desk.sql(STRANDED) == []
    desk.assert_clean()
