"""A foreign Alembic project whose models change, and the revision that is generated for it."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext
from sqlalchemy import (
    Column,
    Engine,
    Enum,
    Executable,
    Integer,
    MetaData,
    Numeric,
    Table,
    create_engine,
    make_url,
    pool,
    text,
)
from sqlalchemy.types import TypeDecorator, UserDefinedType

from examples.postgres import temporary_database

# The package lies in the scripts' folder, which is on nobody's path.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

# isort: split
from generate_migration.core import Finding
from generate_migration.layout import lay_out
from generate_migration.repair import differences, repair
from generate_migration.schema import schema_of

Models = Callable[[MetaData], object]

# As `alembic init` writes it, but for where the engine and the metadata come from.
ENV = """\
from alembic import context

given = context.config.attributes
with given["engine"].connect() as connection:
    context.configure(
        connection=connection, target_metadata=given["metadata"], **given["options"]
    )
    with context.begin_transaction():
        context.run_migrations()
"""
TEMPLATE = '''\
"""${message}"""

from alembic import op
import sqlalchemy as sa
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
'''


class Words(UserDefinedType[str]):
    """A type of the application's own."""

    cache_ok = True

    def get_col_spec(self, **kw: object) -> str:
        """A name of PostgreSQL's own, so that a reader of the catalogue knows it."""
        return "text"


class Money(TypeDecorator[str]):
    """A type of the application's own, over one of SQLAlchemy's."""

    impl = Numeric(12, 2)
    cache_ok = True


class Mood(TypeDecorator[str]):
    """The same over an enumeration."""

    impl = Enum("glad", "sad", name="mood")
    cache_ok = True


@dataclass
class Project:
    """An Alembic project on a database of its own."""

    folder: Path
    engine: Engine
    options: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def config(self, metadata: Any) -> Config:
        """Alembic for the models in *metadata*."""
        made = Config(stdout=io.StringIO(), output_buffer=io.StringIO())
        made.set_main_option("script_location", str(self.folder).replace("%", "%%"))
        made.set_main_option("path_separator", "os")
        made.attributes.update(engine=self.engine, metadata=metadata, options=self.options)
        return made

    def generate(self, metadata: Any, rev_id: str = "0001") -> str:
        """Write a revision with the repair at work: its source."""
        self.findings = []

        def process(
            context: MigrationContext, revision: Any, directives: list[MigrationScript]
        ) -> None:
            self.findings = repair(context, revision, directives)

        command.revision(
            self.config(metadata),
            "planted",
            autogenerate=True,
            rev_id=rev_id,
            process_revision_directives=process,
        )
        [path] = (self.folder / "versions").glob(f"{rev_id}_*.py")
        lay_out(path)
        return path.read_text(encoding="utf-8")

    def upgrade(self, metadata: Any) -> None:
        """To the head."""
        command.upgrade(self.config(metadata), "head")

    def downgrade(self, metadata: Any) -> None:
        """One revision back."""
        command.downgrade(self.config(metadata), "-1")

    def check(self, metadata: Any) -> list[str]:
        """Raises where Alembic still finds a difference; those that we find."""
        found: list[str] = []

        def look(
            context: MigrationContext, revision: Any, directives: list[MigrationScript]
        ) -> None:
            operations = directives[0].upgrade_ops
            assert operations is not None
            found.extend(differences(context, operations))

        config = self.config(metadata)
        config.attributes["options"] = {**self.options, "process_revision_directives": look}
        command.check(config)
        return found

    def create(self, metadata: MetaData) -> None:
        """What the models describe, without a revision."""
        with self.engine.begin() as connection:
            metadata.create_all(connection)

    def lines(self) -> list[str]:
        """What the catalogue holds."""
        with self.engine.begin() as connection:
            return schema_of(connection)

    def execute(self, *statements: Executable | str) -> None:
        """*statements* in a transaction of their own."""
        with self.engine.begin() as connection:
            for each in statements:
                connection.execute(text(each) if isinstance(each, str) else each)

    def rules(self, severity: str | None = None) -> set[str]:
        """The rules of the last findings."""
        return {item.rule for item in self.findings if severity in {None, item.severity}}


@contextmanager
def planted_project(folder: Path, server_url: str, driver: str) -> Iterator[Project]:
    """An empty project on an empty database."""
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENV)
    (folder / "script.py.mako").write_text(TEMPLATE)
    with temporary_database(server_url) as url:
        engine = create_engine(
            make_url(url).set(drivername=f"postgresql+{driver}"), poolclass=pool.NullPool
        )
        try:
            yield Project(folder, engine)
        finally:
            engine.dispose()


def models(build: Models, **options: Any) -> MetaData:
    """The metadata that *build* fills."""
    made = MetaData(**options)
    build(made)
    return made


@pytest.fixture
def project(tmp_path: Path, postgres_url: str) -> Iterator[Project]:
    """An empty project on an empty database."""
    with planted_project(tmp_path / "project", postgres_url, "psycopg") as made:
        yield made


def notes(*items: Any, **options: Any) -> MetaData:
    """A table of notes with *items* beside its key."""
    made = MetaData(**options)
    Table("notes", made, Column("id", Integer, primary_key=True), *items)
    return made


def finding(project: Project, rule: str) -> Finding:
    """The one finding of *rule*."""
    [found] = [item for item in project.findings if item.rule == rule]
    return found
