"""Who asks is known on every path, and what is internal stays with the desk."""

from __future__ import annotations

from fastapi import HTTPException

from examples.fastapi_app.app import Settings, create_app
from examples.fastapi_app.dependencies import get_actor_id
from tests.examples.test_fastapi_app.served import ANN, SAM, SECRET, Served, served


def nobody() -> int:
    """An authentication that lets nobody in."""
    raise HTTPException(401)


def test_authentication_guards_every_path_but_health() -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/desk"
    app = create_app(Settings(database_url=nowhere, cursor_secret=SECRET))
    app.dependency_overrides[get_actor_id] = nobody
    with served(app, nowhere) as desk:
        answered = {
            f"{method} {path}": desk.client.request(method, path.format(ticket_id=1)).status_code
            for path, operations in app.openapi()["paths"].items()
            for method in map(str.upper, operations)
        }
    assert answered.pop("GET /health") == 503, "it is asked by machines, and reaches no database"
    assert answered == dict.fromkeys(answered, 401)
    assert {"GET /tickets", "GET /tickets/{ticket_id}/comments", "GET /statistics"} <= set(answered)


def test_internal_comments_are_for_active_staff(desk: Served) -> None:
    path = f"/tickets/{desk.make()['id']}/comments"
    for content, internal in (("Look", False), ("He is rude", True), ("Done", False)):
        note = {"content": content, "is_internal": internal}
        assert desk.client.post(path, json=note, headers=SAM).status_code == 201

    def seen(reader: dict[str, str], **page: int) -> list[str]:
        found = desk.client.get(path, params=page, headers=reader)
        assert found.status_code == 200, found.text
        return [each["content"] for each in found.json()]

    assert seen(SAM) == ["Look", "He is rude", "Done"]
    assert seen(ANN) == ["Look", "Done"]
    assert seen(ANN, limit=2) == ["Look", "Done"], "a page is not shorter for what is hidden"
    assert seen({"X-Actor-Id": "99"}) == ["Look", "Done"]
    desk.sql("UPDATE users SET is_active = false WHERE id = 2")
    assert seen(SAM) == ["Look", "Done"]


def test_a_customer_writes_no_internal_comment(desk: Served) -> None:
    path = f"/tickets/{desk.make()['id']}/comments"
    note = {"content": "Hidden from whom?", "is_internal": True}
    for writer in (ANN, {"X-Actor-Id": "99"}):
        refused = desk.client.post(path, json=note, headers=writer)
        assert refused.status_code == 403, refused.text
        assert refused.json()["fields"] == ["is_internal"]
    assert (
        desk.client.post(path, json=note | {"is_internal": False}, headers=ANN).status_code == 201
    )
    desk.sql("UPDATE users SET is_active = false WHERE id = 2")
    assert desk.client.post(path, json=note, headers=SAM).status_code == 403
    assert len(desk.client.get(path, headers=SAM).json()) == 1
