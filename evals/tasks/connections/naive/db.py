"""The engines."""

from __future__ import annotations

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


def make_engine(url: str, *, size: int = 5, seconds: float = 30.0) -> Engine:
    url = url.replace("postgres://", "postgresql+psycopg2://", 1)
    engine = create_engine(
        url,
        pool_size=size,
        pool_timeout=2,
        pool_recycle=1800,
        connect_args={"application_name": "desk"},
    )

    @event.listens_for(engine, "begin")
    def limit(connection):
        connection.execute(text(f"SET LOCAL statement_timeout = {int(seconds * 1000)}"))

    return engine


def make_async_engine(url: str, *, size: int = 5, seconds: float = 30.0) -> AsyncEngine:
    url = url.replace("postgres://", "postgresql+asyncpg://", 1)
    url = url.replace("postgresql://", "postgresql+asyncpg://", 1)
    return create_async_engine(
        url,
        pool_size=size,
        pool_timeout=2,
        pool_recycle=1800,
        connect_args={
            "command_timeout": seconds,
            "server_settings": {"application_name": "desk"},
        },
    )
