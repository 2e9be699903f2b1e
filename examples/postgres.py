"""A PostgreSQL for as long as a block of code runs.

Problem: demos, tests and benchmarks need a server that nobody installed and nobody must remember to
stop.  Pattern: run ``scripts/start-postgres.py``, read its URL, close its standard input when done;
it stops with us, SIGKILL included.  Not for an application: there the URL is configuration.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "start-postgres.py"
STOP_SECONDS = 30


class PostgresError(RuntimeError):
    """No server was to be had; the message is the script's own."""


@dataclass(frozen=True)
class Server:
    """A running server: an administrator's URL without a driver, who serves it, its version."""

    url: str
    provider: str
    version: str


@contextmanager
def postgres_server(
    *, provider: str | None = None, database_url: str | None = None, keep: Path | None = None
) -> Iterator[Server]:
    """Serve a PostgreSQL within the block, by the rules of ``scripts/start-postgres.py``.

    With *keep* it is a durable one, embedded, whose data stay in that folder.  Raises
    ``PostgresError`` where none is to be had.
    """
    command = [sys.executable, str(SCRIPT), "--output-format", "json"]
    if provider:
        command += ["--provider", provider]
    if database_url:
        command += ["--database-url", database_url]
    if keep:
        command += ["--keep", str(keep)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    # communicate() would wait for the end; the first line is all that we need of stdout.
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdin, process.stdout, process.stderr:
        line = process.stdout.readline()
        if not line:
            message = process.stderr.read().strip()
            process.wait()
            raise PostgresError(message)
        facts = json.loads(line)
        try:
            yield Server(facts["url"], facts["provider"], facts["version"])
        finally:
            process.stdin.close()
            process.wait(STOP_SECONDS)


@contextmanager
def temporary_database(server_url: str, *, template: str | None = None) -> Iterator[str]:
    """Create ``soe_<random>``, yield its URL without a driver, drop it with whoever is connected.

    *template* names a database to clone; nobody may be connected to it meanwhile
    (PostgreSQL, "Template Databases").
    """
    name = f"soe_{secrets.token_hex(6)}"
    create = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template:
        create += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(server_url, autocommit=True) as connection:
        if connection.execute("SHOW fsync").fetchone() == ("off",):
            # Half the time of copying by way of the log; a durable server would flush first.
            create += sql.SQL(" STRATEGY FILE_COPY")
        connection.execute(create)
    try:
        yield with_database(server_url, name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(drop)


def with_database(url: str, database: str) -> str:
    """*url* pointing at another database of the same server; its query stays."""
    parts = urlsplit(url)
    tail = f"?{parts.query}" if parts.query else ""
    return f"postgresql://{parts.netloc}/{quote(database, safe='')}{tail}"
