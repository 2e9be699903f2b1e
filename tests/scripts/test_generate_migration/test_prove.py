"""The proof of one revision: what is sound passes, each seeded fault turns it red."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent, indent

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import URL, Column, Connection, Integer, MetaData, Table

from examples.migration_guide.checks import alembic_config
from tests.examples.test_migration_guide.desk import REVISIONS
from tests.scripts.test_generate_migration.odd_schemas import run

# isort: split
from generate_migration.contents import contents_of  # the script's folder
from generate_migration.core import Finding, Proof, Refused, Statement
from generate_migration.prove import RULES, findings, prove
from generate_migration.schema import schema_of
from generate_migration.scratch import Scratch, scratch_server, with_connection

ROWS = 30
ENV = """
from alembic import context
from sqlalchemy import NullPool, create_engine

with create_engine(context.config.attributes["url"], poolclass=NullPool).connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = '''"""One."""

import secrets

import sqlalchemy as sa
from alembic import op

revision, down_revision = {revision!r}, {before!r}


def upgrade() -> None:
{up}


def downgrade() -> None:
{down}
'''
FIRST = """
op.create_table("users", sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("email", sa.Text, nullable=False), sa.Column("name", sa.Text))
op.create_index("ix_users_email", "users", ["email"], unique=True)
op.create_table("tickets", sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("title", sa.String(50), nullable=False),
    sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id"), nullable=False),
    sa.Column("old", sa.Integer))
"""


@dataclass
class Local:
    """Alembic in this process, with whatever configuration it is given."""

    config: Callable[[URL], Config]
    metadata: MetaData | None = None

    def upgrade(self, url: URL, revision: str, *, break_at: int = 0) -> Sequence[Statement]:
        """Upgrade; what it ran is for others to watch, and to break off."""
        assert not break_at
        command.upgrade(self.config(url), revision)
        return [Statement(revision, True, "SELECT 1", transaction=1)]

    def downgrade(self, url: URL, revision: str) -> Sequence[Statement]:
        """Downgrade by one."""
        assert revision
        command.downgrade(self.config(url), "-1")
        return []

    def differences(self, url: URL) -> Sequence[str]:
        """What Alembic finds."""
        if self.metadata is None:
            return []
        metadata = self.metadata

        def compare(connection: Connection) -> list[str]:
            return [str(each) for each in compare_metadata(context_of(connection), metadata)]

        return with_connection(url, compare)


def context_of(connection: Connection) -> MigrationContext:
    """Alembic's, without its own table."""
    options = {"include_object": lambda _, name, *rest: name != "alembic_version"}
    return MigrationContext.configure(connection, opts=options)


def write(path: Path, revision: str, before: str | None, up: str, down: str) -> Path:
    """Write a revision whose functions hold *up* and *down*."""
    bodies = {
        "up": indent(dedent(up).strip(), "    "),
        "down": indent(dedent(down).strip(), "    "),
    }
    path.write_text(REVISION.format(revision=revision, before=before, **bodies))
    return path


def local(folder: Path, metadata: MetaData | None = None) -> Local:
    """A project in *folder* with a first revision."""
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    (folder / "env.py").write_text(ENV)
    write(folder / "versions" / "first.py", "first", None, FIRST, "pass")

    def config(url: URL) -> Config:
        made = Config(output_buffer=io.StringIO(), stdout=io.StringIO())
        made.set_main_option("script_location", str(folder).replace("%", "%%"))
        made.attributes["url"] = url
        return made

    return Local(config, metadata)


@pytest.fixture(scope="module")
def server(postgres_url: str) -> Iterator[Scratch]:
    """The run's server, as a scratch server."""
    with scratch_server(postgres_url) as made:
        yield made


@pytest.fixture(scope="module")
def first(server: Scratch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    """A database at the first revision: no proof changes it."""
    with server.empty() as url:
        local(tmp_path_factory.mktemp("first") / "p").upgrade(url, "first")
        yield url


@contextmanager
def changed(server: Scratch, first: URL, script: str) -> Iterator[URL]:
    """Within: a copy of it to which *script* was done; itself where there is none."""
    if not script:
        yield first
        return
    with server.clone(first) as url:
        run(url, script)
        yield url


@dataclass
class Tried:
    """A proof and what is found in it."""

    proof: Proof
    path: Path

    @property
    def found(self) -> list[Finding]:
        """The findings."""
        return findings(self.proof, self.path)

    def step(self, name: str) -> str:
        """What a step saw."""
        return next(step.seen for step in self.proof.steps if step.name == name)


@pytest.fixture
def tried(server: Scratch, first: URL, tmp_path: Path) -> Callable[..., Tried]:
    """Prove a revision whose functions hold *up* and *down*."""

    def work(
        up: str,
        down: str,
        *,
        accepted: Sequence[str] = (),
        metadata: MetaData | None = None,
        script: str = "",
    ) -> Tried:
        alembic = local(tmp_path / "a project", metadata)
        path = tmp_path / "a project" / "versions" / "second.py"
        write(path, "second", "first", up, down)
        with changed(server, first, script) as url:
            proof = prove(
                alembic, server, url, "second", is_head=True, accepted=accepted, rows=ROWS
            )
        return Tried(proof, path)

    return work


GOOD = (
    """
    op.add_column("tickets", sa.Column("channel", sa.Text))
    op.create_index("ix_tickets_channel", "tickets", ["channel"])
    """,
    'op.drop_column("tickets", "channel")',
)
ORDER = [
    *("upgrade", "models", "downgrade", "schema after the downgrade", "rows"),
    *("second upgrade", "schema after the second upgrade"),
]


def test_a_good_revision_is_proved(tried: Callable[..., Tried]) -> None:
    seen = tried(*GOOD)
    assert seen.proof.passed, seen.proof.steps
    assert [step.name for step in seen.proof.steps] == ORDER
    assert seen.proof.rows == {"public.tickets": ROWS, "public.users": ROWS}
    assert seen.proof.unfilled == ()
    assert [each.sql for each in seen.proof.statements] == ["SELECT 1"]
    assert seen.found == []


ENUM = """
op.create_table("channels", sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Enum("a", "b", name="channel_kind")))
"""
ADD = 'op.add_column("tickets", sa.Column("channel", sa.Text))'
DROP = 'op.drop_column("tickets", "channel")'
# What goes up, what comes down, the step that fails, the rule, and words of the message.
FAULTS = {
    "no downgrade": (
        *(ADD, "pass", "schema after the downgrade", "downgrade-leaves"),
        "left table public.tickets: column channel text; add to the downgrade: "
        "op.drop_column('tickets', 'channel')",
    ),
    "leftover type": (
        *(ENUM, 'op.drop_table("channels")', "schema after the downgrade", "downgrade-leaves"),
        "left type public.channel_kind; add to the downgrade: "
        "sa.Enum(name='channel_kind').drop(op.get_bind())",
    ),
    "lost index": (
        ADD,
        f'{DROP}\nop.drop_index("ix_users_email", "users")',
        *("schema after the downgrade", "downgrade-leaves"),
        "lost table public.users: index ix_users_email CREATE UNIQUE INDEX",
    ),
    "fails on rows": (
        'op.add_column("tickets", sa.Column("channel", sa.Text, nullable=False))',
        *(DROP, "upgrade", "upgrade-fails"),
        'column "channel" of relation "tickets" contains null values (23502)',
    ),
    "fails on duplicates": (
        'op.create_unique_constraint("uq", "tickets", ["user_id"])',
        'op.drop_constraint("uq", "tickets")',
        *("upgrade", "upgrade-fails", "the rows are in its way"),
    ),
    "fails always": (
        'op.execute("SELECT * FROM nowhere")',
        *("pass", "upgrade", "upgrade-fails", "on empty tables too"),
    ),
    "error in Python": (
        '{}["key"]',
        *("pass", "upgrade", "upgrade-fails", "KeyError: 'key' ("),
    ),
    "downgrade fails": (
        ADD,
        'op.drop_column("tickets", "channels")',
        *("downgrade", "downgrade-fails", 'column "channels" of relation "tickets" does not exist'),
    ),
    "irreversible": (
        ADD,
        'raise NotImplementedError("there is no way back")',
        *("downgrade", "irreversible", "declared irreversible: NotImplementedError: there is no"),
    ),
    "second upgrade differs": (
        'op.create_index(f"ix_{secrets.token_hex(8)}", "users", ["name"])',
        """
        op.execute("DO $$ BEGIN EXECUTE (SELECT 'DROP INDEX ' || indexname FROM pg_indexes "
                   "WHERE indexdef LIKE '%%(name)'); END $$")
        """,
        *("schema after the second upgrade", "upgrade-differs", "CREATE INDEX ix_"),
    ),
    "second upgrade fails": (
        """op.execute("INSERT INTO users (email) VALUES ('admin')")""",
        *("pass", "second upgrade", "upgrade-fails", "Key (email)=(admin) already exists"),
    ),
    "rows deleted": (
        'op.execute("DELETE FROM tickets WHERE id > 10")',
        *("pass", "rows", "rows-lost"),
        f"public.tickets: {ROWS - 10} of {ROWS} rows lost by the upgrade",
    ),
    "table emptied": (
        'op.rename_table("tickets", "cases")',
        'op.rename_table("cases", "tickets")\nop.execute("DELETE FROM tickets WHERE id > 1")',
        *("rows", "rows-lost", f"public.tickets: {ROWS - 1} of {ROWS} rows lost by upgrade and"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_seeded_fault_turns_it_red(tried: Callable[..., Tried], fault: str) -> None:
    up, down, step, rule, words = FAULTS[fault]
    seen = tried(up, down)
    assert not seen.proof.passed
    assert [each.name for each in seen.proof.steps if not each.passed] == [step]
    (finding,) = seen.found
    assert (finding.rule, finding.severity, finding.revision) == (rule, "error", "second")
    assert words in finding.message
    assert "\n" not in finding.message
    assert "Traceback" not in finding.message
    assert finding.why
    assert finding.fix
    assert rule in RULES.values()
    place = re.search(r"second\.py:(\d+)\)", finding.message)
    line = seen.path.read_text().splitlines()[(finding.line or 0) - 1]
    if place:  # the line that failed
        assert finding.line == int(place[1])
        assert line.startswith("    ")
    else:
        assert line == f"def {'upgrade' if rule.startswith('upgrade') else 'downgrade'}() -> None:"


WHOLE = {
    "not null": (
        'op.add_column("tickets", sa.Column("a", sa.Integer, server_default="0", nullable=False))',
        1,
    ),
    "keys, checks and indexes": (
        """
        op.add_column("tickets", sa.Column("lower", sa.Integer))
        op.create_foreign_key("fk", "tickets", "users", ["lower"], ["id"])
        op.create_check_constraint("ck", "tickets", "lower > 0 OR title <> ''")
        op.create_unique_constraint("uq", "tickets", ["id", "lower"])
        op.create_index("ix", "tickets", ["title"], postgresql_where=sa.text("lower = 1"))
        op.create_index("ix_over", "tickets", [sa.text("abs(lower)")])
        op.create_index("ix_with", "tickets", ["old"], postgresql_include=["lower"])
        """,
        1,
    ),
    "what speaks of others": (
        """
        op.add_column("tickets", sa.Column("email", sa.Text))
        op.create_check_constraint("ck", "tickets", "title <> 'email'")
        op.create_foreign_key("fk", "tickets", "users", ["old"], ["id"])
        op.create_index("email_", "tickets", [sa.text("lower(title)")])
        """,
        4,
    ),
    "a sequence": (
        'op.execute("ALTER TABLE tickets ADD a serial, ADD b int GENERATED ALWAYS AS IDENTITY")',
        2,
    ),
    "a table": (
        """
        op.create_table("teams", sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
            sa.Column("user_id", sa.Integer, sa.ForeignKey("users.id"), nullable=False))
        """,
        1,
    ),
}


@pytest.mark.parametrize("change", WHOLE)
def test_what_is_told_to_be_added_to_the_downgrade_makes_it_right(
    tried: Callable[..., Tried], change: str
) -> None:
    """What goes with a column, or with a table, has no line: to drop it as well would fail."""
    up, lines = WHOLE[change]
    told = tried(up, "pass").step("schema after the downgrade").splitlines()
    mends = [line.partition("; add to the downgrade: ")[2] for line in told]
    assert len(mends) == lines, told
    seen = tried(up, "\n".join(mends))
    assert seen.proof.passed, seen.proof.steps


def test_an_error_of_the_revision_is_placed(tried: Callable[..., Tried]) -> None:
    seen = tried('{}["key"]', "pass")
    line = seen.path.read_text().splitlines().index('    {}["key"]') + 1
    assert f"second.py:{line})" in seen.step("upgrade")


@pytest.mark.parametrize(
    ("rule", "up", "down", "steps"),
    [
        ("irreversible", ADD, 'raise NotImplementedError("meant")', 3),
        ("rows-lost", 'op.execute("DELETE FROM tickets")', "pass", 7),
        ("downgrade-leaves", f"{ADD[:-1]}, if_not_exists=True)", "pass", 7),
    ],
)
def test_what_the_revision_accepts_passes_and_is_said(
    tried: Callable[..., Tried], rule: str, up: str, down: str, steps: int
) -> None:
    seen = tried(up, down, accepted=[rule])
    assert seen.proof.passed
    assert len(seen.proof.steps) == steps
    assert [step.name for step in seen.proof.steps if "accepted by the revision" in step.seen]
    assert seen.found == []


def test_an_accepted_failure_on_rows_is_tried_without_them(tried: Callable[..., Tried]) -> None:
    up, down, *_ = FAULTS["fails on rows"]
    seen = tried(up, down, accepted=["upgrade-fails"])
    assert seen.proof.passed
    assert [step.name for step in seen.proof.steps] == ORDER
    assert "contains null values" in seen.step("upgrade")
    assert seen.step("upgrade").endswith("what follows was tried there")
    up, down, *_ = FAULTS["fails always"]
    assert not tried(up, down, accepted=["upgrade-fails"]).proof.passed


def test_values_that_do_not_come_back_are_told(tried: Callable[..., Tried]) -> None:
    seen = tried(
        'op.drop_column("tickets", "old")',
        'op.add_column("tickets", sa.Column("old", sa.Integer))',
    )
    assert seen.proof.passed
    (finding,) = seen.found
    assert (finding.rule, finding.severity) == ("values-lost", "info")
    assert finding.message.startswith("public.tickets.old: ")
    assert finding.message.endswith(" values lost")


def test_a_table_dropped_on_purpose_is_told_once(tried: Callable[..., Tried]) -> None:
    """At the line that drops it, under the name that the repair has for it."""
    seen = tried('op.drop_table("tickets")', FIRST[FIRST.index('op.create_table("tickets"') :])
    assert seen.proof.passed
    (finding,) = seen.found
    assert (finding.rule, finding.severity) == ("drops-data", "warning")
    known = [
        replace(finding, path=None, message="the table tickets is dropped with all that it holds"),
        replace(finding, message="the table other is dropped with all that it holds"),
    ]
    assert findings(seen.proof, seen.path, known) == [known[1], finding]
    drop = Statement("second", True, "DROP TABLE tickets", seen.path, 77)
    (placed,) = findings(replace(seen.proof, statements=(drop,)), seen.path)
    assert placed.line == 77


def test_other_values_are_noted(tried: Callable[..., Tried]) -> None:
    seen = tried("op.execute(\"UPDATE tickets SET title = 'x' WHERE id < 5\")", "pass")
    assert seen.proof.passed
    assert seen.step("rows") == "public.tickets.title: other values than before"
    assert seen.found == []


def test_models_that_differ_are_found(tried: Callable[..., Tried]) -> None:
    metadata = MetaData()
    Table("wanted", metadata, Column("id", Integer, primary_key=True))
    seen = tried(*GOOD, metadata=metadata)
    assert [step.name for step in seen.proof.steps if not step.passed] == ["models"]
    (finding,) = seen.found
    assert finding.rule == "models-differ"
    assert "add_table" in finding.message
    assert "wanted" in finding.message


def test_models_are_compared_at_the_head_alone(server: Scratch, first: URL, tmp_path: Path) -> None:
    metadata = MetaData()
    Table("wanted", metadata, Column("id", Integer, primary_key=True))
    alembic = local(tmp_path / "p", metadata)
    write(tmp_path / "p" / "versions" / "second.py", "second", "first", *GOOD)
    proof = prove(alembic, server, first, "second", is_head=False, rows=ROWS)
    assert proof.passed
    assert "models" not in [step.name for step in proof.steps]


def test_a_constraint_may_stay_validated(tried: Callable[..., Tried]) -> None:
    seen = tried(
        'op.execute("ALTER TABLE tickets VALIDATE CONSTRAINT c")',
        "pass",
        script="ALTER TABLE tickets ADD CONSTRAINT c CHECK (id > 0) NOT VALID",
    )
    assert seen.proof.passed, seen.proof.steps
    assert seen.step("schema after the downgrade").startswith("stays validated: table public.tick")


def test_a_table_without_rows_is_named(tried: Callable[..., Tried]) -> None:
    seen = tried(*GOOD, script="CREATE TABLE never (a integer NOT NULL CHECK (a <> a))")
    assert seen.proof.passed
    assert [each.table for each in seen.proof.unfilled] == ["public.never"]
    (finding,) = seen.found
    assert (finding.rule, finding.severity) == ("not-proved", "warning")
    assert finding.message.startswith("public.never has no row: ")
    assert "never_a_check" in finding.message


def test_the_database_before_stays_as_it_was(first: URL, tried: Callable[..., Tried]) -> None:
    before = with_connection(first, schema_of)
    assert not tried(ADD, "pass").proof.passed
    assert with_connection(first, schema_of) == before
    held = with_connection(first, lambda each: contents_of(each, version_table="alembic_version"))
    assert {each.rows for each in held.values()} == {0}


def test_a_refusal_ends_the_run(server: Scratch, first: URL) -> None:
    class Refusing(Local):
        def upgrade(self, url: URL, revision: str, *, break_at: int = 0) -> Sequence[Statement]:
            raise Refused("no")

    with pytest.raises(Refused):
        prove(Refusing(alembic_config), server, first, "x", is_head=True, rows=1)


def test_the_desks_own_revisions_are_proved(server: Scratch) -> None:
    def config(url: URL) -> Config:
        return alembic_config(url.render_as_string(hide_password=False))

    alembic = Local(config)
    tables = set[str]()
    with server.empty() as before:
        for revision in REVISIONS:
            proof = prove(alembic, server, before, revision, is_head=False, rows=10)
            assert proof.passed, proof.steps
            assert proof.unfilled == ()
            assert findings(proof, Path(__file__)) == []
            assert set(proof.rows.values()) <= {10}
            tables |= set(proof.rows)
            alembic.upgrade(before, revision)
    assert len(tables) == 11
