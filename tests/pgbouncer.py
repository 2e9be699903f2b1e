"""A real PgBouncer for as long as a block of code runs, and a client process of it.

``python -m tests.pgbouncer URL DRIVER NAME KIND TRANSACTIONS`` is that client (KIND: sync, async).
It does so many units of work through the pooler, and prints how many of them were right.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, func, make_url, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from examples.connection_pooling import Waits, connect_args, for_this_transaction
from examples.database import PoolSettings, create_asyncio_engine, create_sync_engine
from examples.models import Organization

# Debian's package puts it where an ordinary user's PATH does not look.
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
ATTEMPTS, START_SECONDS = 5, 20.0
NOBODY = 65534
WAITS = Waits(application_name="worker", connect=60)
TASKS = 4  # of one client process, where it is asynchronous


@dataclass(frozen=True)
class Pooler:
    """A PgBouncer: its URL without a driver, its pool mode's server connections, its process."""

    url: str
    size: int
    pid: int

    def on_every_server(self, query: str) -> list[Any]:
        """The answer of each server connection, whose transactions are held open meanwhile."""
        found: dict[int, Any] = {}
        with ExitStack() as stack:
            for _ in range(self.size):
                # Ends by a commit: PgBouncer drops a server whose client goes in a transaction.
                client = psycopg.connect(self.url, prepare_threshold=None)
                connection = stack.enter_context(client)
                found[connection.execute("SELECT pg_backend_pid()").fetchall()[0][0]] = (
                    connection.execute(query.encode()).fetchall()[0][0]
                )
        assert len(found) == self.size, "two transactions on one server connection"
        return list(found.values())


def configuration(server_url: str, port: int, size: int, mode: str) -> str:
    """The file that a minimal PgBouncer needs; whoever comes is the server's own user."""
    url = make_url(server_url)

    def quoted(value: object) -> str:
        return "'" + str(value).replace("'", "''") + "'"

    server = {
        "host": url.host,
        "port": url.port or 5432,
        "dbname": url.database,
        "user": url.username,
    }
    if url.password:
        server["password"] = url.password
    target = " ".join(f"{key}={quoted(value)}" for key, value in server.items())
    return "\n".join(
        [
            "[databases]",
            f"desk = {target}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {port}",
            "unix_socket_dir =",
            "auth_type = any",
            f"pool_mode = {mode}",
            f"default_pool_size = {size}",
            "max_client_conn = 300",
            "query_wait_timeout = 60",
            "log_connections = 0",
            "log_disconnections = 0",
            "",
        ]
    )


def command(config: Path) -> list[str]:
    """How it is started: it refuses to run as root, and is to end with us."""
    assert PROGRAM is not None
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return [PROGRAM, str(config)]
    drop = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.getuid() == 0 else []
    return [setpriv, *drop, "--pdeathsig=TERM", PROGRAM, str(config)]


def answers(port: int) -> bool:
    """Whether somebody listens on *port*."""
    address = ("127.0.0.1", port)
    with socket.socket() as probe:
        probe.settimeout(1)
        # Who asks a free port from that very port is connected to himself.
        return probe.connect_ex(address) == 0 and probe.getsockname() != address


def free_port() -> int:
    """A port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started(server_url: str, size: int, mode: str) -> tuple[subprocess.Popen[bytes], int]:
    """A PgBouncer that answers, and its port.  Raises ``RuntimeError`` with what it said."""
    said = ""
    with tempfile.TemporaryDirectory(prefix="soe_pgbouncer_") as name:
        config = Path(name) / "pgbouncer.ini"
        for _ in range(ATTEMPTS):
            port = free_port()
            config.write_text(configuration(server_url, port, size, mode))
            config.chmod(0o600)
            if os.getuid() == 0:
                for path in (config.parent, config):
                    os.chown(path, NOBODY, NOBODY)
            # A file, since a pipe that nobody reads fills up and stops it.
            with tempfile.TemporaryFile("w+") as log:
                process = subprocess.Popen(command(config), stdout=log, stderr=log)
                deadline = time.monotonic() + START_SECONDS
                while process.poll() is None and time.monotonic() < deadline:
                    if answers(port):
                        return process, port
                    time.sleep(0.01)
                # Somebody took the port, or it is not to be had at all.
                process.kill()
                process.wait()
                log.seek(0)
                said = log.read()
    raise RuntimeError(f"pgbouncer does not start: {said}")


@contextmanager
def pgbouncer(server_url: str, *, size: int = 3, mode: str = "transaction") -> Iterator[Pooler]:
    """Serve *server_url* through *size* server connections, under the database name ``desk``."""
    process, port = started(server_url, size, mode)
    try:
        yield Pooler(f"postgresql://desk@127.0.0.1:{port}/desk", size, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


# --- A client process -----------------------------------------------------------------------------


def unit_of_work(connection: Connection, name: str, number: int) -> None:
    """Insert, read, change and read back; raise ``AssertionError`` where another's state shows."""
    slug = f"{name}-{number}"
    connection.execute(for_this_transaction("app.worker", slug))
    made = Organization.__table__.insert().values(name=slug, slug=slug)  # type: ignore[attr-defined]
    key = connection.execute(made.returning(Organization.id)).scalar_one()
    query = select(Organization.name).where(Organization.id == key)
    assert connection.scalar(query) == slug
    connection.execute(update(Organization).where(Organization.id == key).values(name="done"))
    assert connection.scalar(query) == "done"
    assert connection.scalar(select(func.current_setting("app.worker"))) == slug
    assert connection.scalar(text("SHOW application_name")) == "worker"


def read(connection: Connection, name: str, number: int) -> None:
    """Two reads in AUTOCOMMIT: each may come from another server."""
    query = select(Organization.name).where(Organization.slug == f"{name}-{number}")
    assert [connection.scalar(query), connection.scalar(query)] == ["done", "done"]


def work(url: str, driver: Any, name: str, transactions: int) -> tuple[int, list[str]]:
    """``(done, errors)`` of a synchronous client with the settings that the page teaches."""
    engine = create_sync_engine(
        url,
        driver=driver,
        pool=PoolSettings(external=True),
        connect_args=connect_args(driver, WAITS, pgbouncer=True),
    )
    done, errors = 0, list[str]()
    for number in range(transactions):
        try:
            with engine.begin() as connection:
                unit_of_work(connection, name, number)
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                read(connection, name, number)
            done += 1
        except (SQLAlchemyError, AssertionError) as error:
            errors.append(repr(error))
    engine.dispose()
    return done, errors


async def async_work(url: str, driver: Any, name: str, transactions: int) -> tuple[int, list[str]]:
    """The same, of several tasks on one event loop."""
    engine = create_asyncio_engine(
        url,
        driver=driver,
        pool=PoolSettings(external=True),
        connect_args=connect_args(driver, WAITS, pgbouncer=True),
    )
    reader = engine.execution_options(isolation_level="AUTOCOMMIT")
    numbers, errors, done = iter(range(transactions)), list[str](), list[int]()

    async def task() -> None:
        for number in numbers:
            try:
                async with engine.begin() as connection:
                    await connection.run_sync(unit_of_work, name, number)
                async with reader.connect() as connection:
                    await connection.run_sync(read, name, number)
                done.append(number)
            except (SQLAlchemyError, AssertionError) as error:
                errors.append(repr(error))

    async with asyncio.TaskGroup() as group:
        for _ in range(TASKS):
            group.create_task(task())
    await engine.dispose()
    return len(done), errors


def main(arguments: list[str]) -> None:
    """Work, and print one JSON document."""
    url, driver, name, kind, transactions = arguments
    if kind == "async":
        done, errors = asyncio.run(async_work(url, driver, name, int(transactions)))
    else:
        done, errors = work(url, driver, name, int(transactions))
    sys.stdout.write(json.dumps({"done": done, "errors": len(errors), "first": errors[:3]}))


if __name__ == "__main__":
    main(sys.argv[1:])
