"""The engines."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


def named(url: str, driver: str) -> URL:
    scheme, _, rest = url.partition("://")
    if scheme.split("+")[0] == "postgres":
        url = f"postgresql://{rest}"
    return make_url(url).set(drivername=f"postgresql+{driver}")


def pool(size: int) -> dict[str, Any]:
    return {"pool_size": size, "max_overflow": 0, "pool_timeout": 2, "pool_pre_ping": True}


def milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def make_engine(url: str, *, size: int = 5, seconds: float = 30.0) -> Engine:
    options = f"-c statement_timeout={milliseconds(seconds)}"
    return create_engine(
        named(url, "psycopg2"),
        **pool(size),
        connect_args={"application_name": "desk", "options": options},
    )


def make_async_engine(url: str, *, size: int = 5, seconds: float = 30.0) -> AsyncEngine:
    target = named(url, "asyncpg")
    arguments: dict[str, Any] = {
        "server_settings": {
            "application_name": "desk",
            "statement_timeout": str(milliseconds(seconds)),
        }
    }
    if "sslmode" in target.query:
        arguments["ssl"] = target.query["sslmode"]
        target = target.difference_update_query(["sslmode"])
    return create_async_engine(target, **pool(size), connect_args=arguments)
