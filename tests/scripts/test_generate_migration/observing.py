"""Revisions run on a database of their own, and watched while they run."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psycopg
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import MetaData, create_engine, make_url
from sqlalchemy.pool import NullPool

from examples.postgres import temporary_database

# The package lies in the scripts' folder, which is on nobody's path.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

# isort: split
from generate_migration.core import Finding, Statement
from generate_migration.lint import lint
from generate_migration.squawk import find_squawk
from generate_migration.watch import Watch

HEAD = '''
"""A change."""

import sqlalchemy as sa
from alembic import op

revision = "one"
down_revision = None

'''
DOWN = '''
def downgrade() -> None:
    """Nothing: a test."""
'''
# Names that must be quoted, another schema, a small table, a large one, a reference.
DESK = """
DROP SCHEMA IF EXISTS public, "Odd Desk" CASCADE;
CREATE SCHEMA public;
CREATE SCHEMA "Odd Desk";
CREATE TYPE channel AS ENUM ('mail');
CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL);
CREATE TABLE tickets (
    id bigint PRIMARY KEY, title text, slug varchar(40), version int NOT NULL DEFAULT 1,
    creator_id bigint, channel channel
);
CREATE TABLE comments (id bigint PRIMARY KEY, ticket_id bigint NOT NULL, content text);
CREATE TABLE settings (name text PRIMARY KEY, value text);
CREATE TABLE "Odd Desk"."Odd Table" ("Odd Id" bigint PRIMARY KEY, note text);
CREATE TABLE parts (id bigint NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE parts_rest PARTITION OF parts DEFAULT;
INSERT INTO users SELECT n, n::text FROM generate_series(1, 200) AS n;
INSERT INTO tickets
    SELECT n, 'Ticket ' || n, 't-' || n, 1, n % 100 + 1 FROM generate_series(1, 200) AS n;
INSERT INTO comments SELECT n, n, 'Hello' FROM generate_series(1, 200) AS n;
INSERT INTO settings SELECT 'name ' || n, '' FROM generate_series(1, 9) AS n;
INSERT INTO "Odd Desk"."Odd Table" SELECT n, '' FROM generate_series(1, 200) AS n;
INSERT INTO parts SELECT n, date '2026-01-01' + n::int FROM generate_series(1, 200) AS n;
"""


@dataclass(frozen=True)
class Project:
    """A folder for revisions, and a database for each."""

    url: str
    folder: Path

    def execute(self, sql: str) -> None:
        """Run *sql* as an administrator would."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.encode())

    def write(self, upgrade: str, rest: str = DOWN, before: str = "") -> Path:
        """A revision with that body of ``upgrade()``."""
        body = textwrap.indent(textwrap.dedent(upgrade).strip(), "    ")
        path = self.folder / "one.py"
        path.write_text(f"{HEAD}{before}\ndef upgrade() -> None:\n{body}\n\n{rest}")
        return path

    def run(
        self,
        path: Path,
        *,
        lock_timeout: str = "500ms",
        down: bool = False,
        metadata: MetaData | None = None,
    ) -> list[Statement]:
        """The statements of ``upgrade()``, and of ``downgrade()`` too."""
        made: dict[str, object] = {"__name__": "one", "__file__": str(path)}
        exec(compile(path.read_text(), str(path), "exec"), made)  # noqa: S102 - our own source
        url = make_url(self.url).set(drivername="postgresql+psycopg")
        options = {"options": f"-c lock_timeout={lock_timeout} -c statement_timeout=1min"}
        engine = create_engine(url, poolclass=NullPool, connect_args=options)
        found: list[Statement] = []
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection,
                opts={"transaction_per_migration": True, "target_metadata": metadata},
            )
            for upgrade in (True, False) if down else (True,):
                watch = Watch({str(path): "one"}, upgrade=upgrade)
                with (
                    watch.on(),
                    Operations.context(context),
                    context.begin_transaction(_per_migration=True),
                ):
                    made["upgrade" if upgrade else "downgrade"]()  # type: ignore[operator]
                found += watch.statements
        return found

    def lint(
        self, upgrade: str, rest: str = DOWN, before: str = "", **run: object
    ) -> list[Finding]:
        """What is found in a revision with that body of ``upgrade()``, squawk included."""
        path = self.write(upgrade, rest, before)
        return linted(self.run(path, **run), path)  # type: ignore[arg-type]


def linted(statements: Sequence[Statement], path: Path) -> list[Finding]:
    """``lint`` with squawk."""
    return lint(statements, path, squawk=squawk(), postgres_version="18.0")


squawk = cache(find_squawk)


def named(findings: Sequence[Finding]) -> list[str]:
    """The rules of *findings*, those that only inform left out."""
    return [each.rule for each in findings if each.severity != "info"]


@pytest.fixture(scope="module")
def desk_url(postgres_url: str) -> Iterator[str]:
    """A database for all tests of a module, each of which makes its tables anew."""
    with temporary_database(postgres_url) as url:
        yield url


@pytest.fixture
def project(desk_url: str, tmp_path: Path) -> Project:
    """A desk as it was, and a folder whose name has a space."""
    folder = tmp_path / "my versions"
    folder.mkdir()
    project = Project(desk_url, folder)
    project.execute(DESK)
    return project
