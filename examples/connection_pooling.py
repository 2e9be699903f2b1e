"""Connection pooling: counted before it is deployed, bounded in every wait, and watched.

Problem: each process pools for itself, the server's connections are shared by all, and what goes
wrong (a leak, a fork, a second event loop, PgBouncer) shows far from its cause.  Pattern: compute
the pool from the server's own limit, bound every wait in one function, ask the pool who holds what.
Not for a script that opens one connection, or for a function service: there ``NullPool`` does.
"""

from __future__ import annotations

import os
import sys
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from types import FrameType
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    DateTime,
    Engine,
    Integer,
    QueuePool,
    Select,
    Text,
    TextClause,
    cast,
    column,
    event,
    func,
    select,
    table,
    text,
)
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from .database import AsyncDriver, Driver, PoolSettings, create_asyncio_engine, create_sync_engine

# --- How many -------------------------------------------------------------------------------------


class TooManyConnections(ValueError):
    """The pools of all processes do not fit: what was received, what the server has."""


def usable_connections() -> Select[int]:
    """How many connections this role may have to this database, all processes together.

    ``max_connections`` less what is reserved (``reserved_connections`` is new in PostgreSQL 16), or
    the CONNECTION LIMIT of the role or of the database where that is lower.
    """

    def setting(name: str) -> Any:
        return func.coalesce(cast(func.current_setting(name, True), Integer), 0)

    roles = table("pg_roles", column("rolname"), column("rolconnlimit", Integer))
    databases = table("pg_database", column("datname"), column("datconnlimit", Integer))
    of_role = select(func.nullif(roles.c.rolconnlimit, -1)).where(
        roles.c.rolname == func.session_user()
    )
    of_database = select(func.nullif(databases.c.datconnlimit, -1)).where(
        databases.c.datname == func.current_database()
    )
    server = (
        setting("max_connections")
        - setting("superuser_reserved_connections")
        - setting("reserved_connections")
    )
    # least() passes over NULL: no limit.
    return select(func.least(server, of_role.scalar_subquery(), of_database.scalar_subquery()))


def require_fit(
    pool: PoolSettings, usable: int, *, processes: int, others: int = 10, generations: int = 2
) -> int:
    """The most connections that *processes* with *pool* open.  Raises ``TooManyConnections``.

    *processes* of all machines: replicas x workers.  *others* is what migrations, jobs and people
    take.  *generations*: 2 where a deployment starts the new processes before the old ones end.
    """
    if pool.external:
        raise ValueError("received external=True: PgBouncer's own pool_size is what to count")
    if pool.size < 1 or pool.max_overflow < 0:  # QueuePool's "no limit": size 0, overflow -1
        raise TooManyConnections(
            f"received size={pool.size}, max_overflow={pool.max_overflow}, a pool without limit; "
            "expected a size of at least 1 and an overflow of at least 0"
        )
    most = processes * generations * (pool.size + pool.max_overflow)
    if most + others > usable:
        raise TooManyConnections(
            f"received {processes} processes x {generations} generations x ({pool.size} + "
            f"{pool.max_overflow}) + {others} others = {most + others} connections; expected at "
            f"most {usable}; try a smaller pool, fewer processes, or PgBouncer"
        )
    return most


def fitting_pool(
    usable: int, *, processes: int, others: int = 10, generations: int = 2
) -> PoolSettings:
    """The largest pool that ``require_fit`` takes, half of it as overflow.

    Raises ``TooManyConnections`` where a process would get none.
    """
    share = (usable - others) // (processes * generations)
    pool = PoolSettings(size=max(1, share - share // 2), max_overflow=max(0, share // 2))
    require_fit(pool, usable, processes=processes, others=others, generations=generations)
    return pool


def who_is_connected() -> Select[str, str, int, timedelta | None]:
    """``(application, state, connections, age of the oldest transaction)``, most first.

    The states of other roles are seen by superusers and ``pg_read_all_stats``.
    """
    activity = table(
        "pg_stat_activity",
        column("application_name", Text),
        column("state", Text),
        column("datname", Text),
        column("xact_start", DateTime(timezone=True)),
    )
    application, state = activity.c.application_name, func.coalesce(activity.c.state, "unknown")
    count: Any = func.count()
    oldest: Any = func.max(func.clock_timestamp() - activity.c.xact_start)
    return (
        select(application, state, count, oldest)
        .where(activity.c.datname == func.current_database())
        .group_by(application, state)
        .order_by(count.desc(), application, state)
    )


# --- How long -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Waits:
    """How long anything may wait; and the name under which ``pg_stat_activity`` shows us."""

    application_name: str = "desk"
    connect: int = 5
    """Seconds until a new connection stands."""
    statement: int = 30_000
    """Milliseconds that a statement may run."""
    lock: int = 5_000
    """Milliseconds that a statement waits for each lock."""
    idle_in_transaction: int = 60_000
    """Milliseconds after which the server ends a session that holds a transaction and is idle."""
    peer: int = 30
    """Seconds without a sign of life after which the other side is asked, by TCP keepalives."""

    def server_settings(self) -> dict[str, str]:
        """What the server keeps watch over."""
        return {
            "statement_timeout": f"{self.statement}ms",
            "lock_timeout": f"{self.lock}ms",
            "idle_in_transaction_session_timeout": f"{self.idle_in_transaction}ms",
            # The server's side: the locks of a machine that is gone are free again.
            "tcp_keepalives_idle": str(self.peer),
            "tcp_keepalives_interval": "10",
            "tcp_keepalives_count": "3",
        }


def connect_args(
    driver: Driver, waits: Waits | None = None, *, pgbouncer: bool = False
) -> dict[str, Any]:
    """*waits* as the ``connect_args`` of *driver*; they win over the URL's own parameters.

    PgBouncer refuses the server's settings at startup ("unsupported startup parameter"): with
    *pgbouncer* they are left out; set them by ``role_settings``.  asyncpg has no keepalives of its
    own, and its ``command_timeout`` raises a bare ``TimeoutError``: bound a request by
    ``asyncio.timeout``.
    """
    waits = waits or Waits()
    settings = {} if pgbouncer else waits.server_settings()
    if driver == "asyncpg":
        names = {"application_name": waits.application_name}
        return {"timeout": waits.connect, "server_settings": names | settings}
    arguments: dict[str, Any] = {
        "application_name": waits.application_name,
        "connect_timeout": waits.connect,
        "keepalives_idle": waits.peer,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        # What was sent and is not acknowledged; milliseconds (libpq).
        "tcp_user_timeout": waits.peer * 2_000,
    }
    if settings:
        arguments["options"] = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return arguments


def role_settings(role: str, database: str, waits: Waits | None = None) -> list[TextClause]:
    """The server's settings as defaults of *role* in *database*: they hold through any pooler.

    For a migration.  New server connections have them; those that are open keep the old ones.
    """

    def quoted(name: str) -> str:
        # A colon would begin a parameter of text().
        return '"' + name.replace('"', '""').replace(":", r"\:") + '"'

    return [
        text(f"ALTER ROLE {quoted(role)} IN DATABASE {quoted(database)} SET {setting} = '{value}'")
        for setting, value in (waits or Waits()).server_settings().items()
    ]


def for_this_transaction(setting: str, value: str) -> Select[str]:
    """Run it first: SET LOCAL.  A plain SET stays on the connection, for whoever comes next."""
    return select(func.set_config(setting, value, True))


# --- Who holds what -------------------------------------------------------------------------------

LIBRARIES = {"sqlalchemy", "greenlet", "asyncio", "contextlib", "threading", "concurrent"}
Clock = Callable[[], float]
Taken = tuple[float, tuple[str, ...]]


@dataclass(frozen=True)
class Held:
    """A connection that is out, for how many seconds, and the code that took it, nearest first."""

    seconds: float
    code: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s: {' < '.join(self.code)}"


class PoolWatch:
    """Who holds a connection of *engine*, from now on: make one beside the engine.

    It costs one walk up the stack a checkout.  Show ``held(30)`` in the health check, and log
    ``held()`` where the pool raises ``sqlalchemy.exc.TimeoutError``.
    """

    def __init__(
        self, engine: Engine | AsyncEngine, *, frames: int = 3, clock: Clock = time.monotonic
    ) -> None:
        self._frames, self._clock = frames, clock
        self._out: dict[ConnectionPoolEntry, Taken] = {}
        pool = sync_engine(engine).pool
        event.listen(pool, "checkout", self._taken)
        event.listen(pool, "checkin", self._given_back)
        event.listen(pool, "detach", self._given_back)

    def held(self, longer_than: float = 0) -> list[Held]:
        """Who holds one for at least so many seconds, longest first."""
        now = self._clock()
        found = [Held(now - since, code) for since, code in list(self._out.values())]
        return sorted(
            (held for held in found if held.seconds >= longer_than), key=lambda held: -held.seconds
        )

    def _taken(self, _connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        self._out[record] = (self._clock(), callers(self._frames))

    def _given_back(self, _connection: object, record: ConnectionPoolEntry) -> None:
        self._out.pop(record, None)


def callers(frames: int) -> tuple[str, ...]:
    """``module:line function`` of the callers that are no library, nearest first."""
    found: list[str] = []
    # Under asyncio, SQLAlchemy runs in a greenlet: its stack goes on in the greenlet's parent.
    greenlet: Any = sys.modules.get("greenlet")
    current = greenlet.getcurrent() if greenlet else None
    frame: FrameType | None = sys._getframe(2)  # not this function, and not the watch
    while len(found) < frames:
        while frame is None and current is not None:
            current = current.parent
            frame = current.gr_frame if current is not None else None
        if frame is None:
            break
        module = frame.f_globals.get("__name__", "?")
        if module.partition(".")[0] not in LIBRARIES:
            found.append(f"{module}:{frame.f_lineno} {frame.f_code.co_qualname}")
        frame = frame.f_back
    return tuple(found)


def sync_engine(engine: Engine | AsyncEngine) -> Engine:
    """The engine that has the pool and emits the events."""
    return engine.sync_engine if isinstance(engine, AsyncEngine) else engine


def pool_state(engine: Engine | AsyncEngine) -> tuple[int, int]:
    """``(connections in use, idle ones)``, for a metric; ``(0, 0)`` where this process keeps none.

    The class of asyncio's pool is derived from ``QueuePool``.
    """
    pool = sync_engine(engine).pool
    return (pool.checkedout(), pool.checkedin()) if isinstance(pool, QueuePool) else (0, 0)


# --- One engine a loop, one a process -------------------------------------------------------------


@asynccontextmanager
async def engine_of_this_loop(
    url: str | URL,
    *,
    driver: AsyncDriver = "asyncpg",
    pool: PoolSettings | None = None,
    waits: Waits | None = None,
) -> AsyncIterator[AsyncEngine]:
    """An engine that ends before its event loop does: for a lifespan, or within ``asyncio.run``."""
    arguments = connect_args(driver, waits, pgbouncer=pool is not None and pool.external)
    engine = create_asyncio_engine(url, driver=driver, pool=pool, connect_args=arguments)
    try:
        yield engine
    finally:
        await engine.dispose()


def forget_at_fork(engine: Engine | AsyncEngine) -> None:
    """In a child process (multiprocessing's fork, gunicorn's preload) begin with an empty pool.

    ``close=False``: the parent goes on with its connections; closing one here would end it there.
    Fork while none is in use.
    """
    kept = weakref.ref(sync_engine(engine))

    def forget() -> None:
        found = kept()
        if found is not None:
            found.dispose(close=False)

    os.register_at_fork(after_in_child=forget)


# --- Read paths -----------------------------------------------------------------------------------


class ReadSession(Session):
    """A session that flushes nothing: in AUTOCOMMIT a rollback would not take it back.

    What is executed as ``insert()``, ``update()`` or ``delete()`` is not seen here, nor what a
    listener of the flush changes.
    """

    def flush(self, objects: Any = None) -> None:
        """Raise ``RuntimeError`` where something was added, changed or deleted."""
        changed = [*self.new, *self.deleted, *(o for o in self.dirty if self.is_modified(o))]
        if changed:
            raise RuntimeError(f"received {changed[:3]} to write; expected a session that reads")
        # It finds nothing to write, and forgets what was set to the value that it had: a commit
        # flushes until nothing is left.
        super().flush(objects)


def renew_after_migration(context: ExceptionContext) -> None:
    """For ``handle_error``: treat a plan that a migration has made stale as a lost connection.

    psycopg keeps what it has prepared until a rollback, which AUTOCOMMIT never sends: after ALTER
    COLUMN … TYPE every use would fail.  So it is one, and the pool begins anew.
    """
    found: Any = context  # older stubs hold that it cannot be set
    diagnosis = getattr(found.original_exception, "diag", None)
    # By the server's own function: the message is translated, 0A000 says no more than "no".
    if getattr(diagnosis, "source_function", None) == "RevalidateCachedQuery":
        found.is_disconnect = True


def read_factory(engine: Engine) -> sessionmaker[ReadSession]:
    """Sessions for reading, on the same pool: no BEGIN, no ROLLBACK, no transaction left open.

    Each statement sees its own snapshot: not for two reads that must agree.
    """
    # The event is the dialect's: for all sessions of the engine, and once however often.
    event.listen(engine, "handle_error", renew_after_migration)
    reader = engine.execution_options(isolation_level="AUTOCOMMIT")
    return sessionmaker(reader, class_=ReadSession)


def async_read_factory(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """The same for asyncio."""
    event.listen(engine.sync_engine, "handle_error", renew_after_migration)
    reader = engine.execution_options(isolation_level="AUTOCOMMIT")
    return async_sessionmaker(reader, sync_session_class=ReadSession, expire_on_commit=False)


def forgetful_report(engine: Engine) -> Connection:
    """The demo's leak: nobody closes what it returns."""
    connection = engine.connect()
    connection.execute(text("SELECT 1"))
    return connection


def lose_backend(engine: Engine) -> int:
    """How many of three statements fail after the server has ended the pooled connection."""
    with engine.connect() as connection:
        backend = connection.scalar(select(func.pg_backend_pid()))
    end = select(func.pg_terminate_backend(backend, 10_000))
    with create_sync_engine(engine.url, pool=PoolSettings(external=True)).begin() as connection:
        connection.execute(end)
    failed = 0
    for _ in range(3):
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except DBAPIError as error:
            failed += error.connection_invalidated
    return failed


def demo(engine: Engine) -> None:
    """Count, run out, find the leak, lose a backend, leave a setting behind."""
    with engine.connect() as connection:
        usable = connection.scalars(usable_connections()).one()
    pool = fitting_pool(97, processes=4)
    print(f"This server has {usable}. Of 97, four processes get {pool.size} + {pool.max_overflow}.")
    try:
        require_fit(PoolSettings(size=20, max_overflow=40), 97, processes=4, generations=1)
    except TooManyConnections as refused:
        print("Refused:", refused)

    small = replace(pool, size=1, max_overflow=1, timeout=0.05)
    desk = create_sync_engine(engine.url, pool=small, connect_args=connect_args("psycopg"))
    now = 0.0
    watch = PoolWatch(desk, clock=lambda: now)
    forgotten = forgetful_report(desk)
    now = 45.0
    with desk.connect() as connection:
        print("Two are out, the pool has one and one overflow:", end=" ")
        try:
            desk.connect()
        except PoolTimeout as error:
            print(str(error).partition("(")[0].strip())
        for application, state, count, _ in connection.execute(who_is_connected()):
            print(f"On the server: {count} {application or '(no name)'}, {state}")
    for held in watch.held(longer_than=30):
        print("Held", held)
    forgotten.close()
    print("(in use, idle) after it was closed, the overflow gone:", pool_state(desk))

    print("A backend was ended, with pre_ping:", lose_backend(desk), "of 3 statements failed")
    desk.dispose()
    desk = create_sync_engine(engine.url, pool=replace(small, pre_ping=False))
    print("The same without:", lose_backend(desk), "of 3")
    show = text("SHOW statement_timeout")
    with desk.begin() as connection:
        connection.execute(text("SET statement_timeout = '123ms'"))
    with desk.begin() as connection:
        print("SET by one, found by the next:", connection.scalar(show))
        connection.execute(text("RESET statement_timeout"))
    with desk.begin() as connection:
        connection.execute(for_this_transaction("statement_timeout", "123ms"))
    with desk.begin() as connection:
        print("SET LOCAL by one, found by the next:", connection.scalar(show))
    desk.dispose()
