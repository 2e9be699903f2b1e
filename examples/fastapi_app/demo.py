"""FastAPI: the desk as a service whose answers are true: 2xx means committed.

Problem: a dependency that commits behind its ``yield`` answers 200 before the COMMIT fails, models
load while they are serialised, and errors quote SQL.  Pattern: engine in the lifespan, sessions
that end before the answer leaves, answers built in the transaction, one place for errors.  Who acts
is a header here: there is no authentication in it.  FastAPI 0.121 or newer.

To copy: this folder, ``audit_trails/``, ``analytics.py``, ``error_handling.py``, ``locking.py``,
``pagination.py``, ``search.py``, ``soft_delete.py``, ``models.py`` and ``database.py``.  It is
served by ``uvicorn --factory yourpackage.fastapi_app.app:from_env``; for ``python -m``, on a
throw-away PostgreSQL, copy ``postgres.py`` and ``scripts/start-postgres.py``, too.
"""

from __future__ import annotations

import asyncio

import httpx
from sqlalchemy import Engine, text

from .app import Settings, create_app
from .prepare import install_audit, seed

ANN, SAM = {"X-Actor-Id": "1", "X-Request-ID": "demo-1"}, {"X-Actor-Id": "2"}
DEFERRED = (
    "ALTER TABLE tickets ADD CONSTRAINT one_title UNIQUE (title) DEFERRABLE INITIALLY DEFERRED"
)


def told(response: httpx.Response) -> str:
    """Status and what matters of the body."""
    body = response.json() if response.content else {}
    shown = ("message", "fields", "status", "version")
    line = f"{response.request.method:6} {response.request.url.path:20} {response.status_code}"
    return f"{line} { {name: body[name] for name in shown if name in body} }"


async def talk(url: str) -> None:
    """One customer, one agent, one ticket."""
    app = create_app(Settings(database_url=url, cursor_secret=b"a secret of the server"))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://desk") as desk,
    ):
        new = {"title": "Printer on fire", "description": "It burns.", "organization_id": 1}
        made = await desk.post("/tickets", json=new, headers=ANN)
        print(told(made), "ETag", made.headers["ETag"])
        path, seen = made.headers["Location"], {"If-Match": made.headers["ETag"]}
        for title in ("Printer is smouldering", "Printer is cold"):
            print(told(await desk.patch(path, json={"title": title}, headers=SAM | seen)))
        print(told(await desk.put(f"{path}/assignee", json={"assignee_id": 2}, headers=SAM)))
        print(told(await desk.post(f"{path}/tags", json={"names": ["fire", "VIP"]}, headers=SAM)))
        print(told(await desk.post(f"{path}/comments", json={"content": "Out."}, headers=SAM)))
        print(told(await desk.post(f"{path}/resolve", headers=SAM)))
        print(told(await desk.delete(path, headers=SAM)))
        print(told(await desk.get(path, headers=SAM)))
        print(told(await desk.post(f"{path}/restore", headers=SAM)))
        rows = [new | {"title": f"Ticket {n}"} for n in range(3)]
        print(told(await desk.post("/tickets/import", json=rows, headers=ANN)))
        page = (await desk.get("/tickets", params={"limit": 2}, headers=SAM)).json()
        print("A page:", [ticket["title"] for ticket in page["tickets"]])
        more = {"limit": 2, "cursor": page["next"]}
        rest = (await desk.get("/tickets", params=more, headers=SAM)).json()
        print("The next:", [ticket["title"] for ticket in rest["tickets"]])
        figures = (await desk.get("/statistics", headers=SAM)).json()
        print("Statistics:", figures["status_counts"])
        print("A typo:", told(await desk.post("/tickets", json=new | {"titel": 1}, headers=ANN)))
        print("Fails at COMMIT:", told(await desk.post("/tickets", json=rows[0], headers=ANN)))


def demo(engine: Engine) -> None:
    """A ticket from its first request to the bin and back; then a COMMIT that fails."""
    install_audit(engine)
    seed(engine)
    with engine.begin() as connection:
        connection.execute(text(DEFERRED))
    asyncio.run(talk(engine.url.set(drivername="postgresql").render_as_string(False)))
    with engine.connect() as connection:
        trail = connection.execute(
            text(
                "SELECT user_id, action, table_name, changes->>'request_id' FROM audit_log "
                "WHERE table_name = 'tickets' AND record_id = 1 ORDER BY id LIMIT 2"
            )
        )
        print("The audit trail:", [tuple(row) for row in trail])
