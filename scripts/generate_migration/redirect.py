"""Send every PostgreSQL connection of the project to a database of ours, whatever its URL says.

The user's ``env.py`` runs as it is, and no server that it names is ever asked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from sqlalchemy import URL, Engine, event, make_url
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from .scratch import OWN, installed

OURS = "soe_target"
# How a session behaves, as opposed to where it is and who it is.
KEPT = {
    "psycopg": {"options", "application_name", "client_encoding", "connect_timeout"}
    | {"autocommit", "context", "cursor_factory", "prepare_threshold"},
    "psycopg2": {"options", "application_name", "client_encoding", "connect_timeout"}
    | {"connection_factory", "cursor_factory"},
    "asyncpg": {"server_settings", "timeout", "command_timeout", "connection_class"}
    | {"statement_cache_size", "max_cached_statement_lifetime", "max_cacheable_statement_size"}
    | {"prepared_statement_cache_size", "prepared_statement_name_func"},
}
URL_OF_POSTGRES = re.compile(r"\s*postgres(ql)?(\+\w+)?://", re.IGNORECASE)
PLACES = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "username", "PGPASSWORD": "password"}
PLACES |= {"PGDATABASE": "database"}


class Unasked(Exception):
    """A connection is wanted while no migration runs: no database of ours is meant for it."""


class Redirection:
    """Where the connections of this process go; nowhere until ``to`` says so."""

    def __init__(self) -> None:
        self.target: URL | None = None
        self._is_on = False

    @contextmanager
    def on(self) -> Iterator[None]:
        """Within: SQLAlchemy reaches a PostgreSQL for us, and by way of ``to``; else ``Unasked``.

        It is to be on before any code of the user's is imported: an engine that was made earlier
        could have a ``creator``, of which SQLAlchemy tells nobody.
        """
        if self._is_on:
            yield
            return
        with ExitStack() as stack:
            self._is_on = True
            stack.callback(setattr, self, "_is_on", False)
            stack.enter_context(self._creators())
            for target, name, function in (
                (Engine, "do_connect", self._connect),
                (Pool, "checkout", self._checkout),
            ):
                event.listen(target, name, function)
                stack.callback(event.remove, target, name, function)
            yield

    @contextmanager
    def to(self, url: URL) -> Iterator[None]:
        """Within: every connection to PostgreSQL that SQLAlchemy makes goes to *url*.

        Settings of the session stay (``options``, ``server_settings``); address, role, password,
        TLS and ``creator`` do not.  A connection that a pool kept from another target is replaced.
        """
        with self.on(), steered(url):
            self.target = url
            try:
                yield
            finally:
                self.target = None

    def _connect(
        self, dialect: Dialect, record: Any, _arguments: Any, keywords: Mapping[str, Any]
    ) -> Any:
        """The connection to return in place of what the engine would make; None lets it be made."""
        if not foreign(dialect):
            return None
        if self.target is None:
            raise Unasked("a connection is wanted while no migration runs")
        if record is not None:
            record.info[OURS] = self.target
        place = at(self.target, dialect.driver)
        arguments, places = dialect.create_connect_args(place)
        kept = {name: keywords[name] for name in KEPT.get(dialect.driver, set()) & set(keywords)}
        return dialect.connect(*arguments, **{**places, **kept})

    def _checkout(self, _connection: Any, record: Any, proxy: Any) -> None:
        """Refuse what a pool has kept, or has from elsewhere; the pool then makes a new one."""
        is_ours = self.target is not None and record.info.get(OURS) == self.target
        if foreign(proxy._pool._dialect) and not is_ours:
            raise DisconnectionError("this connection leads to another database")

    @contextmanager
    def _creators(self) -> Iterator[None]:
        """Within: a new pool makes no connection by a ``creator`` of the user's, then or later.

        SQLAlchemy asks no event before it calls one.
        """
        plain = Pool.__init__

        def init(pool: Pool, creator: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
            plain(pool, creator, *arguments, **keywords)
            if getattr(creator, "__module__", "") == "sqlalchemy.engine.create":
                return  # an engine's own, which asks
            made = pool._invoke_creator

            def create(rec: ConnectionPoolEntry) -> Any:
                # Of a pool that is given to an engine, the dialect is known only later.
                dialect: Any = pool._dialect
                return self._connect(dialect, rec, (), {}) if foreign(dialect) else made(rec)

            pool._invoke_creator = create

        setattr(Pool, "__init__", init)  # noqa: B010 - mypy knows no other way
        try:
            yield
        finally:
            setattr(Pool, "__init__", plain)  # noqa: B010


def foreign(dialect: Any) -> bool:
    """Whether it is PostgreSQL's, and not that of an engine of ours; a lone pool has none."""
    return getattr(dialect, "name", "") == "postgresql" and dialect not in OWN


def at(url: URL, driver: str) -> URL:
    """*url* for *driver*, with the parameters that this one knows."""
    query: dict[str, Any] = dict(url.query)
    if driver == "asyncpg":
        if "sslmode" in query:
            query["ssl"] = query["sslmode"]
        query = {name: query[name] for name in ("ssl", "host", "port") if name in query}
    elif driver not in {"psycopg", "psycopg2"}:
        query = {}
    return url.set(drivername=f"postgresql+{driver}", query=query)


# --- The environment ------------------------------------------------------------------------------


@contextmanager
def steered(url: URL) -> Iterator[None]:
    """Within: every variable that names a PostgreSQL names *url*; ``DATABASE_URL`` is set."""
    saved = dict(os.environ)
    os.environ.update(named(url, os.environ))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


def named(url: URL, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables to set so that *environ* names *url*, by the drivers that it names now."""
    found = {"DATABASE_URL": at(url, installed()[0]).render_as_string(hide_password=False)}
    for name, value in environ.items():
        if URL_OF_POSTGRES.match(value):
            found[name] = same_way(value.strip(), url)
        elif name in PLACES and (part := getattr(url, PLACES[name])):
            found[name] = str(part)
    return found


def same_way(value: str, url: URL) -> str:
    """*url* with the scheme and the session's settings of the URL *value*."""
    scheme = value.partition("://")[0]
    place = at(url, scheme.partition("+")[2] or installed()[0])
    try:
        query = make_url(value).query
    except (ArgumentError, ValueError):
        query = {}  # type: ignore[assignment]
    known = KEPT["psycopg"] | KEPT["asyncpg"]
    kept = {name: query[name] for name in query if name in known}
    return (
        place.set(drivername=scheme).update_query_dict(kept).render_as_string(hide_password=False)
    )
