"""The drivers: whether they are installed, what they make of the URL, a connection of each."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import URL, Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from .core import DRIVERS, USAGE, Failed, failed, one_line
from .settings import Settings, bare_driver, version

T = TypeVar("T")
PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "asyncpg": "asyncpg"}
# What SQLAlchemy takes out before it calls asyncpg.connect().
OF_SQLALCHEMY = {
    "async_fallback",
    "async_creator_fn",
    "prepared_statement_cache_size",
    "prepared_statement_name_func",
}
GOODBYE = 0.05  # seconds
OF_PSYCOPG = {"prepare_threshold", "autocommit", "row_factory", "cursor_factory", "context"}


def installed() -> dict[str, str]:
    """The drivers that are there, with their versions."""
    found = {}
    for driver in DRIVERS:
        try:
            module = importlib.import_module(driver)
        except ImportError:
            continue
        try:
            found[driver] = version_of(PACKAGES[driver].partition("[")[0])
        except PackageNotFoundError:  # psycopg2, built here
            found[driver] = str(getattr(module, "__version__", "?")).partition(" ")[0]
    return found


def require(settings: Settings) -> str:
    """The version of the driver.  Raises ``Failed`` of the layers driver and URL."""
    driver = settings.driver
    try:
        importlib.import_module(driver)
        if driver == "asyncpg":
            importlib.import_module("greenlet")
    except ImportError as error:
        raise missing(settings, error) from None
    check_parameters(settings)
    return installed()[driver]


def missing(settings: Settings, error: ImportError) -> Failed:
    """The driver cannot be imported: which one it is, and why that one."""
    driver = settings.driver
    others = ", ".join(installed()) or "none"
    number = ".".join(map(str, version()))
    causes = [f"installed drivers: {others}"]
    if "greenlet" in str(error):
        causes = ["SQLAlchemy's asyncio needs greenlet, and does not bring it along since 2.1"]
    elif "libpq" in str(error):
        causes = [f"{driver} is there, and finds no libpq: install its binary form"]
    if driver == bare_driver() and driver != "asyncpg":
        causes.append(f"a bare postgresql:// means {driver} in SQLAlchemy {number}; name another")
    package = "sqlalchemy[asyncio]" if "greenlet" in str(error) else PACKAGES[driver]
    others_named = [f"postgresql+{name}://…" for name in installed()]
    return failed(
        "driver",
        USAGE,
        f"the driver {driver} cannot be imported: {error}",
        *causes,
        commands=(f'pip install "{package}"', *others_named),
    )


def check_parameters(settings: Settings) -> None:
    """Ask the driver whether it knows what the URL brings.  Raises ``Failed``."""
    url, driver = settings.url, settings.driver
    try:
        keywords = dict(url.get_dialect()().create_connect_args(url)[1])
    except (SQLAlchemyError, ValueError, TypeError) as error:
        raise failed("URL", USAGE, f"SQLAlchemy refuses the URL for {driver}: {error}") from None
    try:
        unknown = UNKNOWN[driver](keywords)
    except Exception as error:  # the driver's own; each has a class of its own
        raise failed("URL", USAGE, f"{driver} refuses a parameter of the URL: {error}") from None
    if not unknown:
        return
    names = ", ".join(sorted(unknown))
    causes, commands = [], []
    if driver == "asyncpg" and "sslmode" in unknown:
        causes.append("sslmode is libpq's name; asyncpg's is ssl")
        commands.append(f"?ssl={settings.sslmode}")
    files = unknown & {"sslrootcert", "sslcert", "sslkey", "sslcrl", "sslpassword"}
    if driver == "asyncpg" and files:
        causes.insert(0, "asyncpg takes certificates by the environment, or as an SSLContext")
        commands.append("export PGSSLROOTCERT=/path/to/ca.pem")
        commands.append('connect_args={"ssl": ssl.create_default_context(cafile=…)}')
    if driver == "asyncpg" and unknown - files - {"sslmode"}:
        commands.append('connect_args={"server_settings": {…}} for settings of the session')
    if driver != "asyncpg" and "ssl" in unknown:
        causes.append("ssl is asyncpg's name; libpq's is sslmode")
        commands.append(f"?sslmode={settings.sslmode}")
    raise failed(
        "URL",
        USAGE,
        f"{driver} knows no parameter {names}",
        *(causes or ["it is misspelt, or another driver's"]),
        commands=commands,
    )


def unknown_to_psycopg(keywords: dict[str, Any]) -> set[str]:
    """What libpq, as psycopg has it, does not take."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    return {
        name
        for name, value in keywords.items()
        if name not in OF_PSYCOPG and refuses(make_conninfo, name, value, ProgrammingError)
    }


def unknown_to_psycopg2(keywords: dict[str, Any]) -> set[str]:
    """What libpq, as psycopg2 has it, does not take."""
    import psycopg2.extensions

    return {
        name
        for name, value in keywords.items()
        if refuses(psycopg2.extensions.make_dsn, name, value, psycopg2.ProgrammingError)
    }


def refuses(make: Callable[..., object], name: str, value: Any, kind: type[Exception]) -> bool:
    """Whether *make* raises *kind* for that one parameter."""
    if value is None:
        return False
    try:
        make(**{name: value})
    except kind:
        return True
    return False


def unknown_to_asyncpg(keywords: dict[str, Any]) -> set[str]:
    """What ``asyncpg.connect()`` does not take."""
    import asyncpg

    known = set(inspect.signature(asyncpg.connect).parameters)
    return set(keywords) - known - OF_SQLALCHEMY


UNKNOWN: dict[str, Callable[[dict[str, Any]], set[str]]] = {
    "psycopg": unknown_to_psycopg,
    "psycopg2": unknown_to_psycopg2,
    "asyncpg": unknown_to_asyncpg,
}


def arguments(driver: str, timeout: float, application: str) -> dict[str, Any]:
    """``connect_args``: who we are, and how long a connection may take, in seconds."""
    if driver == "asyncpg":
        # Prepared by name, a statement would be missing behind a pooler in transaction mode.
        return {
            "timeout": timeout,
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "server_settings": {"application_name": application},
        }
    known = {"connect_timeout": max(2, round(timeout)), "application_name": application}
    return known | ({"prepare_threshold": None} if driver == "psycopg" else {})


def with_connection(url: URL, connect_args: dict[str, Any], work: Callable[[Connection], T]) -> T:
    """*work* on a connection of its own, closed afterwards.

    Raises what the driver raises, wrapped by SQLAlchemy or not.
    """
    driver = url.get_driver_name()
    if driver != "asyncpg":
        engine = create_engine(
            url, poolclass=NullPool, connect_args=connect_args, hide_parameters=True
        )
        with engine.connect() as connection:
            return work(connection)

    async def run() -> T:
        from sqlalchemy.ext.asyncio import create_async_engine

        engine = create_async_engine(
            url, poolclass=NullPool, connect_args=connect_args, hide_parameters=True
        )
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(work)
        except Exception:
            await asyncio.sleep(GOODBYE)  # asyncpg leaves its transports to the loop to close
            raise

    if not in_a_loop():
        return asyncio.run(run())
    with ThreadPoolExecutor(1) as pool:  # a loop runs here already: another's, in a thread
        return pool.submit(lambda: asyncio.run(run())).result()


def in_a_loop() -> bool:
    """Whether the caller is itself run by asyncio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def original(error: BaseException) -> BaseException:
    """The driver's own error, out of what SQLAlchemy made of it."""
    inner = error.orig if isinstance(error, DBAPIError) and error.orig else error
    # asyncpg's stands behind SQLAlchemy's adapter.
    adapted = type(inner).__module__.startswith("sqlalchemy.") and isinstance(error, DBAPIError)
    return inner.__cause__ if adapted and inner.__cause__ else inner


def said(error: BaseException) -> str:
    """What the driver said, line for line, without SQLAlchemy's link."""
    inner = original(error)
    return f"{type(inner).__name__}: {inner}" if str(inner).strip() else type(inner).__name__


def words(error: BaseException) -> str:
    """The same on one line."""
    return one_line(said(error))


def versions() -> str:
    """``SQLAlchemy 2.1.9; psycopg 3.3.9, asyncpg 0.32.0``."""
    drivers = ", ".join(f"{name} {number}" for name, number in installed().items())
    return f"SQLAlchemy {sqlalchemy.__version__}; {drivers or 'no driver'}"
