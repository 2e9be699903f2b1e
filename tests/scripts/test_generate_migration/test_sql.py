"""The text of statements: read where it says what is needed, left alone where it does not."""

from __future__ import annotations

import pytest

from tests.scripts.test_generate_migration import observing

# isort: split
from generate_migration.advice import ALWAYS, BY_ROWS, LOCK_TIMEOUT, recipe, upgrade_fails
from generate_migration.rules import milliseconds
from generate_migration.session import session_setting
from generate_migration.sql import actions, bare, excerpt, parts, pieces, same, spoken, targets

assert observing  # the script's folder: see there


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SET lock_timeout = '5s'", ("lock_timeout", "5s")),
        ("set session lock_timeout to 0;", ("lock_timeout", "0")),
        ("SET lock_timeout TO DEFAULT", ("lock_timeout", None)),
        ("RESET lock_timeout", ("lock_timeout", None)),
        ("RESET ALL", ("all", None)),
        ("SET LOCAL lock_timeout = 0", ("", None)),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", ("", None)),
        ("SET CONSTRAINTS ALL DEFERRED", ("", None)),
        ("SET search_path TO desk, public", ("search_path", "desk, public")),
        ("SET app.tenant = 'x'", ("app.tenant", "x")),
        ("SET ROLE owner", ("role", "owner")),
        ("SET ROLE NONE", ("role", None)),
        ("SET TIME ZONE 'UTC'", ("timezone", "UTC")),
        ("SET SESSION AUTHORIZATION owner", ("session_authorization", "owner")),
        ("SELECT set_config('app.tenant', 'x', true)", ("", None)),
        ("UPDATE settings SET value = 1", ("", None)),
    ],
)
def test_settings_are_read(sql: str, expected: tuple[str, str | None]) -> None:
    assert session_setting(sql) == expected


def test_comments_and_literals_are_left_out() -> None:
    assert bare("/* a */ SELECT 'it''s' -- b\n, $x$ c $x$, E'\\'' , \"a'b\" ;") == (
        "SELECT '' , $$, '' , \"a'b\""
    )


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ('ALTER TABLE IF EXISTS ONLY "Odd Desk"."Odd ""T""" ADD a int', [("Odd Desk", 'Odd "T"')]),
        ("alter table Desk . Tickets add a int", [("desk", "tickets")]),
        ("CREATE UNIQUE INDEX ON ONLY tickets (id)", [("tickets",)]),
        ('CREATE INDEX CONCURRENTLY IF NOT EXISTS "on" ON tickets USING gin (a)', [("tickets",)]),
        ("DROP TABLE IF EXISTS a, b.c CASCADE", [("a",), ("b", "c")]),
        ("UPDATE ONLY tickets SET a = 1", [("tickets",)]),
        ("DELETE FROM tickets", [("tickets",)]),
        ("SELECT * FROM tickets", []),
        ("-- ALTER TABLE a\nALTER TABLE b ADD c int", [("b",)]),
    ],
)
def test_tables_are_read(sql: str, expected: list[tuple[str, ...]]) -> None:
    assert targets(sql) == expected


def test_a_script_is_taken_apart() -> None:
    script = "SELECT ';'; -- no;\nDO $$ BEGIN; END $$; ;SELECT \";\""
    assert pieces(script) == ["SELECT ';'", " -- no;\nDO $$ BEGIN; END $$", 'SELECT ";"']


def test_names_are_compared_with_postgresqls() -> None:
    assert same(("tickets",), "public.tickets")
    assert same(("desk", "tickets"), "desk.tickets")
    assert not same(("other", "tickets"), "desk.tickets")
    assert not same(("tickets",), "public.old_tickets")
    assert parts('"A.B".c') == ("A.B", "c")
    assert same(parts('"A.B".c'), "A.B.c")


def test_actions_are_read() -> None:
    sql = "ALTER TABLE t ADD COLUMN a numeric(5, 2) DEFAULT f(1, 2), DROP COLUMN b"
    assert list(actions(sql)) == ["ADD COLUMN a numeric(5, 2) DEFAULT f(1, 2)", "DROP COLUMN b"]
    assert list(actions("SELECT 1, 2")) == []


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("0", 0), ("500ms", 500), ("2s", 2000), ("1min", 60_000), ("'5s'", 5000), ("1h", 3_600_000)],
)
def test_times_are_read(setting: str, expected: float) -> None:
    assert milliseconds(setting) == expected


def test_words() -> None:
    assert spoken("ShareUpdateExclusiveLock") == "SHARE UPDATE EXCLUSIVE"
    assert excerpt("a\n  b", 10) == "a b"
    assert excerpt("x" * 20, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("CREATE INDEX ix ON tickets (a)", 'op.create_index("ix", "tickets"'),
        ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)", "VALIDATE CONSTRAINT c"),
        ("ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES u", "FOREIGN KEY … NOT VALID"),
        ("ALTER TABLE t ADD CONSTRAINT c UNIQUE (a)", "CONSTRAINT c UNIQUE USING INDEX c"),
        ("ALTER TABLE t ADD PRIMARY KEY (a)", "PRIMARY KEY USING INDEX"),
        ("ALTER TABLE t ALTER COLUMN a SET NOT NULL", "CHECK (a IS NOT NULL) NOT VALID"),
        ("ALTER TABLE t ALTER COLUMN a TYPE bigint", '"a_new"'),
        ("ALTER TABLE t ADD COLUMN a uuid DEFAULT f()", "server_default"),
        ("ALTER TABLE t ADD COLUMN a int REFERENCES u (id)", "NOT VALID"),
        ("ALTER TABLE t ATTACH PARTITION p FOR VALUES IN (1)", "ATTACH PARTITION"),
        ("UPDATE t SET a = 1", "SELECT id FROM t WHERE id > done"),
        ("CLUSTER t", "new table"),
    ],
)
def test_each_has_its_recipe(sql: str, expected: str) -> None:
    assert expected in recipe(sql)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "CREATE INDEX ix ON billing.invoices (a)",
            [
                'op.execute("DROP INDEX CONCURRENTLY IF EXISTS billing.ix")',
                'op.create_index("ix", "invoices", […], schema="billing", postgresql_con',
            ],
        ),
        (
            "ALTER TABLE billing.invoices ADD CONSTRAINT c UNIQUE (a)",
            ["IF EXISTS billing.c", "CREATE UNIQUE INDEX CONCURRENTLY c ON billing.invoices"],
        ),
        (
            "ALTER TABLE billing.invoices ALTER a SET NOT NULL",
            ['op.alter_column("invoices", "a", nullable=False, schema="billing")'],
        ),
        (
            "ALTER TABLE billing.invoices ALTER a TYPE bigint",
            ['op.add_column("invoices", sa.Column("a_new", …), schema="billing")'],
        ),
        (
            "ALTER TABLE billing.invoices ADD a uuid DEFAULT f()",
            [
                'op.add_column("invoices", sa.Column("a", …), schema="billing")',
                'server_default=sa.text("…"), schema="billing")',
            ],
        ),
        (
            'UPDATE "Odd Desk"."Odd ""T""" SET a = 1',
            [r"FROM \"Odd Desk\".\"Odd \"\"T\"\"\" WHERE id"],
        ),
        ('ALTER TABLE "order" ADD CHECK (a > 0)', [r"ALTER TABLE \"order\" VALIDATE"]),
    ],
)
def test_a_recipe_keeps_schemas_and_odd_names(sql: str, expected: list[str]) -> None:
    for line in expected:
        assert line in recipe(sql)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (f"contains null values (23502) (x.py:9)\n{BY_ROWS}", "server default"),
        (f"could not create unique index (23505) (x.py:9)\n{BY_ROWS}", "clear the rows"),
        (f"invalid input value for enum (22P02) (x.py:9)\n{BY_ROWS}", "postgresql_using"),
        (f"ValueError: it is full (x.py:9)\n{BY_ROWS}", "tables with rows"),
        (f"relation does not exist (42P01) (x.py:9)\n{ALWAYS}", "nothing to do with it"),
        ("relation exists (42P07) (x.py:9)", "in the downgrade"),
    ],
)
def test_a_failed_upgrade_has_its_advice(seen: str, expected: str) -> None:
    told = upgrade_fails(seen)
    assert expected in told
    assert ("made up" in told) == (BY_ROWS in seen)


def test_the_time_out_is_set_where_alembic_init_makes_the_engine() -> None:
    assert "\nengine_from_config(…, connect_args=" in LOCK_TIMEOUT
    assert "\nasync_engine_from_config(…, connect_args=" in LOCK_TIMEOUT
