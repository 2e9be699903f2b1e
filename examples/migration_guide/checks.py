"""Tests of migrations to copy: there and back one by one, nothing left, no drift.

Problem: a downgrade is written once, run never, and fails on the night it is needed.  Pattern: run
each revision up, down and up again on a scratch database, and compare what the catalogue holds.
Needs a database that may be changed, and no pytest.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, text

HERE = Path(__file__).resolve().parent

# The order of columns is left out: a column that came later stands last.
SCHEMA = text(
    """
    SELECT concat_ws(' ', 'relation', c.oid::regclass, c.relkind, pg_get_partkeydef(c.oid),
            pg_get_expr(c.relpartbound, c.oid))
        FROM pg_class AS c
        WHERE c.relnamespace = :schema ::regnamespace AND c.relkind IN ('r', 'p', 'S', 'v', 'm')
    UNION ALL
    SELECT concat_ws(' ', 'column', a.attrelid::regclass, a.attname,
            format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
            pg_get_expr(d.adbin, d.adrelid))
        FROM pg_attribute AS a
        JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v', 'm')
        LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = :schema ::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = :schema ::regnamespace AND conrelid <> 0
    UNION ALL
    SELECT concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid), i.indisvalid)
        FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
        WHERE c.relnamespace = :schema ::regnamespace
    UNION ALL
    SELECT concat_ws(' ', 'function', oid::regprocedure)
        FROM pg_proc WHERE pronamespace = :schema ::regnamespace
    UNION ALL
    SELECT concat_ws(' ', 'trigger', tgrelid::regclass, tgname)
        FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT concat_ws(' ', 'type', oid::regtype)
        FROM pg_type WHERE typnamespace = :schema ::regnamespace AND typtype IN ('e', 'd', 'r')
    ORDER BY 1
    """
)


def alembic_config(url: str | URL, folder: Path = HERE) -> Config:
    """Alembic on the database at *url*, for a program: quiet, and with no word in a file."""
    made = Config(folder / "alembic.ini", stdout=io.StringIO(), output_buffer=io.StringIO())
    made.attributes["database_url"] = url
    return made


def revisions(config: Config) -> list[str]:
    """Every revision, oldest first."""
    walked = ScriptDirectory.from_config(config).walk_revisions()
    return [script.revision for script in walked][::-1]


def schema_of(connection: Connection, schema: str = "public") -> list[str]:
    """All that *schema* holds, a line each and in order; Alembic's own table is left out."""
    lines = connection.scalars(SCHEMA, {"schema": schema})
    return [line for line in lines if "alembic_version" not in line]


def stairway(config: Config, engine: Engine, *, one_way: Collection[str] = ()) -> None:
    """Take each revision up, down and up again; *engine* is on the same database.

    Raises ``AssertionError`` that names the revision and what its downgrade left or lost, but for
    those in *one_way*, whose schema has no way back.
    """
    for revision in revisions(config):
        before = current_schema(engine)
        command.upgrade(config, revision)
        command.downgrade(config, "-1")
        after = current_schema(engine)
        if revision not in one_way:
            left = [f"left {line}" for line in after if line not in before]
            lost = [f"lost {line}" for line in before if line not in after]
            assert not left + lost, f"downgrade of {revision}: {'; '.join(left + lost)}"
        command.upgrade(config, revision)


def current_schema(engine: Engine) -> list[str]:
    """``schema_of`` in a transaction of its own: none must be open while a migration runs."""
    with engine.begin() as connection:
        return schema_of(connection)
