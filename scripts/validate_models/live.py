"""Looks at a live PostgreSQL: one READ ONLY transaction, bounded, and never a password shown."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from . import live_alembic
from .core import Hit, Live, Project
from .live_catalog import Catalog
from .live_compare import Pair, compare_columns, compare_enums, stored
from .live_exclusions import compare_exclusions
from .live_facts import database_facts, missing_extensions, unknown_tables
from .live_indexes import compare_indexes
from .live_keys import (
    compare_checks,
    compare_foreign_keys,
    compare_primary_key,
    compare_unique,
)
from .live_normal import Normal
from .targets import TargetError, one_line

CONNECT_SECONDS = 10
NAME = "validate-models"
LIMITS = ("SET LOCAL statement_timeout = '30s'", "SET LOCAL lock_timeout = '2s'")
OLDEST = 150_000
SYNC = ("psycopg", "psycopg2")
TRY = "--database-url postgresql+psycopg://reader@127.0.0.1/app, or env:DATABASE_URL"
Answer = TypeVar("Answer")


# --- The URL --------------------------------------------------------------------------------------


def given_url(given: str) -> URL:
    """The URL, or that of ``env:NAME``.  Raises ``TargetError``, in which no value is shown."""
    shown = given if given.startswith("env:") else "a --database-url"
    if given.startswith("env:"):
        name = given.removeprefix("env:")
        if not os.environ.get(name):
            raise TargetError(
                f"received --database-url {given}, and {name or 'that'} is not set.\n"
                "expected: a variable of the environment that holds a URL\n"
                f"try: --env-file .env, or {TRY}"
            )
        given = os.environ[name]
    if given.startswith("postgres://"):
        given = given.replace("postgres://", "postgresql://", 1)
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        raise TargetError(
            f"received {shown} that is no URL.\nexpected: postgresql://USER@HOST/DATABASE\n"
            f"try: {TRY}"
        ) from None
    if url.get_backend_name() != "postgresql":
        raise TargetError(
            f"received {shown} of {url.get_backend_name()}.\nexpected: PostgreSQL\ntry: {TRY}"
        )
    if "@" in misread(url, given):  # no part is shown: any may be the password's
        raise TargetError(
            f"received {shown} with an @ too many: one in the password is not percent-encoded.\n"
            "expected: postgresql://USER:PASSWORD@HOST/DATABASE\n"
            "try: in the password %40 for @, %2F for /, %3A for :, %3F for ?, %25 for %"
        )
    return url


def misread(url: URL, given: str) -> str:
    """Where the end of a password is taken for: its @ was not written ``%40``."""
    query = given.partition("@")[2].partition("?")[2]
    odd = [part for part in query.split("&") if "@" in part.partition("=")[0]]
    return "".join([url.host or "", url.database or "", *odd])


def installed(driver: str) -> bool:
    """Whether *driver* can be imported."""
    return find_spec(driver) is not None


def with_driver(url: URL) -> tuple[URL, str | None]:
    """*url* with a driver that is installed, and a note where it is not the one it names.

    Raises ``TargetError`` where there is none.
    """
    asked = url.drivername.partition("+")[2]
    wanted = asked.removesuffix("_async")
    if wanted in SYNC and installed(wanted):
        return url.set(drivername=f"postgresql+{wanted}"), None
    if wanted in ("", "asyncpg"):
        for driver in SYNC:
            if installed(driver):
                note = f"connects by {driver}, not by asyncpg" if wanted else None
                return for_libpq(url.set(drivername=f"postgresql+{driver}")), note
        if installed("asyncpg"):
            return url.set(drivername="postgresql+asyncpg"), None
    missing = asked or "none"
    raise TargetError(
        f"received a --database-url with the driver {missing}, which is not installed.\n"
        f"expected: {', '.join(SYNC)} or asyncpg in this interpreter\n"
        "try: python -m pip install 'psycopg[binary]'"
    )


def for_libpq(url: URL) -> URL:
    """*url* without what asyncpg alone understands; its ``ssl`` is libpq's ``sslmode``."""
    query = dict(url.query)
    mode = query.pop("ssl", None)
    for name in list(query):
        if name.startswith("prepared_statement_") or name in ("command_timeout", "timeout"):
            query.pop(name)
    if isinstance(mode, str) and "sslmode" not in query:
        query["sslmode"] = {"true": "require", "false": "disable"}.get(mode.lower(), mode)
    return url.set(query=query)


def place(url: URL) -> str:
    """``reader@host:5432/app``: who, where, without the password."""
    host = url.host or url.query.get("host") or "the local socket"
    return f"{url.username or 'nobody named'}@{host}:{url.port or 5432}/{url.database or ''}"


def reason(error: BaseException, url: URL) -> str:
    """The driver's own words on one line, without the password."""
    origin = getattr(error, "orig", None) or error
    found = one_line(origin)
    secrets = [url.password, url.query.get("password")]
    for secret in secrets:
        if secret:
            found = found.replace(str(secret), "***")
    return found


def advice(found: str) -> str:
    """What most often helps."""
    words = found.lower()
    if "password" in words or "authentication" in words or "pg_hba" in words:
        return "the user and the password of the URL; a password with @ or / is written %40, %2F"
    if "does not exist" in words:
        return "the name of the database or of the role"
    if "ssl" in words:
        return "?sslmode=require, or what the server offers"
    return "whether the server runs, and host and port of the URL"


# --- The transaction ------------------------------------------------------------------------------


def in_transaction(url: URL, work: Callable[[Connection], Answer]) -> Answer:
    """*work* within one READ ONLY transaction, which is undone; the connection is closed."""
    options: dict[str, Any] = {"poolclass": NullPool}
    if url.drivername.endswith("asyncpg"):
        arguments: dict[str, Any] = {
            "timeout": CONNECT_SECONDS,
            "server_settings": {"application_name": NAME},
        }
        return asyncio.run(by_asyncpg(url, {**options, "connect_args": arguments}, work))
    query = {key: value for key, value in url.query.items() if key != "application_name"}
    arguments = {"application_name": NAME}
    if "connect_timeout" not in query:
        arguments["connect_timeout"] = CONNECT_SECONDS
    engine = create_engine(url.set(query=query), connect_args=arguments, **options)
    try:
        with connected(url, engine.connect) as connection:
            return within(connection, work)
    finally:
        engine.dispose()


async def by_asyncpg(
    url: URL, options: dict[str, Any], work: Callable[[Connection], Answer]
) -> Answer:
    """The same where asyncpg is the only driver."""
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url, **options)
    try:
        try:
            connection = await engine.connect()
        except Exception as error:
            raise unreachable(error, url) from None
        try:
            return await connection.run_sync(within, work)
        finally:
            await connection.close()
    finally:
        await engine.dispose()


@contextlib.contextmanager
def connected(url: URL, connect: Callable[[], Connection]) -> Iterator[Connection]:
    """A connection.  Raises ``TargetError`` where there is none."""
    try:
        connection = connect()
    except Exception as error:  # drivers raise what they like: OSError, ValueError, their own
        raise unreachable(error, url) from None
    with connection:
        yield connection


def unreachable(error: BaseException, url: URL) -> TargetError:
    """What to say of a connection that failed."""
    found = reason(error, url)
    if isinstance(error, NoSuchModuleError):
        found = f"no dialect for {url.drivername}"
    return TargetError(
        f"received --database-url, and {place(url)} cannot be reached: {found}\n"
        f"expected: a PostgreSQL that lets this role connect\ntry: {advice(found)}"
    )


def within(connection: Connection, work: Callable[[Connection], Answer]) -> Answer:
    """*work* in REPEATABLE READ, READ ONLY, with time-outs."""
    connection = connection.execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    )
    with connection.begin() as transaction:
        for statement in LIMITS:
            connection.execute(text(statement))
        is_postgres = str(connection.scalar(text("SELECT version()"))).startswith("PostgreSQL")
        number = connection.scalar(text("SELECT current_setting('server_version_num')::int"))
        if not is_postgres or int(number or 0) < OLDEST:
            raise TargetError(
                f"received --database-url of a server of version number {number}.\n"
                "expected: PostgreSQL 15 or newer\ntry: the server that production runs"
            )
        answer = work(connection)
        transaction.rollback()
        return answer


# --- The comparison -------------------------------------------------------------------------------


def look(project: Project, given: str, asked: frozenset[str]) -> Live:
    """What differs between the models and the database, by rule.  Raises ``TargetError``."""
    url, note = with_driver(given_url(given))
    live = Live(notes=[note] if note else [])
    try:
        in_transaction(url, lambda connection: read(connection, project, asked, live))
    except (SQLAlchemyError, OSError) as error:
        kind = "a statement failed" if isinstance(error, DBAPIError) else "reading failed"
        raise TargetError(
            f"received --database-url {place(url)}, and {kind}: {reason(error, url)}\n"
            "expected: a role that may read the catalogue\n"
            "try: the same when the database is less busy"
        ) from None
    return live


def read(connection: Connection, project: Project, asked: frozenset[str], live: Live) -> None:
    """Fill *live*."""
    catalog, normal = Catalog(connection), Normal(connection)
    pairs = list(paired(project, catalog, normal, live))
    catalog.fill(pair.relation for pair in pairs)
    seen: set[tuple[str | None, str]] = set()
    for pair in pairs:
        for rule, hit in differences(pair, asked, seen):
            live.add(rule, hit)
    for rule, hit in unknown_tables(project, catalog):
        live.add(rule, hit)
    live.notes.append(ask_alembic(connection, pairs, live))
    live.notes += dict.fromkeys(note for pair in pairs for note in pair.notes)


def paired(project: Project, catalog: Catalog, normal: Normal, live: Live) -> Iterator[Pair]:
    """Each table with its relation; one that is missing is a finding."""
    for table in project.tables:
        if table.schema in {"pg_catalog", "information_schema"}:
            continue
        name = stored(table.name)
        relation = catalog.find(table.schema, name)
        hidden = catalog.hidden(table.schema, name)
        # One with its schema is found although PostgreSQL refuses to read what belongs to it.
        if hidden is not None and relation in (None, hidden):
            raise TargetError(
                f"received --database-url with a role that may not use the schema "
                f"{hidden.schema}, where {name} is.\nexpected: a role that may read\n"
                f"try: GRANT USAGE ON SCHEMA {hidden.schema} TO that role"
            )
        if relation is None:
            owner = project.owners.get(table)
            message = f"the database has no table {table.key}"
            live.add("drift-table", Hit(message, mapper=owner, table=table))
            continue
        yield Pair(table, relation, project, normal, catalog)


def differences(
    pair: Pair, asked: frozenset[str], seen: set[tuple[str | None, str]]
) -> Iterator[tuple[str, Hit]]:
    """All that is to say of one table; of a view, its columns alone."""
    yield from missing_extensions(pair)
    yield from compare_columns(pair)
    yield from compare_enums(pair, seen)
    if not pair.relation.is_table:
        return
    yield from compare_primary_key(pair)
    yield from compare_unique(pair)
    yield from compare_exclusions(pair)
    yield from compare_foreign_keys(pair)
    yield from compare_checks(pair)
    facts = list(database_facts(pair, asked))
    yield from facts
    # One cause, one finding: what is broken or a copy is told as that.
    told = {hit.item for rule, hit in facts if rule in {"invalid-index", "live-duplicate-index"}}
    for rule, hit in compare_indexes(pair):
        if hit.item not in told:
            yield rule, hit


def ask_alembic(connection: Connection, pairs: list[Pair], live: Live) -> str:
    """The second opinion; and which comparison it was."""
    version = live_alembic.version()
    if version is None:
        return "compared by the catalogue; Alembic is not installed"
    for metadata in dict.fromkeys(pair.table.metadata for pair in pairs):
        own = [pair for pair in pairs if pair.table.metadata is metadata]
        savepoint = connection.begin_nested()
        try:
            found = live_alembic.compare(connection, metadata, own)
        except Exception as error:  # of models that it cannot compare, ours is enough
            savepoint.rollback()
            return f"compared by the catalogue; Alembic {version} failed: {one_line(error)}"
        savepoint.rollback()
        for rule, hit in live_alembic.second_opinion(found, own):
            live.add(rule, hit)
    return f"compared by the catalogue and Alembic {version}"
