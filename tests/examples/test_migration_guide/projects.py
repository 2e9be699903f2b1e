"""Small Alembic projects of somebody's, in a folder: an env.py and revisions of a few lines."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from alembic.config import Config
from sqlalchemy import URL, make_url

ENV = """
from alembic import context
from sqlalchemy import create_engine, pool

given = context.config.attributes
engine = create_engine(given["url"], poolclass=pool.NullPool)
with engine.connect() as connection:
    options = given["options"](connection) if "options" in given else {}
    context.configure(
        connection=connection, target_metadata=given.get("metadata"),
        transaction_per_migration=True, **options,
    )
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
"""
MAKO = '''"""${message}"""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
'''
REVISION = '''"""Make {name}

Revises: {down}
"""

import sqlalchemy as sa
from alembic import op

revision: str = "{name}"
down_revision: str | tuple[str, ...] | None = {down!r}
branch_labels = {labels!r}
depends_on = {depends!r}


def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    {downgrade}
'''


@dataclass(frozen=True)
class Rev:
    """A revision: what it follows, and what it does; else it makes a table of its own name."""

    down: str | tuple[str, ...] | None = None
    upgrade: str = ""
    downgrade: str = ""
    labels: tuple[str, ...] | None = None
    depends: str | None = None


def write_revision(folder: Path, name: str, rev: Rev) -> Path:
    """The file of *rev* in the project at *folder*."""
    source = REVISION.format(
        name=name,
        down=rev.down,
        labels=rev.labels,
        depends=rev.depends,
        upgrade=rev.upgrade or f"op.create_table('{name}', sa.Column('id', sa.Integer))",
        downgrade=rev.downgrade or f"op.drop_table('{name}')",
    )
    path = folder / "versions" / f"{name}.py"
    path.write_text(source, encoding="utf-8")
    return path


def project(folder: Path, revisions: Mapping[str, Rev]) -> Path:
    """An Alembic project in *folder*; returns it."""
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENV, encoding="utf-8")
    (folder / "script.py.mako").write_text(MAKO, encoding="utf-8")
    for name, rev in revisions.items():
        write_revision(folder, name, rev)
    return folder


def config_of(folder: Path, url: str | URL, **attributes: object) -> Config:
    """Alembic on the project in *folder* and the database at *url*; what it prints is kept."""
    made = Config(stdout=io.StringIO(), output_buffer=io.StringIO())
    made.set_main_option("script_location", str(folder).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    made.attributes["url"] = make_url(url).set(drivername="postgresql+psycopg")
    made.attributes.update(attributes)
    return made


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    """The rows of *query*."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def versions(url: str, schema: str = "public") -> list[str]:
    """What the version table says."""
    query = f'SELECT version_num FROM "{schema}".alembic_version ORDER BY version_num COLLATE "C"'
    return [str(row[0]) for row in rows(url, query)]


def tables(url: str, schema: str = "public") -> list[str]:
    """The tables of *schema* but for Alembic's own."""
    query = (
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') "
        f"AND relnamespace = '{schema}'::regnamespace AND relname <> 'alembic_version' "
        'ORDER BY relname COLLATE "C"'
    )
    return [str(row[0]) for row in rows(url, query)]
