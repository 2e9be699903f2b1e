"""2xx means committed: what a COMMIT says is what the client reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Literal

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from examples.database import async_session_factory, create_asyncio_engine
from examples.fastapi_app import desk as work
from examples.fastapi_app import routes
from examples.fastapi_app.app import Settings, create_app
from tests.examples.test_fastapi_app.served import ANN, NEW, SAM, SECRET, Served, served
from tests.examples.test_fastapi_app.test_answers import problem

# Found at COMMIT, not by the INSERT.
DEFERRED = "ALTER TABLE tickets ADD UNIQUE (title) DEFERRABLE INITIALLY DEFERRED"
AT_COMMIT = """
    CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT OR UPDATE ON tickets
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_commit()
"""


def test_a_commit_that_fails_is_no_success(desk: Served) -> None:
    desk.sql(DEFERRED)
    desk.make()
    assert problem(desk.client.post("/tickets", json=NEW, headers=ANN), 409)["message"]
    rows = [NEW | {"title": title} for title in ("a", "b", "a")]
    problem(desk.client.post("/tickets/import", json=rows, headers=ANN), 409)
    other = desk.make(title="other")
    path, seen = f"/tickets/{other['id']}", SAM | {"If-Match": '"1"'}
    problem(desk.client.patch(path, json={"title": NEW["title"]}, headers=seen), 409)
    assert desk.sql("SELECT title FROM tickets ORDER BY id") == [NEW["title"], "other"]
    assert desk.count("audit_log") == 2
    desk.assert_clean()


@pytest.mark.parametrize(
    ("act", "status", "message"),
    [
        ("RAISE SQLSTATE '40001';", 503, "Busy; try again"),
        ("RAISE SQLSTATE '23514';", 422, "Not a valid value"),
        ("RAISE SQLSTATE '25006';", 503, "Nothing can be changed at the moment"),
        ("RAISE SQLSTATE '42501';", 403, "Not permitted"),
        ("RAISE SQLSTATE '57014';", 504, "It took too long"),
        ("RAISE SQLSTATE 'P0001';", 500, "Something went wrong"),
    ],
)
def test_what_a_commit_says(desk: Served, act: str, status: int, message: str) -> None:
    desk.sql(AT_COMMIT.format(act))
    response = desk.client.post("/tickets", json=NEW, headers=ANN)
    assert problem(response, status)["message"] == message
    assert ("Retry-After" in response.headers) == (status == 503)
    assert desk.count("tickets") == 0
    desk.assert_clean()


def test_a_commit_that_is_not_answered_may_have_been_done(desk: Served) -> None:
    desk.sql(AT_COMMIT.format("PERFORM pg_terminate_backend(pg_backend_pid());"))
    response = desk.client.post("/tickets", json=NEW, headers=ANN)
    assert problem(response, 502)["message"].startswith("It may have been stored, or not")
    assert "Retry-After" not in response.headers, "who repeats it may store it twice"
    desk.sql("DROP TRIGGER at_commit ON tickets")
    desk.make()
    desk.assert_clean()


def test_a_connection_lost_before_the_commit_stored_nothing(desk: Served) -> None:
    desk.make()
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    # It is gone when this returns.
    desk.sql(f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE {others}")
    desk.make()  # pre-ping found the dead one, and no request paid for it
    assert desk.count("tickets") == 2


def test_an_answer_that_cannot_be_built_is_not_committed(
    desk: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(*_: Any) -> dict[str, str]:
        return {"not": "a ticket"}

    monkeypatch.setattr(routes, "answer", answer)
    # The server raises it again for its log; the client gets a 500 of ours.
    assert desk.client.post("/tickets", json=NEW, headers=ANN).status_code == 500
    assert desk.count("tickets") == 0
    desk.assert_clean()


def test_a_caught_error_at_the_end_is_no_success(
    desk: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL would answer COMMIT with ROLLBACK, and no driver tells."""
    ticket = desk.make()
    add_comment = work.add_comment

    async def add_and_fail(session: AsyncSession, *given: Any) -> Any:
        added = await add_comment(session, *given)
        with suppress(DBAPIError):
            await session.execute(text("SELECT 1 / 0"))
        return added

    monkeypatch.setattr(work, "add_comment", add_and_fail)
    path = f"/tickets/{ticket['id']}/comments"
    assert not desk.client.post(path, json={"content": "x"}, headers=SAM).is_success
    assert desk.count("comments") == 0
    desk.assert_clean()


def lying_app(url: str, scope: Literal["function", "request"] | None) -> FastAPI:
    """The dependency that is published everywhere: it commits behind its ``yield``."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = create_asyncio_engine(url)
        app.state.sessions = async_session_factory(engine)
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)

    async def get_session() -> AsyncIterator[AsyncSession]:
        async with app.state.sessions() as session:
            yield session
            await session.commit()

    async def create(session: AsyncSession) -> dict[str, bool]:
        for _ in range(2):
            await session.execute(
                text(
                    "INSERT INTO tickets (title, description, organization_id, creator_id) "
                    "VALUES ('one', '', 1, 1)"
                )
            )
        return {"ok": True}

    create.__annotations__["session"] = Annotated[AsyncSession, Depends(get_session, scope=scope)]
    app.post("/tickets")(create)
    return app


@pytest.mark.parametrize(("scope", "status"), [(None, 200), ("request", 200), ("function", 500)])
def test_only_the_scope_of_the_function_tells_the_truth(
    desk_url: str, scope: Literal["function", "request"] | None, status: int
) -> None:
    with served(lying_app(desk_url, scope), desk_url) as desk:
        desk.sql(DEFERRED)
        response = desk.client.post("/tickets")
        assert response.status_code == status
        assert desk.count("tickets") == 0


def test_a_slow_reader_holds_no_connection(desk_url: str) -> None:
    settings = Settings(database_url=desk_url, cursor_secret=SECRET)
    app = create_app(settings)
    checked_out: list[int] = []

    class Look:
        """Outermost: sees the pool when the answer leaves."""

        def __init__(self, within: Any) -> None:
            self.within = within

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def sending(message: Any) -> None:
                if message["type"] == "http.response.start":
                    checked_out.append(app.state.desk.engine.pool.checkedout())
                await send(message)

            await self.within(scope, receive, sending)

    app.add_middleware(Look)
    with served(app, desk_url) as desk:
        desk.make()
        desk.client.get("/tickets/1")
        desk.client.get("/tickets/2")
    assert checked_out == [0, 0, 0]
