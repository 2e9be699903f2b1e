"""Serve the desk on a throw-away PostgreSQL: ``python -m examples.fastapi_app``."""

from __future__ import annotations

import argparse
import secrets
import signal
import socket
import sys
from collections.abc import Sequence

import psycopg
import uvicorn

from ..database import create_sync_engine
from ..models import Base
from ..postgres import PostgresError, postgres_server, temporary_database
from .app import Settings, create_app
from .prepare import install_audit, seed

EPILOG = """\
examples:
  python -m examples.fastapi_app                 http://127.0.0.1:8000, its pages under /docs
  python -m examples.fastapi_app --port 0        any free port; the first line names it

A server of your own, with its own tables:
  DATABASE_URL=… CURSOR_SECRET=… uvicorn --factory examples.fastapi_app.app:from_env

exit codes:
  0  stopped     2  wrong usage, the port is taken, or no PostgreSQL to be had
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m examples.fastapi_app",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--port", type=int, default=8000)
    made.add_argument("--database-url", metavar="URL", help="a server that runs already")
    made.add_argument("--provider", choices=["auto", "url", "container", "embedded"])
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM.  Exit codes as in ``--help``."""
    options = parser().parse_args(arguments)
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        sys.exit(0)

    # uvicorn raises the signal again when it has stopped; then the database must still be dropped.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        with (
            listening(options.port) as listener,
            postgres_server(provider=options.provider, database_url=options.database_url) as server,
            temporary_database(server.url) as url,
        ):
            prepare(url)
            print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
            settings = Settings(database_url=url, cursor_secret=secrets.token_bytes(32))
            config = uvicorn.Config(
                create_app(settings),
                log_level="warning",
                timeout_graceful_shutdown=5,  # then requests are cancelled, and rolled back
            )
            uvicorn.Server(config).run(sockets=[listener])
    except (PostgresError, OSError, psycopg.OperationalError) as error:
        if stopped:  # Ctrl-C reaches the throw-away server as well: nothing is left to be dropped
            return 0
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def listening(port: int) -> socket.socket:
    """A socket of the loopback interface: who comes too early waits.  Raises ``OSError``."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    return listener


def prepare(url: str) -> None:
    """Tables, triggers and two users."""
    engine = create_sync_engine(url)
    try:
        Base.metadata.create_all(engine)
        install_audit(engine)
        seed(engine)
    finally:
        engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
