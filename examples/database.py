"""Engines and session factories from any PostgreSQL URL.

Problem: platforms hand out URLs that SQLAlchemy or the driver refuses (``postgres://``, ``sslmode``
with asyncpg), and in SQLAlchemy 2.1 a bare ``postgresql://`` means another driver than in 2.0.
Pattern: normalise the URL once, name the driver, make the engine in a function, never at import.
Not for an application with one fixed URL and driver: there ``create_engine`` is enough.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import URL, Engine, NullPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, sessionmaker

SyncDriver = Literal["psycopg", "psycopg2"]
AsyncDriver = Literal["asyncpg", "psycopg"]
Driver = Literal["psycopg", "psycopg2", "asyncpg"]
DRIVERS: tuple[Driver, ...] = ("psycopg", "psycopg2", "asyncpg")


class DatabaseUrlError(ValueError):
    """The URL cannot be used: what was received (without its password), expected, to try."""


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """How many connections a process may hold, and how long.

    Count before you raise: processes x (size + max_overflow) must stay below the server's
    ``max_connections`` (100 unless set).
    """

    size: int = 5
    """Connections kept open."""
    max_overflow: int = 5
    """More of them in a rush; closed when given back."""
    timeout: float = 10.0
    """Seconds to wait for a free one, then ``sqlalchemy.exc.TimeoutError``."""
    recycle: int = 1800
    """Seconds after which a connection is replaced: below what firewalls cut silently."""
    pre_ping: bool = True
    """Ask a connection for a sign of life at checkout: a server's restart costs no request."""
    external: bool = False
    """True where PgBouncer pools: then this process keeps none, and prepares nothing by name."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> PoolSettings:
        """Read ``DATABASE_POOL_SIZE``, ``…_MAX_OVERFLOW``, ``…_TIMEOUT``, ``…_RECYCLE``,
        ``…_PRE_PING``, ``…_EXTERNAL``.  Raises ``ValueError`` for what is no such value.
        """

        def number(name: str, default: float, at_least: float) -> float:
            received = environ.get(name, str(default))
            try:
                value = float(received)
            except ValueError:
                value = at_least - 1
            # Written so that NaN is refused as well.
            if not at_least <= value < 1_000_000:
                raise ValueError(
                    f"received {name}={received!r}; expected a number from {at_least:g}; "
                    f"try {name}={default:g}"
                )
            return value

        def whole(name: str, default: int, at_least: int) -> int:
            value = number(name, default, at_least)
            if value != int(value):
                raise ValueError(
                    f"received {name}={environ[name]!r}; expected a whole number; "
                    f"try {name}={default}"
                )
            return int(value)

        def flag(name: str, *, default: bool) -> bool:
            received = environ.get(name, str(default)).lower()
            if received not in {"true", "1", "yes", "on", "false", "0", "no", "off"}:
                raise ValueError(f"received {name}={received!r}; expected true or false")
            return received in {"true", "1", "yes", "on"}

        plain = cls()
        return cls(
            size=whole("DATABASE_POOL_SIZE", plain.size, 1),
            max_overflow=whole("DATABASE_POOL_MAX_OVERFLOW", plain.max_overflow, 0),
            timeout=number("DATABASE_POOL_TIMEOUT", plain.timeout, 0),
            recycle=whole("DATABASE_POOL_RECYCLE", plain.recycle, 1),
            pre_ping=flag("DATABASE_POOL_PRE_PING", default=plain.pre_ping),
            external=flag("DATABASE_POOL_EXTERNAL", default=plain.external),
        )

    def engine_options(self) -> dict[str, Any]:
        """The keyword arguments of ``create_engine`` and ``create_async_engine``.

        No ``poolclass`` where this process pools: the async engine refuses ``QueuePool``.
        """
        if self.external:
            return {"poolclass": NullPool}
        return {
            "pool_size": self.size,
            "max_overflow": self.max_overflow,
            "pool_timeout": self.timeout,
            "pool_recycle": self.recycle,
            "pool_pre_ping": self.pre_ping,
        }


def normalize_url(url: str | URL, driver: Driver) -> URL:
    """*url* with *driver* named, whatever PostgreSQL form it came in.

    Raises ``DatabaseUrlError`` for another database or an unreadable URL.
    """
    if driver not in DRIVERS:
        raise DatabaseUrlError(f"received driver {driver!r}; expected one of {', '.join(DRIVERS)}")
    expected = "expected postgresql://user:password@host:5432/database"
    try:
        # SQLAlchemy knows no postgres://, which several platforms hand out.
        if isinstance(url, str) and url.startswith(("postgres://", "postgres+")):
            url = "postgresql" + url.removeprefix("postgres")
        made = make_url(url)
    except (ArgumentError, ValueError):
        # The original message may quote the URL with its password.
        raise DatabaseUrlError(
            f"received a database URL that cannot be read; {expected}; "
            "try percent-encoding the password, and a number as port"
        ) from None
    if made.get_backend_name() != "postgresql":
        raise DatabaseUrlError(f"received a URL of {made.get_backend_name()!r}; {expected}")
    return made.set(drivername=f"postgresql+{driver}")


def asyncpg_arguments(url: URL) -> tuple[URL, dict[str, Any]]:
    """Split *url* into what SQLAlchemy passes on and what asyncpg wants as ``connect_args``.

    asyncpg takes no libpq parameters by keyword: ``sslmode`` is its ``ssl``, ``connect_timeout``
    its ``timeout`` (seconds), settings go into ``server_settings``
    (asyncpg, "connect()").  Raises ``DatabaseUrlError`` for a parameter without a counterpart.
    """
    arguments: dict[str, Any] = {}
    settings: dict[str, str] = {}
    for key, value in url.query.items():
        # host and port in the query may be given once a server; asyncpg gets them from SQLAlchemy.
        if key in {"host", "port", "prepared_statement_cache_size"}:
            continue
        if not isinstance(value, str):
            raise DatabaseUrlError(f"received the parameter {key!r} twice; expected it once")
        if key == "sslmode":
            arguments["ssl"] = value
        elif key == "connect_timeout":
            # 0 is "wait for ever" to libpq, and "at once" to asyncpg.
            arguments["timeout"] = seconds(key, value) or None
        elif key == "target_session_attrs":
            arguments["target_session_attrs"] = value
        elif key in {"application_name", "search_path"}:
            settings[key] = value
        elif key == "options":
            settings |= settings_of(value)
        else:
            raise DatabaseUrlError(
                f"received the parameter {key!r}, for which asyncpg has no counterpart; "
                "expected sslmode, connect_timeout, application_name, options or "
                "target_session_attrs; try connect_args=, or the driver psycopg"
            )
    if settings:
        arguments["server_settings"] = settings
    kept = {"host", "port", "prepared_statement_cache_size"}
    return url.difference_update_query(set(url.query) - kept), arguments


def seconds(key: str, value: str) -> float:
    """*value* as seconds.  Raises ``DatabaseUrlError``."""
    if not value.isdecimal():
        raise DatabaseUrlError(f"received {key}={value!r}; expected whole seconds, for example 10")
    return float(value)


def settings_of(options: str) -> dict[str, str]:
    """The settings in libpq's ``options``: ``-c name=value`` and ``--name=value``.

    Raises ``DatabaseUrlError`` for anything else.
    """
    found: dict[str, str] = {}
    words = iter(options.split())
    for word in words:
        pair = next(words, "") if word == "-c" else word.removeprefix("--").removeprefix("-c")
        name, separator, value = pair.partition("=")
        if not word.startswith("-") or not separator:
            raise DatabaseUrlError(
                f"received options={options!r}; expected '-c name=value', for example "
                "'-c statement_timeout=60000'"
            )
        found[name.replace("-", "_")] = value
    return found


def with_url_options(url: URL, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """*arguments* of a driver on libpq: their ``options`` come behind those of *url*.

    SQLAlchemy would put them in their place.  Of a setting that is given twice the later holds.
    """
    if not arguments.get("options"):
        return dict(arguments)
    options = " ".join([*url.normalized_query.get("options", ()), arguments["options"]])
    return {**arguments, "options": options}


def create_sync_engine(
    url: str | URL,
    *,
    driver: SyncDriver = "psycopg",
    pool: PoolSettings | None = None,
    **engine_options: Any,
) -> Engine:
    """An engine for threads.  The caller keeps one a process, and disposes of it at the end.

    ``hide_parameters``: an error message, and so a log, would show the values of a failed
    statement.  Raises ``DatabaseUrlError``; connecting happens at the first use.
    """
    normalized = normalize_url(url, driver)
    options = {"hide_parameters": True, **(pool or PoolSettings()).engine_options()}
    options |= engine_options
    arguments = with_url_options(normalized, options.get("connect_args", {}))
    if pool and pool.external and driver == "psycopg":
        # The next transaction may run on another server connection: prepare nothing there.
        arguments = {"prepare_threshold": None} | arguments
    options["connect_args"] = arguments
    return create_engine(normalized, **options)


def create_asyncio_engine(
    url: str | URL,
    *,
    driver: AsyncDriver = "asyncpg",
    pool: PoolSettings | None = None,
    **engine_options: Any,
) -> AsyncEngine:
    """An engine for one event loop; ``await engine.dispose()`` before that loop ends.

    Raises ``DatabaseUrlError``; connecting happens at the first use.
    """
    normalized = normalize_url(url, driver)
    arguments: dict[str, Any] = {}
    if driver == "asyncpg":
        normalized, arguments = asyncpg_arguments(normalized)
    options = {"hide_parameters": True, **(pool or PoolSettings()).engine_options()}
    options |= engine_options
    if pool and pool.external:
        arguments |= (
            {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
            if driver == "asyncpg"
            else {"prepare_threshold": None}
        )
    given = with_url_options(normalized, options.get("connect_args", {}))
    if "server_settings" in arguments and "server_settings" in given:
        given["server_settings"] = arguments["server_settings"] | given["server_settings"]
    options["connect_args"] = arguments | given
    return create_async_engine(normalized, **options)


def session_factory(engine: Engine) -> sessionmaker[Session]:
    """Sessions of *engine*: ``with factory.begin() as session`` is one unit of work."""
    return sessionmaker(engine)


def async_session_factory(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Sessions of *engine*.

    ``expire_on_commit=False``: after a commit, an attribute would be loaded again on access, which
    asyncio refuses.  The price: what you hold may be stale; ``refresh`` it.
    """
    return async_sessionmaker(engine, expire_on_commit=False)


def get_db_session(factory: sessionmaker[Session]) -> Iterator[Session]:
    """A dependency: one session a request, closed after it.  **The caller commits.**

    A commit behind the ``yield`` runs when the caller is done and cannot answer any more that it
    failed.  What was not committed is rolled back by the close.
    """
    with factory() as session:
        yield session


async def get_async_db(factory: async_sessionmaker[AsyncSession]) -> AsyncIterator[AsyncSession]:
    """The same for asyncio: one session a request, and the caller commits."""
    async with factory() as session:
        yield session
