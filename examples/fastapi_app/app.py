"""The application: its settings, and the engine in its lifespan.

One engine a process and event loop: each of ``uvicorn --workers 4`` runs the lifespan for itself.
Serve it by ``uvicorn --factory examples.fastapi_app.app:from_env``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import FastAPI

from ..database import AsyncDriver, PoolSettings, create_asyncio_engine
from .dependencies import Desk, desk_sessions
from .errors import add_handlers
from .middleware import RequestContext
from .routes import public_router, router


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What differs between a laptop and production; no secret is in its ``repr``."""

    database_url: str = field(repr=False)
    """May set limits: ``?options=-c%20statement_timeout=5000%20-c%20lock_timeout=2000``."""
    cursor_secret: bytes = field(repr=False)
    """The same in all processes, so that each reads the others' cursors."""
    pool: PoolSettings = field(default_factory=PoolSettings)
    driver: AsyncDriver = "asyncpg"
    body_limit: int = 8 * 2**20
    """Bytes of a request's body."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read ``DATABASE_URL``, ``CURSOR_SECRET`` and ``DATABASE_POOL_…``.

        Raises ``ValueError`` for one that is missing or wrong.
        """
        missing = [name for name in ("DATABASE_URL", "CURSOR_SECRET") if not environ.get(name)]
        if missing:
            raise ValueError(f"received no {' and no '.join(missing)}; expected it as a variable")
        return cls(
            database_url=environ["DATABASE_URL"],
            cursor_secret=environ["CURSOR_SECRET"].encode(),
            pool=PoolSettings.from_env(environ),
        )


def create_app(settings: Settings) -> FastAPI:
    """The service; it connects at the first request, and lets go of all connections at the end."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = create_asyncio_engine(
            settings.database_url, driver=settings.driver, pool=settings.pool
        )
        app.state.desk = Desk(engine, desk_sessions(engine), settings.cursor_secret)
        try:
            yield
        finally:
            await engine.dispose()

    app = FastAPI(title="Support desk", version="1", lifespan=lifespan)
    app.add_middleware(RequestContext, body_limit=settings.body_limit)
    add_handlers(app)
    app.include_router(router)
    app.include_router(public_router)
    return app


def from_env() -> FastAPI:
    """The factory for uvicorn."""
    return create_app(Settings.from_env(os.environ))
