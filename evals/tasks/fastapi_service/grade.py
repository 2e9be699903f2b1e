"""What the service answers, and what is stored by then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import fastapi  # noqa: F401 - once for all checks, which are forked; it takes a second

from evals.workspace import Workspace

Answer = tuple[int, Any]
OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


class Client:
    """Speaks ASGI to an application, so that we see the moment at which it answers."""

    def __init__(self, app: Any, on_start: Callable[[int], None] | None = None) -> None:
        self.app, self.on_start = app, on_start

    async def send(self, method: str, path: str, body: Any = None, **query: Any) -> Answer:
        """One request: the status and the parsed body; 500 where the application raises."""
        content = b"" if body is None else json.dumps(body).encode()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": urlencode(query).encode(),
            "headers": [(b"host", b"desk.test"), (b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("desk.test", 80),
            "state": {},
        }
        status, parts, asked = 0, [b""], False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if asked:
                await asyncio.sleep(30)
            asked = True
            return {"type": "http.request", "body": content, "more_body": False}

        async def answer(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                if self.on_start is not None:
                    self.on_start(status)
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        try:
            await self.app(scope, receive, answer)
        except Exception:
            # A 500 has been answered; an error after the answer is not seen by the client.
            status = status or 500
        text = b"".join(parts).decode()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text


async def within(app: Any, talk: Callable[[], Awaitable[None]]) -> None:
    """Run *talk* between the start-up and the shut-down of *app*."""
    incoming: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    outgoing: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    life = asyncio.create_task(app(scope, incoming.get, outgoing.put))
    await incoming.put({"type": "lifespan.startup"})
    started = await asyncio.wait_for(outgoing.get(), 20)
    assert started["type"] == "lifespan.startup.complete", started
    try:
        await talk()
    finally:
        await incoming.put({"type": "lifespan.shutdown"})
        await asyncio.wait_for(outgoing.get(), 20)
        await asyncio.wait_for(life, 20)


def desk(work: Workspace) -> Any:
    """The application over one customer."""
    app, models = work.module("app"), work.module("models")
    models.Base.metadata.create_all(work.engine())
    work.rows("INSERT INTO customers (name) VALUES ('ann')")
    return app.create_app(work.url("asyncpg"))


def ticket(number: str = "T-1", title: str = "Printer", customer_id: int = 1) -> dict[str, Any]:
    """A request's body."""
    return {"number": number, "title": title, "customer_id": customer_id}


def check_committed(work: Workspace) -> None:
    """When a POST answers 201 the ticket is in the database already, and GET gives it back"""
    app = desk(work)
    seen: list[tuple[int, int]] = []

    def look(status: int) -> None:
        seen.append((status, work.value("SELECT count(*) FROM tickets")))

    async def talk() -> None:
        status, body = await Client(app, look).send("POST", "/tickets", ticket())
        assert status == 201, (status, body)
        assert seen == [(201, 1)], f"(status, committed tickets) when it answered: {seen}"
        assert (body["number"], body["customer"]) == ("T-1", {"id": 1, "name": "ann"}), body
        assert await Client(app).send("GET", f"/tickets/{body['id']}") == (200, body)
        status, _ = await Client(app).send("GET", f"/tickets/{body['id'] + 1}")
        assert status == 404, f"GET of an unknown ticket: {status}"

    work.run(within(app, talk))


def check_conflict(work: Workspace) -> None:
    """A number that is taken is a 409, though PostgreSQL says so at COMMIT only, and its text shows no SQL"""  # noqa: E501
    app = desk(work)

    async def talk() -> None:
        first = await Client(app).send("POST", "/tickets", ticket())
        status, body = await Client(app).send("POST", "/tickets", ticket())
        assert first[0] == 201, first
        assert status == 409, f"the second answered {status}: {body}"
        text = json.dumps(body)
        assert "INSERT" not in text, text
        assert "uq_tickets" not in text, text

    work.run(within(app, talk))
    assert work.value("SELECT count(*) FROM tickets") == 1


def check_unprocessable(work: Workspace) -> None:
    """What cannot be stored is a 422: an unknown customer, too long, a NUL character, a key out of range"""  # noqa: E501
    app = desk(work)
    bodies = (
        ticket(customer_id=99),
        ticket(customer_id=2**31),
        ticket(customer_id=2**70),
        ticket(title="x" * 201),
        ticket(number="x" * 21),
        ticket(title="a\0b"),
        {"number": "T-1", "customer_id": 1},
    )

    async def talk() -> None:
        for body in bodies:
            status, answer = await Client(app).send("POST", "/tickets", body)
            assert status == 422, f"{json.dumps(body)[:60]} answered {status}: {str(answer)[:200]}"
        status, answer = await Client(app).send("POST", "/tickets", ticket())
        assert status == 201, (status, answer)

    work.run(within(app, talk))
    assert work.value("SELECT count(*) FROM tickets") == 1


def check_large_keys(work: Workspace) -> None:
    """GET of a key that no integer column holds is a client's error, never a 500"""
    app = desk(work)

    async def talk() -> None:
        await Client(app).send("POST", "/tickets", ticket())
        for key in (2**31, 2**63, 10**30, -1, 0):
            status, body = await Client(app).send("GET", f"/tickets/{key}")
            assert status in {404, 422}, f"GET /tickets/{key} answered {status}: {body}"
        for query in ({"limit": -1}, {"offset": -1}, {"offset": 2**70}):
            status, body = await Client(app).send("GET", "/tickets", **query)
            assert 200 <= status < 500, f"{query} answered {status}: {body}"
        status, body = await Client(app).send("GET", "/tickets")
        assert (status, len(body)) == (200, 1), (status, body)

    work.run(within(app, talk))


def check_search(work: Workspace) -> None:
    """q is found as it is typed, whatever its case; % and _ are no wildcards"""
    app = desk(work)
    titles = ("100% CPU", "1000 users", "disk_full", "diskXfull")

    async def talk() -> None:
        for number, title in enumerate(titles):
            answer = await Client(app).send("POST", "/tickets", ticket(f"T-{number}", title))
            assert answer[0] == 201, answer
        for q, expected in {
            "100%": ["100% CPU"],
            "K_F": ["disk_full"],
            "cpu": ["100% CPU"],
            "\\": [],
        }.items():
            status, body = await Client(app).send("GET", "/tickets", q=q)
            found = [each["title"] for each in body] if status == 200 else body
            assert (status, found) == (200, expected), f"q={q!r}: {status}, {found}"

    work.run(within(app, talk))


def check_pages(work: Workspace) -> None:
    """Pages have neither gaps nor repeats, newest first, although all tickets have one time"""
    app = desk(work)
    work.rows(
        "INSERT INTO tickets (number, title, customer_id)"
        " SELECT 'T-' || (n * 7 % 101), 'Title', 1 FROM generate_series(1, 100) n"
    )
    work.rows("UPDATE tickets SET title = 'Moved' WHERE id % 3 = 0")
    work.rows("UPDATE tickets SET created_at = now() + interval '1 h' WHERE id = 50")

    async def talk() -> None:
        found: list[int] = []
        for offset in range(0, 100, 20):
            status, body = await Client(app).send("GET", "/tickets", limit=20, offset=offset)
            assert (status, len(body)) == (200, 20), (status, body)
            found += [each["id"] for each in body]
            if offset == 40:
                # Between two pages somebody touches the table, and rows lie elsewhere.
                work.rows("UPDATE tickets SET title = 'Again' WHERE id % 2 = 0")
                work.rows("CREATE INDEX ON tickets (created_at)")
                work.rows("ANALYZE tickets")
        assert found[0] == 50, f"first is {found[0]}, newest is 50"
        assert len(set(found)) == 100, f"{100 - len(set(found))} tickets are missing from the pages"

    work.run(within(app, talk))


def check_shutdown(work: Workspace) -> None:
    """After bad requests and aborted ones no transaction stays open, and none of the connections outlives the app"""  # noqa: E501
    app = desk(work)
    before = work.value(OTHERS)

    async def talk() -> None:
        assert (await Client(app).send("POST", "/tickets", ticket()))[0] == 201
        many = [Client(app).send("POST", "/tickets", ticket()) for _ in range(30)]
        answers = {status for status, _ in await asyncio.gather(*many)}
        assert answers == {409}, f"thirty at once answered {answers}"
        for _ in range(20):
            aborted = asyncio.create_task(Client(app).send("GET", "/tickets"))
            await asyncio.sleep(0.002)
            aborted.cancel()
            await asyncio.gather(aborted, return_exceptions=True)
        status, _ = await Client(app).send("GET", "/tickets")
        assert status == 200, status
        open_ones = work.value(f"{OTHERS} AND state LIKE 'idle in transaction%'")
        assert open_ones == 0, f"{open_ones} connection(s) idle in transaction"

    async def live() -> None:
        await within(app, talk)
        for _ in range(50):
            if work.value(OTHERS) <= before:
                return
            await asyncio.sleep(0.1)
        left = work.value(OTHERS) - before
        raise AssertionError(f"{left} connection(s) left after the shut-down")

    work.run(live())
