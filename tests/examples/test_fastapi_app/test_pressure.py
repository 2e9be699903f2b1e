"""More requests than connections, clients that go away, a server that is stopped."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import struct
import time
from collections import Counter
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from examples.database import PoolSettings
from examples.fastapi_app.app import Settings, create_app
from examples.testing_patterns.plugin import ASYNC_DRIVERS
from tests.examples.test_fastapi_app.served import ANN, NEW, SAM, SECRET, Served, served
from tests.examples.test_fastapi_app.test_answers import problem
from tests.waiting import DEADLINE, until

LEAVING = int(os.environ.get("PROVE_LEAVING_CLIENTS", "50"))
ROWS = 20


def settings_of(url: str, **pool: Any) -> Settings:
    """Five connections, and not one more."""
    return Settings(
        database_url=url,
        cursor_secret=SECRET,
        pool=PoolSettings(size=5, max_overflow=0, **pool),
    )


async def at_once(url: str, count: int) -> list[httpx.Response]:
    """So many requests to resolve ticket 1, all at the same time."""
    async with httpx.AsyncClient(
        base_url=url, timeout=DEADLINE, limits=httpx.Limits(max_connections=None)
    ) as client:
        sent = (client.post("/tickets/1/resolve", headers=SAM) for _ in range(count))
        return await asyncio.gather(*sent)


@pytest.mark.once
def test_a_hundred_requests_share_five_connections(desk_url: str) -> None:
    with served(create_app(settings_of(desk_url, timeout=DEADLINE)), desk_url) as desk:
        desk.make()

        async def crowd() -> list[httpx.Response]:
            sent = asyncio.create_task(at_once(desk.url, 100))
            await asyncio.to_thread(until, lambda: desk.waiting() == 5, "five wait for the lock")
            rival.rollback()
            return await sent

        with desk.admin.connect() as rival:
            rival.execute(text("SELECT FROM tickets FOR UPDATE"))
            answers = asyncio.run(crowd())
        assert Counter(answer.status_code for answer in answers) == {200: 100}
        assert len({answer.text for answer in answers}) == 1
        desk.assert_clean()
        assert desk.pool("size") == 5
        assert desk.pool("checkedin") == 5
        assert desk.count("ticket_status_history") == 2


@pytest.mark.once
def test_who_gets_no_connection_is_told_to_come_again(desk_url: str) -> None:
    with served(create_app(settings_of(desk_url, timeout=0.05)), desk_url) as desk:
        desk.make()

        async def crowd() -> tuple[list[httpx.Response], list[httpx.Response]]:
            first = asyncio.create_task(at_once(desk.url, 5))
            await asyncio.to_thread(until, lambda: desk.waiting() == 5, "five wait for the lock")
            rest = await at_once(desk.url, 95)
            rival.rollback()
            return await first, rest

        with desk.admin.connect() as rival:
            rival.execute(text("SELECT FROM tickets FOR UPDATE"))
            first, rest = asyncio.run(crowd())
        assert [answer.status_code for answer in first] == [200] * 5
        for answer in rest:
            assert "cannot be reached" in problem(answer, 503)["message"]
            assert answer.headers["Retry-After"] == "1"
        desk.assert_clean()
        assert desk.pool("checkedin") == 5
        assert desk.client.get("/tickets/1").status_code == 200


# --- Clients that go away -------------------------------------------------------------------------


def request_of(method: str, path: str, body: Any = None, **headers: str) -> bytes:
    """The bytes of a request."""
    content = json.dumps(body).encode() if body is not None else b""
    lines = [f"{method} {path} HTTP/1.1", "Host: desk", f"Content-Length: {len(content)}"]
    lines += ["Content-Type: application/json"] if content else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def leave(desk: Served, request: bytes, seconds: float, *, reset: bool) -> None:
    """Send *request*, and be gone after *seconds* without reading the answer."""
    port = int(desk.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(request)
        time.sleep(seconds)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def some_request(number: int, chance: random.Random) -> bytes:
    """One of all kinds, an import in half of the cases."""
    rows = [NEW | {"title": f"import {number}"} for _ in range(ROWS)]
    kinds = [
        request_of("POST", "/tickets", NEW, X_Actor_Id="1"),
        request_of("PATCH", "/tickets/1", {"title": "x"}, X_Actor_Id="2", If_Match='"1"'),
        request_of("POST", "/tickets/1/comments", {"content": "x"}, X_Actor_Id="2"),
        request_of("POST", "/tickets/1/tags", {"names": ["a", f"{number}"]}, X_Actor_Id="2"),
        request_of("PUT", "/tickets/1/assignee", {"assignee_id": 2}, X_Actor_Id="2"),
        request_of("GET", "/tickets?q=import", X_Actor_Id="1"),
        request_of("GET", "/statistics", X_Actor_Id="1"),
    ]
    imports = [request_of("POST", "/tickets/import", rows, X_Actor_Id="1")] * len(kinds)
    chosen = chance.choice(kinds + imports)
    # Every fifth is not even sent whole.
    return chosen[: chance.randrange(len(chosen))] if number % 5 == 0 else chosen


def assert_whole(desk: Served) -> None:
    """No half of anything: a ticket with its history and its trail, an import with all its rows."""
    halves = (
        "SELECT title FROM tickets WHERE title LIKE 'import%' GROUP BY title HAVING count(*) <>"
    )
    assert desk.sql(f"{halves} {ROWS}") == []
    for without in (
        "SELECT id FROM tickets EXCEPT SELECT ticket_id FROM ticket_status_history",
        "SELECT id FROM tickets EXCEPT "
        "SELECT record_id FROM audit_log WHERE table_name = 'tickets' AND action = 'INSERT'",
        "SELECT record_id FROM audit_log WHERE table_name = 'tickets' EXCEPT "
        "SELECT id FROM tickets",
        "SELECT id FROM comments EXCEPT "
        "SELECT record_id FROM audit_log WHERE table_name = 'comments'",
    ):
        assert desk.sql(without) == []


@pytest.mark.parametrize("driver", ASYNC_DRIVERS)
def test_clients_that_go_away_at_any_moment(
    desk_url: str, driver: Any, record_property: Any
) -> None:
    settings = Settings(
        database_url=desk_url,
        cursor_secret=SECRET,
        driver=driver,
        pool=PoolSettings(size=5, max_overflow=0, timeout=DEADLINE),
    )
    with served(create_app(settings), desk_url) as desk:
        desk.make()
        chance = random.Random(random.getrandbits(32))  # noqa: S311
        for number in range(LEAVING):
            seconds = chance.uniform(0, 0.03)
            leave(desk, some_request(number, chance), seconds, reset=chance.random() < 0.5)
        record_property("clients", LEAVING)
        desk.assert_clean()
        assert_whole(desk)
        assert desk.count("tickets") > 1, "some requests came so far"
        # And it serves on, with the whole pool.
        desk.make(title="after")
        assert [answer.status_code for answer in asyncio.run(at_once(desk.url, 20))] == [200] * 20


def test_a_client_that_left_while_its_request_waits(desk: Served) -> None:
    desk.make()
    with desk.admin.connect() as rival:
        rival.execute(text("SELECT FROM tickets FOR UPDATE"))
        request = request_of("POST", "/tickets/1/resolve", X_Actor_Id="2")
        leave(desk, request, 0, reset=False)
        until(lambda: desk.waiting() == 1, "the request waits for the lock")
        desk.client.close()
        state = desk.server.server_state
        until(lambda: not state.connections, "the server knows that the client is gone")
        assert desk.pool("checkedout") == 1
        rival.rollback()
    # Nobody reads the answer; the work is done all the same, and whole.
    desk.assert_clean()
    assert desk.sql("SELECT status FROM tickets") == ["resolved"]
    assert desk.count("ticket_status_history") == 2


@pytest.mark.parametrize("driver", ASYNC_DRIVERS)
def test_a_server_that_is_stopped_rolls_back(desk_url: str, driver: Any) -> None:
    settings = Settings(database_url=desk_url, cursor_secret=SECRET, driver=driver)
    with served(create_app(settings), desk_url, patience=1) as desk:
        desk.make()
        with desk.admin.connect() as rival:
            rival.execute(text("SELECT FROM tickets FOR UPDATE"))
            leave(desk, request_of("POST", "/tickets/1/resolve", X_Actor_Id="2"), 0, reset=False)
            until(lambda: desk.waiting() == 1, "the request waits for the lock")
            # SIGTERM does no more: the request gets its second, and is cancelled.
            desk.client.close()
            desk.server.should_exit = True
            until(lambda: not desk.thread.is_alive(), "the server has ended")
            rival.rollback()
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        left = f"SELECT pid FROM pg_stat_activity WHERE {others}"
        # A backend that waits for a lock learns only afterwards that its client is gone.
        until(lambda: desk.sql(left) == [], "all its connections are gone")
        assert desk.sql("SELECT status FROM tickets") == ["open"]
        assert desk.count("ticket_status_history") == 1


def test_two_who_tag_in_opposite_order(desk: Served) -> None:
    desk.make()
    desk.make()
    names = [f"tag {n}" for n in range(20)]

    async def both() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=desk.url, timeout=DEADLINE) as client:
            orders = (names, names[::-1])
            return await asyncio.gather(
                *(
                    client.post(f"/tickets/{n % 2 + 1}/tags", json={"names": order}, headers=ANN)
                    for n, order in enumerate(orders * 5)
                )
            )

    assert [answer.status_code for answer in asyncio.run(both())] == [200] * 10
    assert (desk.count("tags"), desk.count("ticket_tags")) == (20, 40)
