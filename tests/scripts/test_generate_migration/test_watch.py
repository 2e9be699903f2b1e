"""What is seen of a revision's statements: by every driver, in every kind of transaction."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError

from tests.scripts.test_generate_migration.projects import FIRST, SECOND, env, revision, shop

# isort: split
from generate_migration.as_sent import as_sent, literal
from generate_migration.core import Lock, Statement
from generate_migration.project import find, inside
from generate_migration.run import Runner
from generate_migration.scratch import with_connection

BY_VARIABLE = 'os.environ["DATABASE_URL"]'
ENGINES = {
    "psycopg2": f"create_engine({BY_VARIABLE}, poolclass=pool.NullPool)",
    "psycopg": f"create_engine({BY_VARIABLE}, poolclass=pool.NullPool)",
    "asyncpg": f"create_async_engine({BY_VARIABLE}, poolclass=pool.NullPool)",
}
PER_REVISION = ", transaction_per_migration=True"
ROWS = 7


@pytest.fixture(params=ENGINES)
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the three."""
    name: str = request.param
    monkeypatch.setenv("DATABASE_URL", f"postgresql+{name}://nobody@127.0.0.1:1/never")
    return name


def filled(connection: Connection) -> None:
    """Some orders."""
    rows = text("INSERT INTO orders (customer) SELECT 'c' || n FROM generate_series(1, :n) AS n")
    connection.execute(rows, {"n": ROWS})
    connection.commit()


class Shop:
    """A project at its first revision, on a database with rows."""

    def __init__(self, folder: Path, driver: str, url: URL, options: str = "") -> None:
        self.folder, self.url = folder, url
        ini = shop(folder, env_py=env(ENGINES[driver], options=options))
        self.project = find(ini, folder, "alembic", ())
        self.runner = Runner(self.project)
        with inside(self.project):
            self.runner.upgrade(url, FIRST)
        with_connection(url, filled)

    def run(self, upgrade: str, downgrade: str = "pass") -> Sequence[Statement]:
        """Write a second revision, and go up to it."""
        self.path = revision(self.folder, SECOND, FIRST, upgrade, downgrade)
        self.runner = Runner(self.project)  # it reads the revisions once
        with inside(self.project):
            return self.runner.upgrade(self.url, "heads")

    def back(self) -> Sequence[Statement]:
        """Go down again."""
        with inside(self.project):
            return self.runner.downgrade(self.url, SECOND)


def modes(locks: Sequence[Lock], relation: str) -> set[str]:
    """The modes in which *relation* is locked."""
    return {lock.mode for lock in locks if lock.relation == relation}


def test_in_a_transaction(driver: str, tmp_path: Path, empty: URL) -> None:
    """One for all revisions, or one for each: the numbers are those of the revision."""
    options = PER_REVISION if driver == "psycopg" else ""
    made = Shop(tmp_path, driver, empty, options)
    found = made.run(
        """
        op.execute("SET LOCAL lock_timeout = '650ms'")
        op.add_column("orders", sa.Column("note", sa.Text))
        op.create_index("ix_orders_note", "orders", ["note"])
        op.execute(sa.text("UPDATE orders SET note = :note").bindparams(note="it's 100%"))
        op.execute("ALTER TABLE orders ALTER customer TYPE bytea USING customer::bytea")
        """,
        'op.drop_column("orders", "note")',
    )
    setting, column, index, update, rewrite = found
    assert {each.revision for each in found} == {SECOND}
    assert all(each.upgrade for each in found)
    assert [each.transaction for each in found] == [1] * 5
    assert [each.lock_timeout for each in found] == ["0"] + ["650ms"] * 4
    assert (setting.path, setting.line) == (made.path, 13)
    assert [each.line for each in found] == [13, 14, 15, 16, 17]
    assert setting.held == ()
    assert modes(column.taken, "public.orders") == {"AccessExclusiveLock"}
    assert not column.scanned
    assert not column.rewritten
    # The index is the revision's own: nobody waits for it.
    assert {lock.relation for lock in index.held} == {"public.orders"}
    assert modes(index.taken, "public.orders") == {"ShareLock"}
    assert modes(index.held, "public.orders") >= {"AccessExclusiveLock", "ShareLock"}
    assert index.scanned == {"public.orders": ROWS}
    assert update.sql.removesuffix("::VARCHAR") == "UPDATE orders SET note = 'it''s 100%'"
    assert update.written == {"public.orders": ROWS}
    assert rewrite.rewritten == ("public.orders",)
    (down,) = made.back()
    assert not down.upgrade
    assert (down.transaction, down.line) == (1, 21)
    assert modes(down.taken, "public.orders") == {"AccessExclusiveLock"}


def test_an_autocommit_block(driver: str, tmp_path: Path, empty: URL) -> None:
    """Each statement is a transaction; what may run inside of one shows its locks none the less."""
    made = Shop(tmp_path, driver, empty, PER_REVISION)
    found = made.run(
        """
        op.add_column("orders", sa.Column("note", sa.Text))
        with op.get_context().autocommit_block():
            op.execute("SET lock_timeout = '700ms'")
            op.create_index("ix_orders_note", "orders", ["note"], postgresql_concurrently=True)
            op.execute("ALTER TABLE orders ADD CONSTRAINT long CHECK (customer <> '') NOT VALID")
            op.execute("UPDATE orders SET note = 'x'")
            op.execute("VACUUM FULL orders")
            op.execute("DO $$ BEGIN UPDATE orders SET note = 'y'; COMMIT; END $$")
            op.execute("RESET lock_timeout")
        op.drop_column("orders", "customer")
        """
    )
    assert [each.transaction for each in found] == [1] + [None] * 7 + [2]
    _, _, concurrent, check, update, vacuum, block, reset, dropped = found
    assert [each.lock_timeout for each in found] == ["0"] * 2 + ["700ms"] * 6 + ["0"]
    assert (concurrent.held, concurrent.scanned) == ((), {})
    assert modes(check.taken, "public.orders") == {"AccessExclusiveLock"}
    assert not check.scanned
    assert modes(update.held, "public.orders") == {"RowExclusiveLock"}
    assert update.written == {"public.orders": ROWS}
    assert vacuum.rewritten == ("public.orders",)
    assert (block.held, block.written, reset.held) == ((), {}, ())
    # What came before is committed, so its locks are gone.
    assert modes(dropped.held, "public.orders") == {"AccessExclusiveLock"}
    count = text("SELECT count(*) FROM orders WHERE note = 'y'")
    assert with_connection(empty, lambda connection: connection.scalar(count)) == ROWS


def test_a_refused_statement_of_an_autocommit_block(
    driver: str, tmp_path: Path, empty: URL
) -> None:
    made = Shop(tmp_path, driver, empty)
    with pytest.raises(DBAPIError, match="is violated by some row"):
        made.run(
            """
            with op.get_context().autocommit_block():
                op.execute("ALTER TABLE orders ADD CONSTRAINT c CHECK (customer = '')")
            """
        )
    # Nothing of it is left, and the next run begins anew.
    (found,) = made.run('op.execute("ALTER TABLE orders ADD CONSTRAINT c CHECK (id > 0)")')
    assert found.scanned == {"public.orders": ROWS}


def test_a_refused_statement_of_a_transaction(driver: str, tmp_path: Path, empty: URL) -> None:
    """It is told, with what it follows; nothing is known of what it would have done."""
    made = Shop(tmp_path, driver, empty)
    with pytest.raises(DBAPIError, match="contains null values"):
        made.run(
            """
            op.add_column("orders", sa.Column("note", sa.Text))
            op.alter_column("orders", "note", nullable=False)
            """
        )
    added, refused = made.runner.first_runs[SECOND]
    assert refused.sql == "ALTER TABLE orders ALTER COLUMN note SET NOT NULL"
    assert (refused.transaction, refused.line, refused.taken) == (1, 14, ())
    assert refused.held == added.held


def test_rows_by_bulk_insert(driver: str, tmp_path: Path, empty: URL) -> None:
    made = Shop(tmp_path, driver, empty)
    found = made.run(
        """
        orders = sa.table("orders", sa.column("customer", sa.Text))
        op.bulk_insert(orders, [{"customer": "O'Brien"}, {"customer": "100%"}])
        op.execute(orders.insert().values(customer="alone"))
        """
    )
    assert sum(each.written.get("public.orders", 0) for each in found) == 3
    assert "'O''Brien'" in found[0].sql
    assert "'alone'" in found[-1].sql
    assert all("%(" not in each.sql and "$1" not in each.sql for each in found)


def test_tables_of_its_own_are_left_out(tmp_path: Path, empty: URL) -> None:
    made = Shop(tmp_path, "psycopg", empty)
    found = made.run(
        """
        op.create_table("lines", sa.Column("id", sa.BigInteger, primary_key=True),
            sa.Column("order_id", sa.BigInteger, sa.ForeignKey("orders.id")))
        op.execute("INSERT INTO lines SELECT id, id FROM orders")
        op.create_index("ix_lines_order_id", "lines", ["order_id"])
        """,
        'op.drop_table("lines")',
    )
    named = {lock.relation for each in found for lock in each.held}
    assert named == {"public.orders", "public.pk_orders"}
    assert modes(found[0].taken, "public.orders") >= {"ShareRowExclusiveLock"}
    assert found[1].written == {}
    (down,) = made.back()
    assert modes(down.taken, "public.lines") == {"AccessExclusiveLock"}


def test_odd_names_and_another_schema(tmp_path: Path, empty: URL) -> None:
    made = Shop(tmp_path, "psycopg", empty)
    made.run(
        """
        op.execute('CREATE SCHEMA "My Schema"')
        op.execute('CREATE TABLE "My Schema"."Odd ""Name" (id int)')
        """
    )
    revision(
        tmp_path,
        "cccc00000003",
        SECOND,
        """
        op.execute("SET LOCAL search_path = 'My Schema'")
        op.execute('CREATE FUNCTION pg_backend_pid() RETURNS int LANGUAGE sql RETURN 0')
        op.execute('ALTER TABLE "Odd ""Name" ADD note text')
        op.execute("SET LOCAL search_path = public")
    """,
    )
    with inside(made.project):
        found = Runner(made.project).upgrade(empty, "heads")[2]
    assert found.taken == (Lock('My Schema.Odd "Name', "AccessExclusiveLock"),)


def test_the_line_is_the_nearest_of_the_revision(tmp_path: Path, empty: URL) -> None:
    """A helper of the revision's own ran it; one of another file is passed over."""
    made = Shop(tmp_path, "psycopg", empty)
    path = made.folder / "src" / "shop" / "helping.py"
    path.write_text("def run(op):\n    op.execute('SELECT 2')\n")
    first, second = made.run(
        """
        def helper():
            op.execute("SELECT 1")

        helper()
        from shop.helping import run
        run(op)
        """
    )
    assert (first.sql, first.line) == ("SELECT 1", 14)
    assert (second.sql, second.line, second.path) == ("SELECT 2", 18, made.path)


def test_what_must_come_first_in_a_transaction_does(tmp_path: Path, empty: URL) -> None:
    """Our own questions would be too early."""
    made = Shop(tmp_path, "psycopg", empty, PER_REVISION)
    found = made.run(
        """
        with op.get_context().autocommit_block():
            op.execute("BEGIN")
            op.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            op.execute("UPDATE orders SET customer = 'x'")
            op.execute("COMMIT")
        """
    )
    assert [each.sql for each in found][:2] == [
        "BEGIN",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    ]
    assert found[2].written == {"public.orders": ROWS}


def test_another_version_table(tmp_path: Path, empty: URL) -> None:
    options = ', version_table="Versions of shop", version_table_schema="public"'
    made = Shop(tmp_path, "psycopg", empty, options)
    made.run("op.execute('SELECT 1')")
    assert made.runner.version_table == "Versions of shop"
    assert made.runner.version_table_schema == "public"
    assert made.back() == []


# --- The words ------------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize(
    ("statement", "parameters", "style", "sent"),
    [
        ("a = %(a)s AND b LIKE 'x%%'", {"a": "y"}, "pyformat", "a = 'y' AND b LIKE 'x%'"),
        ("a = %s, %s", ("y", 1), "format", "a = 'y', 1"),
        ("a = %(b)s", {}, "pyformat", "a = %(b)s"),
        ("a = $1::TEXT AND b = $2", ("y", None), "numeric_dollar", "a = 'y'::TEXT AND b = NULL"),
        ("AS $$ SELECT $1 $$", (), "numeric_dollar", "AS $$ SELECT $1 $$"),
        ("100%% $1 %(a)s", None, "", "100%% $1 %(a)s"),
    ],
)
def test_parameters_as_literals(statement: str, parameters: object, style: str, sent: str) -> None:
    assert as_sent(statement, parameters, style) == sent


@pytest.mark.once
def test_many_rows() -> None:
    sent = as_sent("VALUES (%(a)s)", [{"a": 1}, {"a": 2}, {"a": 3}], "pyformat", many=True)
    assert sent == "VALUES (1) /* and 2 more like it */"
    assert as_sent("VALUES (%(a)s)", [{"a": 1}], "pyformat", many=True) == "VALUES (1)"


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -3,
        decimal.Decimal("1.50"),
        "it's 100%",
        b"\x00\xff",
        ["a", None],
        datetime.date(2026, 1, 2),
        uuid.UUID(int=7),
        {"a": ["b'"]},
    ],
    ids=str,
)
def test_postgresql_reads_each_literal(value: object, postgres_url: str) -> None:
    """It says whether the literal is the value that the driver sends."""
    kind = {bytes: "bytea", list: "text[]", dict: "jsonb", uuid.UUID: "uuid"}.get(type(value))
    kind = kind or {datetime.date: "date", bool: "boolean", int: "int"}.get(type(value), "text")
    if isinstance(value, decimal.Decimal):
        kind = "numeric"
    question = f"SELECT ({literal(value)})::{kind} IS NOT DISTINCT FROM (%s)::{kind}"
    with psycopg.connect(postgres_url) as connection:
        given = json.dumps(value) if isinstance(value, dict) else value
        plain = question.replace("100%'", "100%%'")
        assert connection.execute(plain.encode(), [given]).fetchone() == (True,)
