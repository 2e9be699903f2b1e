"""The service over real HTTP: uvicorn in a thread, on a port of its own, ended by the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

from examples.database import PoolSettings, create_sync_engine
from examples.fastapi_app.__main__ import listening
from tests.waiting import DEADLINE, until

ANN, SAM = {"X-Actor-Id": "1"}, {"X-Actor-Id": "2"}
NEW: dict[str, Any] = {"title": "Printer", "description": "It burns.", "organization_id": 1}
SECRET = b"a secret of the server"


@dataclass
class Served:
    """A running service, and an administrator's look at its database."""

    app: FastAPI
    server: uvicorn.Server
    url: str
    admin: Engine
    thread: threading.Thread
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.connect()

    def connect(self) -> None:
        """Begin with a new client: Sam's, where a request does not say whose it is."""
        # No connection is kept: the server may close an idle one as the next request leaves.
        limits = httpx.Limits(max_keepalive_connections=0)
        self.client = httpx.Client(base_url=self.url, timeout=DEADLINE, limits=limits, headers=SAM)

    @property
    def engine(self) -> AsyncEngine:
        """The engine of the lifespan."""
        engine: AsyncEngine = self.app.state.desk.engine
        return engine

    def pool(self, what: str) -> int:
        """``size``, ``checkedin``, ``checkedout`` or ``overflow`` of its pool."""
        number: int = getattr(self.engine.pool, what)()
        return number

    def sql(self, statement: str) -> list[Any]:
        """The first column of what *statement* finds, on a connection of the administrator's."""
        with self.admin.begin() as connection:
            result = connection.execute(text(statement))
            return list(result.scalars()) if result.returns_rows else []

    def count(self, table: str) -> int:
        """How many rows there are."""
        return int(self.sql(f"SELECT count(*) FROM {table}")[0])

    def open_transactions(self) -> list[Any]:
        """What the service's connections are doing, those apart that do nothing."""
        return self.sql(
            "SELECT state || ': ' || query FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle' "
            "AND backend_type = 'client backend'"  # autovacuum comes when it likes
        )

    def waiting(self) -> int:
        """How many of its connections wait for a lock."""
        query = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
        return int(self.sql(f"SELECT count(*) {query} current_database()")[0])

    def finish(self) -> None:
        """Return when no request is served any more."""
        state = self.server.server_state
        until(lambda: not state.tasks and not state.connections, "all requests have ended")

    def assert_clean(self) -> None:
        """Every connection is back, and no transaction is open."""
        self.client.close()
        self.finish()
        assert self.pool("checkedout") == 0
        assert self.pool("overflow") <= 0
        assert self.open_transactions() == []
        self.connect()

    def make(self, **values: Any) -> dict[str, Any]:
        """A ticket of Ann's."""
        response = self.client.post("/tickets", json=NEW | values, headers=ANN)
        assert response.status_code == 201, response.text
        body: dict[str, Any] = response.json()
        return body


@contextmanager
def served(app: FastAPI, database_url: str, *, patience: int = 10) -> Iterator[Served]:
    """Serve *app* within the block; it is given *patience* seconds to end."""
    admin = create_sync_engine(database_url, pool=PoolSettings(external=True))
    listener = listening(0)
    # log_config=None: the run's logging stays as it is.
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=patience)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), "the server listens")
        assert server.started
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        made = Served(app, server, url, admin, thread)
        try:
            yield made
        finally:
            made.client.close()
    finally:
        server.should_exit = True
        thread.join(DEADLINE + patience)
        assert not thread.is_alive()
        listener.close()
        admin.dispose()
