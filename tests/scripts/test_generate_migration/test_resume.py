"""An upgrade that fails half-way is run again: what was committed may lie in its own way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from sqlalchemy import URL, Connection, Pool, event
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from tests.scripts.test_generate_migration.projects import FIRST, SECOND, env, revision, shop

# isort: split
from generate_migration.core import BrokenOff, Finding, Statement, Step  # the script's folder
from generate_migration.project import find, inside
from generate_migration.prove import RESUMED, RULES, findings, prove
from generate_migration.resume import MOST, has_commits, resumed, spoken
from generate_migration.run import Runner
from generate_migration.scratch import Scratch, with_connection

BY_VARIABLE = 'os.environ["DATABASE_URL"]'
SYNC = f"create_engine({BY_VARIABLE}, poolclass=pool.NullPool)"
ENGINES = {
    "psycopg2": SYNC,
    "psycopg": SYNC,
    "asyncpg": f"create_async_engine({BY_VARIABLE}, poolclass=pool.NullPool)",
}
BLOCK = "with op.get_context().autocommit_block():\n    "
INDEX = (
    f'{BLOCK}op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix")\n'
    '    op.create_index("ix", "orders", ["customer"], postgresql_concurrently=True)'
)
CHECK = "op.execute(\"ALTER TABLE orders ADD CONSTRAINT known CHECK (customer <> '') NOT VALID\")"
VALIDATE = f'{BLOCK}op.execute("ALTER TABLE orders VALIDATE CONSTRAINT known")'
COLUMN = f'op.add_column("orders", sa.Column("note", sa.Text))\n{INDEX}'
ROW = "INSERT INTO orders (id, customer) OVERRIDING SYSTEM VALUE VALUES (1000, 'a')"
# As one writes who knows that it may fail.
GUARDS = """
names = {{each["name"] for each in sa.inspect(op.get_bind()).get_indexes("orders")}}
if "one" not in names:
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY one ON orders (customer)")
op.add_column("orders", sa.Column("note", sa.Text){})
if "two" not in names:
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY two ON orders (customer)")
op.execute("SELECT 1")
"""
# By fault: the revision, what its second attempt meets, and its mended form.
FAULTS = {
    "column": (
        COLUMN,
        'column "note" of relation "orders" already exists (42701)',
        f'op.add_column("orders", sa.Column("note", sa.Text), if_not_exists=True)\n{INDEX}',
    ),
    "table": (
        f'op.create_table("teams", sa.Column("id", sa.Integer))\n{INDEX}',
        'relation "teams" already exists (42P07)',
        f'op.create_table("teams", sa.Column("id", sa.Integer), if_not_exists=True)\n{INDEX}',
    ),
    "constraint": (
        f"{CHECK}\n{VALIDATE}",
        'constraint "known" for relation "orders" already exists (42710)',
        f'op.execute("ALTER TABLE orders DROP CONSTRAINT IF EXISTS known")\n{CHECK}\n{VALIDATE}',
    ),
    "rename": (
        f'op.alter_column("orders", "customer", new_column_name="buyer")\n'
        f'{BLOCK}op.execute("ANALYZE orders")',
        'column "customer" does not exist (42703)',
        'op.alter_column("orders", "customer", new_column_name="buyer")',
    ),
    "index that goes": (
        f'{BLOCK}op.drop_index("old", postgresql_concurrently=True)\n    op.execute("ANALYZE")',
        'index "old" does not exist (42704)',
        f'{BLOCK}op.drop_index("old", postgresql_concurrently=True, if_exists=True)\n'
        '    op.execute("ANALYZE")',
    ),
    "constraint that goes": (
        f'op.drop_constraint("pk_orders", "orders")\n{BLOCK}op.execute("ANALYZE orders")',
        'constraint "pk_orders" of relation "orders" does not exist (42704)',
        f'op.drop_constraint("pk_orders", "orders", if_exists=True)\n'
        f'{BLOCK}op.execute("ANALYZE orders")',
    ),
    "value": (
        "op.execute(\"CREATE TYPE channel AS ENUM ('mail')\")\n"
        f"{BLOCK}op.execute(\"ALTER TYPE channel ADD VALUE 'chat'\")",
        'type "channel" already exists (42710)',
        "op.execute(\"DROP TYPE IF EXISTS channel; CREATE TYPE channel AS ENUM ('mail')\")\n"
        f"{BLOCK}op.execute(\"ALTER TYPE channel ADD VALUE IF NOT EXISTS 'chat'\")",
    ),
    "row": (
        f'op.execute("{ROW}")\n{INDEX}',
        "violates unique constraint",
        f'op.execute("{ROW} ON CONFLICT DO NOTHING")\n{INDEX}',
    ),
    "once too often": (
        f'op.execute("CREATE INDEX ON orders (customer)")\n{BLOCK}op.execute("ANALYZE orders")',
        "left table public.orders: index orders_customer_idx1",
        'op.execute("CREATE INDEX IF NOT EXISTS orders_customer_idx ON orders (customer)")\n'
        f'{BLOCK}op.execute("ANALYZE orders")',
    ),
    "within the block": (
        f'{BLOCK}op.execute("CREATE TABLE one (id int)")\n'
        '    op.execute("CREATE TABLE two (id int)")',
        'relation "one" already exists (42P07)',
        f'{BLOCK}op.execute("CREATE TABLE IF NOT EXISTS one (id int)")\n'
        '    op.execute("CREATE TABLE IF NOT EXISTS two (id int)")',
    ),
    "committed by hand": (
        'op.execute("CREATE TABLE one (id int)")\nop.execute("COMMIT")\nop.execute("BEGIN")\n'
        'op.execute("CREATE TABLE two (id int)")',
        'relation "one" already exists (42P07)',
        'op.execute("CREATE TABLE one (id int)")\nop.execute("CREATE TABLE two (id int)")',
    ),
    "guards": (
        GUARDS.format(""),
        'column "note" of relation "orders" already exists (42701)',
        GUARDS.format(", if_not_exists=True"),
    ),
    "row without a key": (
        f"op.execute(\"INSERT INTO orders (customer) VALUES ('a')\")\n{INDEX}",
        "public.orders: 2 rows, not 1",
        "op.execute(\"INSERT INTO orders (customer) SELECT 'a' WHERE NOT EXISTS "
        f"(SELECT FROM orders WHERE customer = 'a')\")\n{INDEX}",
    ),
}


class Shop:
    """A project at its first revision, and its second to be tried."""

    def __init__(self, folder: Path, url: URL, driver: str = "psycopg", env_py: str = "") -> None:
        self.folder, self.url = folder, url
        options = ", transaction_per_migration=True"
        ini = shop(folder, env_py=env_py or env(ENGINES[driver], options=options))
        self.project = find(ini, folder, "alembic", ())
        self.upgrade(FIRST)

    def upgrade(self, name: str = SECOND, break_at: int = 0) -> Sequence[Statement]:
        """Go up to the revision *name*."""
        with inside(self.project):
            return Runner(self.project).upgrade(self.url, name, break_at=break_at)

    def execute(self, sql: str) -> None:
        """Run *sql*, and commit."""

        def work(connection: Connection) -> None:
            connection.exec_driver_sql(sql)
            connection.commit()

        with_connection(self.url, work)

    def write(self, body: str) -> Path:
        """The second revision."""
        return revision(self.folder, SECOND, FIRST, body)

    def resumed(self, body: str, scratch: Scratch) -> tuple[list[str], list[str]]:
        """The faults of a second revision, and what was not tried."""
        self.write(body)
        with inside(self.project):
            runner, table = Runner(self.project), "alembic_version"
            return resumed(runner, scratch, self.url, SECOND, version_table=table) or ([], [])

    def proved(
        self, body: str, scratch: Scratch, accepted: Sequence[str] = ()
    ) -> tuple[Step, list[Finding]]:
        """The step of the whole proof, and what is found by its rule."""
        path = self.write(body)
        with inside(self.project):
            proof = prove(
                Runner(self.project),
                scratch,
                self.url,
                SECOND,
                is_head=False,
                rows=3,
                accepted=accepted,
            )
        (step,) = (each for each in proof.steps if each.name == RESUMED)
        return step, [each for each in findings(proof, path) if each.rule == RULES[RESUMED]]


@pytest.fixture(params=ENGINES)
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the three."""
    name: str = request.param
    monkeypatch.setenv("DATABASE_URL", f"postgresql+{name}://nobody@127.0.0.1:1/never")
    return name


@pytest.fixture
def made(tmp_path: Path, empty: URL, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A project with psycopg."""
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/never")
    made = Shop(tmp_path, empty)
    made.execute("CREATE INDEX old ON orders (customer)")
    return made


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_the_second_time_is_found(made: Shop, scratch: Scratch, fault: str) -> None:
    body, words, _ = FAULTS[fault]
    (seen, *_), _ = made.resumed(body, scratch)
    assert words in seen
    assert "broken off before line" in seen


@pytest.mark.parametrize("fault", FAULTS)
def test_the_mended_form_runs_twice(made: Shop, scratch: Scratch, fault: str) -> None:
    assert made.resumed(FAULTS[fault][2], scratch) == ([], [])


def test_it_is_what_a_failed_deployment_meets(made: Shop) -> None:
    """Two rows are in the index's way; when they have gone, the column is."""
    unique = COLUMN.replace('["customer"]', '["customer"], unique=True')
    made.write(unique)
    made.execute("INSERT INTO orders (customer) VALUES ('a'), ('a')")
    with pytest.raises(IntegrityError, match="could not create unique index"):
        made.upgrade()
    made.execute("DELETE FROM orders")
    with pytest.raises(ProgrammingError, match='column "note" of relation "orders" already exists'):
        made.upgrade()
    made.write(unique.replace("sa.Text))", "sa.Text), if_not_exists=True)"))
    made.upgrade()


def test_every_driver_is_broken_off_where_it_says(
    driver: str, tmp_path: Path, scratch: Scratch, empty: URL
) -> None:
    made = Shop(tmp_path, empty, driver)
    path = made.write(
        """
        op.execute("SET LOCAL lock_timeout = '1s'")
        op.add_column("orders", sa.Column("note", sa.Text))
        op.add_column("orders", sa.Column("more", sa.Text))
        with op.get_context().autocommit_block():
            op.execute("SET lock_timeout = 0")
            op.execute("CREATE INDEX CONCURRENTLY one ON orders (customer)")
            op.execute("CREATE INDEX two ON orders (customer)")
            op.execute("RESET lock_timeout")
        op.add_column("orders", sa.Column("last", sa.Text))
        """
    )
    lines = path.read_text().splitlines()
    for number, word in enumerate(("INDEX CONCURRENTLY one", "INDEX two", '"last"'), 1):
        with scratch.clone(empty) as made.url, pytest.raises(BrokenOff) as broken:
            made.upgrade(break_at=number)
        assert word in lines[int(broken.value.place.removeprefix("before line ")) - 1]
    with scratch.clone(empty) as made.url:
        assert len(made.upgrade(break_at=4)) == 8  # there is no fourth commit: it goes through


@pytest.mark.parametrize(
    "hiding",
    ["except Exception:\n    raise SystemExit(1)", "except BaseException:\n    pass"],
)
def test_env_py_does_not_hide_it(
    tmp_path: Path, empty: URL, monkeypatch: pytest.MonkeyPatch, hiding: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/never")
    source = env(SYNC, options=", transaction_per_migration=True")
    head, connecting, rest = source.rpartition("with connectable.connect()")
    assert connecting
    hidden = indent(connecting + rest, "    ")
    made = Shop(tmp_path, empty, env_py=f"{head}try:\n{hidden}\n{hiding}\n")
    made.write(COLUMN)
    with pytest.raises(BrokenOff):
        made.upgrade(break_at=1)


def test_a_revision_does_not_hide_it(made: Shop, scratch: Scratch) -> None:
    """It catches what PostgreSQL may say, not us."""
    body = """
        op.execute("CREATE TABLE one (id int)")
        with op.get_context().autocommit_block():
            try:
                op.execute("ANALYZE orders")
            except Exception:
                pass
        """
    (seen,), _ = made.resumed(body, scratch)
    assert 'relation "one" already exists' in seen


def test_the_finding_says_where(made: Shop, scratch: Scratch) -> None:
    step, (finding,) = made.proved(COLUMN, scratch)
    assert not step.passed
    assert (finding.rule, finding.severity) == ("upgrade-not-repeatable", "error")
    assert finding.path is not None
    assert finding.line is not None
    lines = finding.path.read_text().splitlines()
    assert "add_column" in lines[finding.line - 1]
    drop = next(number for number, line in enumerate(lines, 1) if "DROP INDEX" in line)
    assert finding.message.endswith(
        f"when it was broken off before line {drop} and before line {drop + 1}, and run again"
    )


def test_it_may_be_meant(made: Shop, scratch: Scratch) -> None:
    step, found = made.proved(COLUMN, scratch, ["upgrade-not-repeatable"])
    assert step.passed
    assert step.seen.endswith("\naccepted by the revision")
    assert found == []


def test_what_needs_rows_is_not_tried(made: Shop, scratch: Scratch) -> None:
    """The copies have none: it says so, and claims nothing."""
    step, found = made.proved(f"op.execute('SELECT 1 / count(*) FROM orders')\n{COLUMN}", scratch)
    assert step.passed
    assert step.seen.startswith("not tried: without rows ")
    assert "division by zero" in step.seen
    assert found == []


def test_a_loop_is_one_commit_and_a_long_row_is_tried_in_part(made: Shop, scratch: Scratch) -> None:
    loop = """
        with op.get_context().autocommit_block():
            for number in range(20):
                op.execute(f"CREATE TABLE t{number} ()")
        """
    (seen,), notes = made.resumed(loop, scratch)
    assert 'relation "t0" already exists' in seen
    assert notes == []
    lines = [f"    op.execute('CREATE TABLE IF NOT EXISTS t{n} ()')" for n in range(MOST + 2)]
    rest = 'op.add_column("orders", sa.Column("note", sa.Text))'
    body = "\n".join([BLOCK.rstrip(), *lines, rest, f'{BLOCK}op.execute("ANALYZE orders")'])
    assert made.resumed(body, scratch) == (
        [],
        [f"not tried: what follows the first {MOST} commits"],
    )
    step, found = made.proved(body, scratch)
    assert step.passed
    assert step.seen.startswith("not tried: ")
    assert found == []


LAST = f'{BLOCK}op.drop_index("old", postgresql_concurrently=True{{}})'


@pytest.mark.parametrize(
    ("options", "guard", "seen"),
    [
        ("", "", ['index "old" does not exist (42704)']),
        ("", ", if_exists=True", []),
        (", transaction_per_migration=True", "", []),
    ],
)
def test_what_is_done_last_and_not_recorded(  # noqa: PLR0917 - fixtures
    tmp_path: Path,
    scratch: Scratch,
    empty: URL,
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    guard: str,
    seen: list[str],
) -> None:
    """All revisions in one transaction, as ``alembic init`` has it: a later one that fails takes
    the record back, and not what an autocommit block has done.
    """
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/never")
    made = Shop(tmp_path, empty, env_py=env(SYNC, options=options))
    made.execute("CREATE INDEX old ON orders (customer)")
    found, _ = made.resumed(LAST.format(guard), scratch)
    assert [each.partition(" (/")[0] for each in found] == seen
    if found:
        assert "broken off after line 14, since a later revision failed, and run" in found[0]
    # And so it is: the third fails, and the second is in its own way.
    third = "cccc00000003"
    revision(made.folder, third, SECOND, 'op.execute("SELECT 1 / 0")')
    with pytest.raises(DataError, match="division by zero"):
        made.upgrade(third)
    again = "does not exist" if seen else "division by zero"
    with pytest.raises(DBAPIError, match=again):
        made.upgrade(third)


LOCKING = """
connectable = create_engine(os.environ["DATABASE_URL"])
with connectable.connect() as connection:
    connection.exec_driver_sql("SET statement_timeout = '20s'")
    connection.exec_driver_sql("SELECT pg_advisory_lock(4711)")
    connection.commit()
    try:
        run(connection)
    finally:
        connection.exec_driver_sql("SELECT pg_advisory_unlock(4711)")
"""


def test_a_lock_of_env_py_that_outlives_the_break_holds_nobody_up(
    tmp_path: Path, scratch: Scratch, empty: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pool keeps the connection, and nothing unlocks: so it is where a deployment dies."""
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/never")
    head, connecting, _ = env(SYNC).partition("connectable =")
    assert connecting
    with connections_closed_at_the_end():
        made = Shop(tmp_path, empty, env_py=head + LOCKING)
        assert made.resumed(FAULTS["column"][2], scratch) == ([], [])


@contextmanager
def connections_closed_at_the_end() -> Iterator[None]:
    """Within: what nobody disposes of is kept; psycopg warns where the collector finds it open."""
    kept: list[Any] = []

    def keep(connection: Any, _record: object) -> None:
        kept.append(connection)

    event.listen(Pool, "connect", keep)
    try:
        yield
    finally:
        event.remove(Pool, "connect", keep)
        for each in kept:
            each.close()


def statement(transaction: int | None) -> Statement:
    """One in that transaction."""
    return Statement(SECOND, True, "SELECT 1", transaction=transaction)


@pytest.mark.parametrize(
    ("transactions", "expected"),
    [
        *(([], False), ([1], False), ([1, 1], False), ([None], True)),
        *(([1, 2], True), ([1, None], True), ([None, 1], True), ([None, None], True)),
    ],
)
def test_where_something_may_be_committed_on_the_way(
    transactions: list[int | None], expected: bool
) -> None:
    assert has_commits([statement(each) for each in transactions]) is expected


def test_where_nothing_is_committed_there_is_no_step(made: Shop, scratch: Scratch) -> None:
    path = made.write(f'{BLOCK}op.execute("ANALYZE orders")')
    with inside(made.project):
        runner = Runner(made.project)
        proof = prove(runner, scratch, made.url, SECOND, is_head=False, rows=3)
    assert RESUMED not in {step.name for step in proof.steps}, path


def test_places_are_spoken() -> None:
    assert spoken([]) == ""
    assert spoken(["a"]) == "a"
    assert spoken(["a", "b"]) == "a and b"
    assert spoken(["a", "b", "c"]) == "a, b and c"
