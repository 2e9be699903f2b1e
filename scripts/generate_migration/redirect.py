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
from sqlalchemy.pool import Pool

from .scratch import installed

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


class Redirection:
    """Where the connections of this process go; nowhere of ours until ``to`` says so."""

    def __init__(self) -> None:
        self.target: URL | None = None

    @contextmanager
    def to(self, url: URL) -> Iterator[None]:
        """Within: every connection to PostgreSQL that SQLAlchemy makes goes to *url*.

        Settings of the session stay (``options``, ``server_settings``); address, role, password,
        TLS and ``creator`` do not.  A connection that a pool kept from another target is replaced.
        """
        with ExitStack() as stack:
            self.target = url
            stack.callback(setattr, self, "target", None)
            stack.enter_context(steered(url))
            stack.enter_context(self._creators())
            for target, name, function in (
                (Engine, "do_connect", self._connect),
                (Pool, "checkout", self._checkout),
            ):
                event.listen(target, name, function)
                stack.callback(event.remove, target, name, function)
            yield

    def _connect(
        self, dialect: Dialect, record: Any, _arguments: Any, keywords: Mapping[str, Any]
    ) -> Any:
        """The connection to return in place of what the engine would make."""
        if self.target is None or dialect.name != "postgresql":
            return None
        if record is not None:
            record.info[OURS] = self.target
        place = at(self.target, dialect.driver)
        arguments, places = dialect.create_connect_args(place)
        kept = {name: keywords[name] for name in KEPT.get(dialect.driver, set()) & set(keywords)}
        return dialect.connect(*arguments, **{**places, **kept})

    def _checkout(self, _connection: Any, record: Any, _proxy: Any) -> None:
        """Refuse what a pool has kept; the pool then makes a new one."""
        if record.info.get(OURS, self.target) != self.target:
            raise DisconnectionError("this connection leads to another scratch database")

    @contextmanager
    def _creators(self) -> Iterator[None]:
        """Within: a new pool makes no connection by a ``creator`` of the user's.

        SQLAlchemy asks no event before it calls one.
        """
        plain = Pool.__init__

        def init(pool: Pool, creator: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
            dialect: Any = keywords.get("dialect")
            own = getattr(creator, "__module__", "") == "sqlalchemy.engine.create"

            def create(record: Any) -> Any:
                return self._connect(dialect, record, (), {}) or creator()

            foreign = dialect is not None and dialect.name == "postgresql" and not own
            chosen: Any = create if foreign else creator
            plain(pool, chosen, *arguments, **keywords)

        setattr(Pool, "__init__", init)  # noqa: B010 - mypy knows no other way
        try:
            yield
        finally:
            setattr(Pool, "__init__", plain)  # noqa: B010


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
