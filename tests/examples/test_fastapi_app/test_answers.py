"""What each path answers, what it costs, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.exc import InvalidRequestError

from examples.database import create_sync_engine, session_factory
from examples.fastapi_app.app import Settings, create_app, from_env
from examples.fastapi_app.schemas import IMPORT_LIMIT, TicketChanges, TicketOut
from examples.models import Ticket
from examples.testing_patterns.statements import assert_statements
from tests.examples.test_fastapi_app.served import ANN, NEW, SAM, SECRET, Served, served
from tests.waiting import DEADLINE

# What an answer must never have: SQL, a driver, a class, a constraint.
LEAKS = re.compile(
    r"select |insert |update |asyncpg|psycopg|sqlalchemy|traceback|\b(?:ck|uq|fk|ix)_",
    re.IGNORECASE,
)


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The body of an answer that is no success."""
    assert response.status_code == status, response.text
    body: dict[str, Any] = response.json()
    assert set(body) == {"message", "fields", "request_id", "incident"}
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert not LEAKS.search(response.text), response.text
    return body


def test_a_tickets_life(desk: Served) -> None:
    client = desk.client
    made = client.post("/tickets", json=NEW, headers=ANN)
    ticket = made.json()
    path = f"/tickets/{ticket['id']}"
    assert (made.status_code, made.headers["Location"], made.headers["ETag"]) == (201, path, '"1"')
    assert (ticket["status"], ticket["creator_id"], ticket["tags"]) == ("open", 1, [])
    assert client.get(path).json() == ticket
    changed = client.patch(path, json={"title": "Cold"}, headers=SAM | {"If-Match": '"1"'})
    assert (changed.json()["title"], changed.headers["ETag"]) == ("Cold", '"2"')
    assert changed.json()["description"] == NEW["description"]
    assigned = client.put(f"{path}/assignee", json={"assignee_id": 2}, headers=SAM)
    assert (assigned.json()["assignee_id"], assigned.json()["version"]) == (2, 3)
    tagged = client.post(f"{path}/tags", json={"names": ["VIP", "fire"]}, headers=SAM)
    # In the order of the database's collation.
    assert sorted(tag["name"] for tag in tagged.json()["tags"]) == ["VIP", "fire"]
    noted = client.post(f"{path}/comments", json={"content": "Out."}, headers=SAM)
    assert (noted.status_code, noted.json()["author_id"]) == (201, 2)
    resolved = client.post(f"{path}/resolve", headers=SAM).json()
    assert resolved["status"] == "resolved"
    assert resolved["resolved_at"] is not None
    assert client.post(f"{path}/resolve", headers=SAM).json() == resolved, "asked again"
    assert client.delete(path, headers=SAM).status_code == 204
    for gone in (
        client.get(path),
        client.get(f"{path}/comments"),
        client.delete(path, headers=SAM),
        client.post(f"{path}/comments", json={"content": "x"}, headers=SAM),
        client.post(f"{path}/resolve", headers=SAM),
        client.post(f"{path}/tags", json={"names": ["x"]}, headers=SAM),
        client.put(f"{path}/assignee", json={"assignee_id": None}, headers=SAM),
        client.patch(path, json={}, headers=SAM | {"If-Match": '"6"'}),
        client.get("/tickets/999"),
    ):
        assert problem(gone, 404)["message"] == "There is no such record: ticket_id"
    assert client.get("/tickets").json()["tickets"] == []
    back = client.post(f"{path}/restore", headers=SAM)
    assert back.json()["title"] == "Cold"
    assert client.post(f"{path}/restore", headers=SAM).json() == back.json(), "asked again"
    problem(client.post("/tickets/999/restore", headers=SAM), 404)
    assert [each["content"] for each in client.get(f"{path}/comments").json()] == ["Out."]
    desk.assert_clean()


def test_the_history_of_statuses_is_written(desk: Served) -> None:
    ticket = desk.make()
    desk.client.post(f"/tickets/{ticket['id']}/resolve", headers=SAM)
    told = desk.sql(
        "SELECT concat_ws(' ', coalesce(old_status, '-'), new_status, changed_by_id) "
        "FROM ticket_status_history ORDER BY id"
    )
    assert told == ["- open 1", "open resolved 2"]


@pytest.mark.parametrize(
    ("method", "path", "body", "statements"),
    [
        # A write tells who acts, and asks at its end whether COMMIT will store it; an answer reads
        # the ticket and its tags.
        ("POST", "/tickets", NEW, 2 + 2 + 2),
        ("POST", "/tickets/import", [NEW] * 50, 2 + 2),
        ("GET", "/tickets", None, 2),
        ("GET", "/tickets/1", None, 2),
        ("PATCH", "/tickets/1", {"title": "New"}, 2 + 2 + 2),
        ("DELETE", "/tickets/1", None, 2 + 1),
        ("POST", "/tickets/1/comments", {"content": "x"}, 2 + 2),
        ("GET", "/tickets/1/comments", None, 2),
        ("POST", "/tickets/1/tags", {"names": ["a", "b"]}, 2 + 4 + 2),
        ("PUT", "/tickets/1/assignee", {"assignee_id": 2}, 2 + 3 + 2),
        ("POST", "/tickets/1/resolve", None, 2 + 3 + 2),
        ("POST", "/tickets/1/restore", None, 2 + 1 + 2),
        ("GET", "/statistics", None, 1),
        ("GET", "/health", None, 1),
    ],
)
def test_what_a_request_costs(
    desk: Served, method: str, path: str, body: Any, statements: int
) -> None:
    rows = [NEW | {"title": f"Ticket {n}"} for n in range(30)]
    assert desk.client.post("/tickets/import", json=rows, headers=ANN).status_code == 201
    headers = SAM | {"If-Match": '"1"'}
    with assert_statements(desk.engine, exactly=statements):
        response = desk.client.request(method, path, json=body, headers=headers)
    assert response.is_success, response.text


# --- Lists ----------------------------------------------------------------------------------------


def test_pages_of_a_search(desk: Served) -> None:
    rows = [NEW | {"title": f"{kind} {n}"} for n in range(5) for kind in ("Printer", "Invoice")]
    desk.client.post("/tickets/import", json=rows, headers=ANN)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        asked: dict[str, Any] = {"q": "printers", "limit": 2}
        asked |= {"cursor": cursor} if cursor else {}
        page = desk.client.get("/tickets", params=asked).json()
        seen += [ticket["title"] for ticket in page["tickets"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [f"Printer {n}" for n in (4, 3, 2, 1, 0)]
    # A cursor of one search serves no other.
    cursor = desk.client.get("/tickets", params={"q": "printers", "limit": 2}).json()["next"]
    refused = desk.client.get("/tickets", params={"q": "invoice", "cursor": cursor})
    assert "cursor of another list" in problem(refused, 422)["message"]


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"q": "100%", "match": "substring"}, ["100% wrong"]),
    ({"priority": ["high", "urgent"]}, ["100% wrong"]),
    ({"status": "resolved"}, []),
    ({"assignee": "nobody"}, ["100% wrong", "Printer"]),
    ({"assignee": 2}, []),
    ({"any_tag": "VIP"}, ["Printer"]),
    ({"all_tags": ["vip", "fire"]}, ["Printer"]),
    ({"all_tags": ["vip", "water"]}, []),
    ({"organization_id": 2}, []),
    ({"created_before": "2026-01-01T00:00:00Z"}, []),
]


def test_filters(desk: Served) -> None:
    printer = desk.make()
    tags = {"names": ["vip", "fire"]}
    desk.client.post(f"/tickets/{printer['id']}/tags", json=tags, headers=SAM)
    desk.make(title="100% wrong", priority="high")
    for asked, titles in FILTERS:
        page = desk.client.get("/tickets", params=asked).json()
        assert [ticket["title"] for ticket in page["tickets"]] == titles, asked


def test_comments_follow_each_other(desk: Served) -> None:
    path = f"/tickets/{desk.make()['id']}/comments"
    for n in range(5):
        desk.client.post(path, json={"content": f"Comment {n}"}, headers=SAM)
    first = desk.client.get(path, params={"limit": 3}).json()
    rest = desk.client.get(path, params={"after": first[-1]["id"], "limit": 3}).json()
    assert [each["content"] for each in first + rest] == [f"Comment {n}" for n in range(5)]


def test_statistics(desk: Served) -> None:
    done, _ = desk.make(priority="high"), desk.make()
    desk.client.put(f"/tickets/{done['id']}/assignee", json={"assignee_id": 2}, headers=SAM)
    desk.client.post(f"/tickets/{done['id']}/resolve", headers=SAM)
    deleted = desk.make()
    desk.client.delete(f"/tickets/{deleted['id']}", headers=SAM)
    figures = desk.client.get("/statistics").json()
    assert (figures["total"], figures["status_counts"]["resolved"]) == (2, 1)
    assert figures["priority_counts"] == {"low": 0, "medium": 1, "high": 1, "urgent": 0}
    assert [row["assignee"] for row in figures["assignee_stats"]] == ["Sam", None]
    asked = {"first": "2020-01-01", "last": "2020-01-31", "zone": "Europe/Berlin"}
    assert desk.client.get("/statistics", params=asked).json()["total"] == 0
    for wrong, words in (
        (asked | {"zone": "Mars/Olympus"}, "received the time zone 'Mars/Olympus'"),
        (asked | {"last": "2019-01-01"}, "expected the earlier first"),
        ({"first": "2020-01-01"}, "expected both, or none"),
    ):
        refused = desk.client.get("/statistics", params=wrong)
        assert words in problem(refused, 422)["message"]


# --- Changes --------------------------------------------------------------------------------------


def test_a_stale_change_is_refused(desk: Served) -> None:
    path = f"/tickets/{desk.make()['id']}"
    seen = SAM | {"If-Match": '"1"'}
    assert desk.client.patch(path, json={"title": "theirs"}, headers=seen).status_code == 200
    refused = desk.client.patch(path, json={"title": "mine"}, headers=seen)
    assert problem(refused, 412)["message"] == "Somebody changed this meanwhile; load it again"
    assert desk.client.get(path).json()["title"] == "theirs"
    for wrong in ('W/"1"', "1", "*", '"one"', '"1", "2"'):
        refused = desk.client.patch(path, json={"title": "x"}, headers=SAM | {"If-Match": wrong})
        assert problem(refused, 422)["fields"][0].startswith("header.if-match")
    refused = desk.client.patch(path, json={"title": "x"}, headers=SAM)
    assert problem(refused, 422)["fields"] == ["header.if-match: Field required"]


REFUSED: list[Any] = [
    {"id": 7},
    {"version": 7},
    {"status": "closed"},
    {"deleted_at": None},
    {"creator_id": 2},
    {"titel": "x"},
    {"title": None},
    {"title": " "},
    {"title": "x" * 501},
    {"title": "a\0b"},
    {"description": "a\0b"},
    {"description": "x" * 20_001},
    {"priority": "HIGH"},
    [],
    None,
    "title",
]


def test_no_other_field_and_no_such_value(desk: Served) -> None:
    before = desk.make()
    path = f"/tickets/{before['id']}"
    headers = SAM | {"If-Match": '"1"'}
    for body in REFUSED:
        assert problem(desk.client.patch(path, json=body, headers=headers), 422)["fields"], body
        assert problem(desk.client.post("/tickets", json=body, headers=ANN), 422)["fields"], body
    assert desk.client.get(path).json() == before
    assert desk.count("tickets") == 1


def test_assigning_has_rules(desk: Served) -> None:
    path = f"/tickets/{desk.make()['id']}"
    for stranger in (1, 999):  # a customer, and nobody
        refused = desk.client.put(f"{path}/assignee", json={"assignee_id": stranger}, headers=SAM)
        assert problem(refused, 422)["fields"] == ["assignee_id"]
    assigned = desk.client.put(f"{path}/assignee", json={"assignee_id": 2}, headers=SAM)
    assert assigned.json()["assignee_id"] == 2
    nobody = desk.client.put(f"{path}/assignee", json={"assignee_id": None}, headers=SAM)
    assert nobody.json()["assignee_id"] is None
    desk.client.post(f"{path}/resolve", headers=SAM)
    done = desk.client.put(f"{path}/assignee", json={"assignee_id": 2}, headers=SAM)
    assert problem(done, 409)["message"] == "The ticket is done"


def test_tags_are_one_whatever_their_case(desk: Served) -> None:
    path = f"/tickets/{desk.make()['id']}"
    for names in (["vip", "fire"], ["VIP", "Fire", "VIP", "new"]):
        tagged = desk.client.post(f"{path}/tags", json={"names": names}, headers=SAM).json()
    assert [tag["name"] for tag in tagged["tags"]] == ["fire", "new", "vip"]
    assert (tagged["version"], desk.count("tags")) == (3, 3)


def test_a_number_that_is_taken(desk: Served) -> None:
    first = desk.make()
    desk.client.delete(f"/tickets/{first['id']}", headers=SAM)
    second = desk.make()
    desk.sql(
        f"UPDATE tickets SET ticket_number = '{first['ticket_number']}' WHERE id = {second['id']}"
    )
    refused = desk.client.post(f"/tickets/{first['id']}/restore", headers=SAM)
    assert problem(refused, 409)["fields"] == ["ticket_number"]


def test_what_refers_to_nothing(desk: Served) -> None:
    refused = desk.client.post("/tickets", json=NEW | {"organization_id": 99}, headers=ANN)
    assert problem(refused, 422)["fields"] == ["organization_id"]
    refused = desk.client.post("/tickets", json=NEW, headers={"X-Actor-Id": "99"})
    assert problem(refused, 422)["message"].startswith("Refers to what does not exist")
    assert desk.count("tickets") == 0


# --- Imports --------------------------------------------------------------------------------------


def test_an_import_is_all_or_none(desk: Served) -> None:
    rows = [NEW | {"title": f"Ticket {n}"} for n in range(IMPORT_LIMIT)]
    made = desk.client.post("/tickets/import", json=rows, headers=ANN)
    ids = made.json()["ids"]
    assert desk.sql("SELECT title FROM tickets ORDER BY id") == [row["title"] for row in rows]
    assert desk.sql("SELECT id FROM tickets ORDER BY id") == ids
    rows[-1] = rows[-1] | {"organization_id": 99}
    problem(desk.client.post("/tickets/import", json=rows, headers=ANN), 422)
    rows[-1] = rows[-1] | {"title": ""}
    told = problem(desk.client.post("/tickets/import", json=rows, headers=ANN), 422)["fields"]
    assert told[0].startswith(f"body.{IMPORT_LIMIT - 1}.title: ")
    for wrong in ([], [*rows, NEW]):
        problem(desk.client.post("/tickets/import", json=wrong, headers=ANN), 422)
    assert desk.count("tickets") == IMPORT_LIMIT
    # A thousand faults are told in twenty lines.
    rows = [{"title": 1}] * IMPORT_LIMIT
    refused = desk.client.post("/tickets/import", json=rows, headers=ANN)
    assert len(problem(refused, 422)["fields"]) == 20


def test_a_body_has_a_limit(desk_url: str) -> None:
    settings = Settings(database_url=desk_url, cursor_secret=SECRET, body_limit=1_000)
    with served(create_app(settings), desk_url) as desk:
        too_long = NEW | {"description": "x" * 1_000}
        refused = desk.client.post("/tickets", json=too_long, headers=ANN)
        assert problem(refused, 413)["message"] == "expected at most 1000 bytes"

        # The same where its length is not told beforehand.
        def pieces() -> Any:
            yield from [b"x" * 600] * 2

        refused = desk.client.post("/tickets", content=pieces(), headers=ANN)
        problem(refused, 413)
        desk.make()


# --- Who, and for what request --------------------------------------------------------------------


def test_the_trail_knows_who_and_for_what(desk: Served) -> None:
    named = ANN | {"X-Request-ID": "req-1"}
    made = desk.client.post("/tickets", json=NEW, headers=named)
    assert made.headers["X-Request-ID"] == "req-1"
    path = made.headers["Location"]
    desk.client.patch(path, json={"title": "Cold"}, headers=SAM | {"If-Match": '"1"'})
    desk.client.delete(path, headers=ANN)
    told = desk.sql(
        "SELECT concat_ws(' ', action, user_id) FROM audit_log "
        "WHERE table_name = 'tickets' ORDER BY id"
    )
    assert told == ["INSERT 1", "UPDATE 2", "UPDATE 1"]
    requests = desk.sql("SELECT changes->>'request_id' FROM audit_log ORDER BY id")
    assert requests[0] == "req-1"
    assert len(set(requests)) == 3
    assert desk.sql("SELECT updated_by_id FROM tickets") == [2]


@pytest.mark.parametrize("given", ["a b", "x" * 65, "<script>", "", "é"])
def test_a_request_id_that_is_none_is_replaced(empty_desk: Served, given: str) -> None:
    headers = httpx.Headers([(b"X-Request-ID", given.encode("latin-1"))])
    response = empty_desk.client.get("/tickets/1", headers=headers)
    assert re.fullmatch("[0-9a-f]{16}", problem(response, 404)["request_id"])


@pytest.mark.parametrize("actor", [None, "", "0", "-1", "ann", str(2**63), "1.5", "NaN"])
def test_nobody_reads_or_writes_without_a_name(empty_desk: Served, actor: str | None) -> None:
    headers = {"X-Actor-Id": actor} if actor is not None else {}
    # The client would give Sam's.
    asked: dict[str, Any] = {"headers": headers, "timeout": DEADLINE}
    for response in (
        httpx.post(f"{empty_desk.url}/tickets", json=NEW, **asked),
        httpx.get(f"{empty_desk.url}/tickets", **asked),
    ):
        assert problem(response, 422)["fields"][0].startswith("header.x-actor-id: ")
    assert httpx.get(f"{empty_desk.url}/health", **asked).status_code == 200


# --- What cannot be read --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"title": NaN, "description": "", "organization_id": 1}', 422),
        (b'{"title": Infinity, "organization_id": 1e999}', 422),
        (b'{"title": "\\ud800", "description": "", "organization_id": 1}', 422),
        (b'{"\\ud800": 1}', 422),
        (b'{"title": "\\u0000"}', 422),
        (b"{", 422),
        (b"", 422),
        (b"\xfa\xfb", 400),
        (b"[" * 100_000, 400),
        (b'{"organization_id": ' + b"9" * 5_000 + b"}", 400),
    ],
)
def test_a_body_that_cannot_be(empty_desk: Served, content: bytes, status: int) -> None:
    headers = ANN | {"Content-Type": "application/json"}
    body = problem(empty_desk.client.post("/tickets", content=content, headers=headers), status)
    assert body["message"]
    assert empty_desk.count("tickets") == 0


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"title": 5, "password": "s3cret"}', 422),
        (b'{"title": NaN}', 500),
        (b'{"\\ud800": 1}', 500),
    ],
)
def test_the_frameworks_own_answer_echoes(content: bytes, status: int) -> None:
    app = FastAPI()

    def title(new: TicketChanges) -> str:
        return new.title

    title.__annotations__["new"] = TicketChanges
    app.post("/")(title)

    async def ask() -> httpx.Response:
        way = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {"Content-Type": "application/json"}
        async with httpx.AsyncClient(transport=way, base_url="http://desk") as client:
            return await client.post("/", content=content, headers=headers)

    response = asyncio.run(ask())
    assert response.status_code == status
    assert ("s3cret" in response.text) == (status == 422)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/tickets?q=%00", "query.q"),
        ("/tickets?any_tag=%00", "query.any_tag.0"),
        ("/tickets?q=" + "x" * 501, "query.q"),
        ("/tickets?created_from=2026-01-01T00:00:00", "query.created_from"),
        ("/tickets?limit=0", "query.limit"),
        ("/tickets?limit=101", "query.limit"),
        ("/tickets?titel=x", "query.titel"),
        (f"/tickets/{2**63}", "path.ticket_id"),
        ("/tickets/0", "path.ticket_id"),
        ("/tickets/%00", "path.ticket_id"),
    ],
)
def test_a_question_that_cannot_be(empty_desk: Served, path: str, words: str) -> None:
    assert problem(empty_desk.client.get(path), 422)["fields"][0].startswith(words)


@pytest.mark.parametrize("cursor", ["x", "%00", "A" * 400, "é"])
def test_a_cursor_that_was_made_up(empty_desk: Served, cursor: str) -> None:
    problem(empty_desk.client.get(f"/tickets?cursor={cursor}"), 422)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_at_the_end_of_time(empty_desk: Served, moment: str) -> None:
    response = empty_desk.client.get("/tickets", params={"created_from": moment})
    assert response.status_code in {200, 422}, response.text


def test_paths_and_methods_that_are_none(empty_desk: Served) -> None:
    assert problem(empty_desk.client.get("/nothing"), 404)["message"] == "Not Found"
    refused = empty_desk.client.put("/tickets", json={})
    assert problem(refused, 405)["message"] == "Method Not Allowed"
    assert refused.headers["Allow"]


def test_a_check_that_only_the_database_has(desk: Served) -> None:
    desk.sql("ALTER TABLE tickets ADD CONSTRAINT ck_tickets_polite CHECK (title !~ '!')")
    refused = desk.client.post("/tickets", json=NEW | {"title": "Now!"}, headers=ANN)
    assert problem(refused, 422)["message"] == "Not a valid value"


def test_a_mistake_of_ours_says_nothing(desk: Served) -> None:
    # The schema that the application expects is not there.
    desk.make()
    desk.sql("ALTER TABLE tags RENAME COLUMN color TO colour")
    body = problem(desk.client.get("/tickets/1"), 500)
    assert (body["message"], len(body["incident"])) == ("Something went wrong", 8)
    desk.assert_clean()


# --- Models and settings --------------------------------------------------------------------------


def test_a_model_never_loads(desk_url: str) -> None:
    engine = create_sync_engine(desk_url)
    with session_factory(engine)() as session:
        ticket = Ticket(title="x", description="", organization_id=1, creator_id=1)
        session.add(ticket)
        session.commit()
        found = session.get_one(Ticket, ticket.id)
        with pytest.raises((InvalidRequestError, ValidationError), match="tags"):
            TicketOut.model_validate(found)
    engine.dispose()


def test_settings_come_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"DATABASE_URL": "postgresql://ann:s3cret@h/d", "CURSOR_SECRET": "s3cret"}
    settings = Settings.from_env(environ | {"DATABASE_POOL_SIZE": "7"})
    assert (settings.pool.size, settings.cursor_secret) == (7, b"s3cret")
    assert "s3cret" not in repr(settings)
    with pytest.raises(ValueError, match="no DATABASE_URL and no CURSOR_SECRET"):
        Settings.from_env({})
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert from_env().title == "Support desk"


def test_the_url_may_set_limits(desk_url: str) -> None:
    limits = "?options=-c%20statement_timeout=60000%20-c%20lock_timeout=50"
    settings = Settings(database_url=desk_url + limits, cursor_secret=SECRET)
    with served(create_app(settings), desk_url) as desk:
        desk.make()
        with desk.admin.begin() as rival:
            rival.execute(text("SELECT FROM tickets FOR UPDATE"))
            response = desk.client.post("/tickets/1/resolve", headers=SAM)
        assert problem(response, 503)["message"] == "Busy; try again"
        assert response.headers["Retry-After"] == "1"


def test_it_starts_without_its_database() -> None:
    # The first deployment of a night: it waits for the database, and says so.
    nowhere = "postgresql://nobody@127.0.0.1:1/desk"
    with served(create_app(Settings(database_url=nowhere, cursor_secret=SECRET)), nowhere) as desk:
        refused = desk.client.get("/health")
        assert "cannot be reached" in problem(refused, 503)["message"]
        assert json.loads(refused.text)["incident"]


def test_the_engine_is_made_in_the_lifespan() -> None:
    app = create_app(Settings(database_url="postgresql://h/d", cursor_secret=SECRET))
    assert not hasattr(app.state, "desk")
