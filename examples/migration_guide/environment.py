"""The Alembic environment: URL rules, time-outs, one deployment at a time, a strict comparison.

Problem: the generated ``env.py`` keeps the URL in a file, waits for locks without limit while every
query queues behind it, lets two deployments collide, and compares less than it could.  Pattern: one
function that ``env.py`` calls.  Needs ``database.py``, Alembic 1.18, and a connection of its own to
the server: PgBouncer in transaction mode keeps no session lock.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from alembic import context
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, MetaData, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.schema import SchemaItem

from ..database import (
    DatabaseUrlError,
    Driver,
    PoolSettings,
    create_asyncio_engine,
    create_sync_engine,
    normalize_url,
)
from .autogenerate import PLUGINS, register
from .deployment_lock import deployment_lock

log = logging.getLogger("alembic.runtime.migration")
# lock_not_available, deadlock_detected: somebody was in the way, and may not be a second time.
IN_THE_WAY = ("55P03", "40P01")

Plan: TypeAlias = Callable[[tuple[str, ...], MigrationContext], Iterable[RevisionStep]]
"""From the heads of the database to the revisions to run: Alembic's ``fn``."""


@dataclass(frozen=True, kw_only=True)
class MigrationSettings:
    """How long a migration may stand in the way; each is an option: ``-x lock-timeout=2s``."""

    lock_timeout: str = "500ms"
    """How long a statement waits for its lock: whatever comes after it queues that long as well.
    Below ``deadlock_timeout`` (1s), so that in a deadlock it is the migration that gives way."""
    statement_timeout: str = "60s"
    """How long it may run.  A revision that must run longer lifts it, and resets it."""
    lock_attempts: int = 20
    """How often a revision that got no lock is tried again."""
    deployment_wait: float = 600.0
    """Seconds to wait for another deployment to end."""

    @classmethod
    def from_x_arguments(cls, given: Mapping[str, str]) -> MigrationSettings:
        """Read Alembic's ``-x name=value``.  Raises ``CommandError`` for what is no such value."""
        plain = cls()
        found: dict[str, Any] = {}
        for name in ("lock_timeout", "statement_timeout"):
            value = given.get(name.replace("_", "-"), getattr(plain, name))
            if not re.fullmatch(r"\d+(ms|s|min|h)?", value):
                raise CommandError(
                    f"received -x {name.replace('_', '-')}={value}; expected a time such as 500ms "
                    "or 2s; try leaving it out"
                )
            found[name] = value
        for name, kind, least in (("lock_attempts", int, 1), ("deployment_wait", float, 0)):
            value = given.get(name.replace("_", "-"), str(getattr(plain, name)))
            try:
                found[name] = kind(value)
            except ValueError:
                found[name] = least - 1
            # Written so that NaN is refused as well.
            if not found[name] >= least:
                raise CommandError(
                    f"received -x {name.replace('_', '-')}={value}; expected a number from "
                    f"{least}; try leaving it out"
                )
        return cls(**found)


def run_migrations(metadata: MetaData) -> None:
    """Do what the command asked for: migrate, compare, or print SQL.  ``env.py`` calls this.

    Raises ``CommandError``, which Alembic prints without a traceback.
    """
    settings = MigrationSettings.from_x_arguments(context.get_x_argument(as_dictionary=True))
    if context.is_offline_mode():
        print_sql(metadata, settings)
        return
    url, driver = database_url(context.config.attributes.get("database_url"))
    url = with_timeouts(url, settings)
    # No pool, and nothing prepared: a plan made before a migration may not fit after it.
    unpooled = PoolSettings(external=True)
    try:
        if driver == "asyncpg":
            engine = create_asyncio_engine(url, pool=unpooled)
            asyncio.run(migrate_async(metadata, settings, engine))
        else:
            with connect(create_sync_engine(url, driver=driver, pool=unpooled)) as connection:
                migrate(metadata, settings, connection)
    except DatabaseUrlError as error:
        raise CommandError(str(error)) from None


def connect(engine: Engine) -> Connection:
    """A connection, or the driver's reason as a ``CommandError``."""
    try:
        return engine.connect()
    except DBAPIError as error:
        raise unreachable(engine.url, error) from None


def unreachable(url: URL, error: Exception) -> CommandError:
    """That nobody answers at *url*, which is shown without its password."""
    # Nor its query: libpq takes a password there too, and SQLAlchemy would show that one.
    shown = url.set(query={}).render_as_string(hide_password=True)
    reason = " ".join(str(getattr(error, "orig", error)).split())
    return CommandError(
        f"received the database URL {shown}, and it failed: {reason}; "
        "expected a PostgreSQL that answers there; try: psql with the same URL"
    )


async def migrate_async(
    metadata: MetaData, settings: MigrationSettings, engine: AsyncEngine
) -> None:
    """The same through an async driver: Alembic itself runs in SQLAlchemy's greenlet."""
    try:
        connection = await engine.connect()
    except Exception as error:  # on SQLAlchemy 2.0 the driver's own come through as they are
        raise unreachable(engine.url, error) from None
    try:
        await connection.run_sync(lambda sync: migrate(metadata, settings, sync))
    finally:
        await connection.close()
        await engine.dispose()


def migrate(metadata: MetaData, settings: MigrationSettings, connection: Connection) -> None:
    """Run the command on *connection*; what changes the schema holds the deployment's lock.

    A revision that got no lock in time is rolled back and tried again: those before it are
    committed, so the next attempt goes on from there.
    """
    if not changes_schema():
        configure(metadata, connection)
        with warnings.catch_warnings(), context.begin_transaction():
            # SQLAlchemy's own, when it reflects a CHECK that is NOT VALID; nothing is lost by it.
            reflected = "Can't validate argument '(dialect_options|not_valid)'"
            warnings.filterwarnings("ignore", reflected)
            context.run_migrations()
        return
    with deployment_lock(connection, settings.deployment_wait):
        configure(metadata, connection)
        plan = resumable(context.get_context().opts["fn"])
        for attempt in range(1, settings.lock_attempts + 1):
            # Anew each time: the heads are read now, after whoever held the lock before us.
            configure(metadata, connection, fn=plan)
            try:
                with context.begin_transaction():
                    context.run_migrations()
                return
            except DBAPIError as error:
                connection.rollback()
                if sqlstate_of(error) not in IN_THE_WAY:
                    raise
                if attempt == settings.lock_attempts:
                    raise CommandError(
                        f"received no lock within {settings.lock_timeout}, {attempt} times; "
                        "expected a moment without a long transaction; "
                        "try: look for the oldest xact_start in pg_stat_activity; where that is "
                        "an autovacuum, which gives way to who waits beyond deadlock_timeout: "
                        "-x lock-timeout=2s"
                    ) from error
            log.info("no lock within %s, trying again", settings.lock_timeout)
            # Longer each time, and never in step with whatever holds the lock.
            time.sleep(random.uniform(0.1, 0.2) * attempt)  # noqa: S311 - no secret


def resumable(plan: Plan) -> Plan:
    """*plan*, made once: a later attempt runs what an earlier one has left.

    Made anew, ``downgrade -2`` would count from the heads of then, and go too far.
    """
    planned_at: tuple[str, ...] | None = None
    left: deque[RevisionStep] = deque()

    def steps(heads: tuple[str, ...], running: MigrationContext) -> Iterator[RevisionStep]:
        nonlocal planned_at, left
        # As long as nothing is committed, the heads are the same, and so is the plan.
        if planned_at in {None, heads}:
            planned_at, left = heads, deque(plan(heads, running))
        while left:
            yield left[0]
            # Alembic asks for the next one when this one is committed.
            left.popleft()

    return steps


def sqlstate_of(error: DBAPIError) -> str | None:
    """PostgreSQL's code of *error*; psycopg2 calls it ``pgcode``."""
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


def changes_schema() -> bool:
    """Whether the command upgrades, downgrades or stamps; the others only read."""
    try:
        context.get_revision_argument()
    except KeyError:
        return False
    return True


def configure(metadata: MetaData, connection: Connection, **more: Any) -> None:
    """Compare all that Alembic can compare, and give each revision its own transaction."""
    register()
    include_object = partition_filter(connection)
    # In a transaction Alembic would believe that somebody else commits, and begin none.
    connection.rollback()
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transaction_per_migration=True,
        compare_type=True,
        compare_server_default=True,
        autogenerate_plugins=PLUGINS,
        include_object=include_object,
        **more,
    )


def partition_filter(connection: Connection) -> Callable[..., bool]:
    """An ``include_object`` that passes over partitions: they come and go without a revision."""
    names = text("SELECT relname FROM pg_class WHERE relispartition AND relkind IN ('r', 'p')")
    partitions = set(connection.scalars(names))

    def include(
        item: SchemaItem, name: str | None, kind: str, reflected: bool, compared: object
    ) -> bool:
        del item, compared
        return not (kind == "table" and reflected and name in partitions)

    return include


def print_sql(metadata: MetaData, settings: MigrationSettings) -> None:
    """``alembic upgrade --sql``: a script for psql, with the same time-outs."""

    def set_timeouts(*_: object, **__: object) -> None:
        # After each revision again: one that lifted them resets them to the session's beginning,
        # where psql knows of none.
        context.execute(f"SET lock_timeout = '{settings.lock_timeout}'")
        context.execute(f"SET statement_timeout = '{settings.statement_timeout}'")

    context.configure(
        dialect_name="postgresql",
        target_metadata=metadata,
        literal_binds=True,
        # Otherwise each % of a CHECK or a LIKE is printed twice, and psql takes it at its word.
        dialect_opts={"paramstyle": "named"},
        transaction_per_migration=True,
        on_version_apply=set_timeouts,
    )
    set_timeouts()
    with context.begin_transaction():
        context.run_migrations()


def database_url(given: str | URL | None) -> tuple[URL, Driver]:
    """The URL and its driver: *given* by a program, else ``DATABASE_URL``.  psycopg unless named.

    Raises ``CommandError`` where there is none, or one that cannot be used.
    """
    received = given or os.environ.get("DATABASE_URL")
    if not received:
        raise CommandError(
            "received no DATABASE_URL; expected postgresql://user:password@host:5432/database; "
            "try: export DATABASE_URL=…"
        )
    try:
        named = normalize_url(received, "psycopg")
        scheme = received.drivername if isinstance(received, URL) else received.partition("://")[0]
    except DatabaseUrlError as error:
        raise CommandError(str(error)) from None
    drivers: dict[str, Driver] = {"asyncpg": "asyncpg", "psycopg2": "psycopg2"}
    return named, drivers.get(scheme.partition("+")[2], "psycopg")


def with_timeouts(url: URL, settings: MigrationSettings) -> URL:
    """*url* whose sessions start with the time-outs: RESET in a revision returns to them."""
    already = url.query.get("options", "")
    options = (
        f"{already if isinstance(already, str) else ' '.join(already)} "
        f"-c lock_timeout={settings.lock_timeout} "
        f"-c statement_timeout={settings.statement_timeout} -c application_name=alembic"
    )
    return url.update_query_dict({"options": options.strip()})
