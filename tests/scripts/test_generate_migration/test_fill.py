"""Rows for every table: of all types, keys and rules that PostgreSQL knows."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL, Connection, event, make_url, text

from tests.examples.test_migration_guide.desk import REVISIONS, upgrade
from tests.scripts.test_generate_migration.odd_schemas import ALL, REFERENCES, database, run

# isort: split
from generate_migration.contents import Contents, contents_of  # the script's folder
from generate_migration.core import Unfilled
from generate_migration.fill import fill
from generate_migration.filling.patterns import Beyond, of_like, of_regex
from generate_migration.schema import schema_of
from generate_migration.scratch import scratch_server, with_connection

T = TypeVar("T")
ROWS = 40
# What cannot have so many rows; the schemas say why.
FEW = {
    "public.texts": 36,
    "public.flags": 1,
    "public.nothing_twice": 20,
    "public.settings": 1,
    "public.deferred": 2,
    "public.made": 20,
    "public.no_column": 1,
    "public.particular": 1,
    "public.apart": 1,
}


def committed(url: URL, work: Callable[[Connection], T]) -> T:
    """Do *work* for good."""

    def and_commit(connection: Connection) -> T:
        done = work(connection)
        connection.commit()
        return done

    return with_connection(url, and_commit)


def filled(url: URL, rows: int = ROWS) -> tuple[dict[str, int], list[Unfilled]]:
    """Fill the database at *url* for good."""
    return committed(url, lambda connection: fill(connection, rows=rows))


def held(url: URL) -> Contents:
    """What it holds."""
    return with_connection(url, lambda each: contents_of(each, version_table="alembic_version"))


def scalar(url: URL, query: str) -> int:
    """The number that *query* gives."""
    return with_connection(url, lambda connection: int(connection.scalar(text(query)) or 0))


@pytest.mark.parametrize("name", ALL)
def test_every_table_of_odd_schemas_gets_rows(postgres_url: str, name: str) -> None:
    with database(postgres_url, ALL[name]) as url:
        counts, unfilled = filled(url)
        assert unfilled == []
        assert {
            table: count for table, count in counts.items() if count < FEW.get(table, ROWS)
        } == {}
        assert {table: each.rows for table, each in held(url).items()} == counts


@pytest.mark.parametrize("driver", ["psycopg2", "asyncpg"])
def test_with_each_driver(postgres_url: str, driver: str) -> None:
    with database(postgres_url, ALL["names"], driver=driver) as url:
        counts, unfilled = filled(url)
        assert unfilled == []
        assert set(counts.values()) == {ROWS}


def test_the_same_schema_gets_the_same_rows(postgres_url: str) -> None:
    found = []
    for _ in range(2):
        with database(postgres_url, ALL["domains"] + REFERENCES) as url:
            filled(url)
            found.append(held(url))
    assert found[0] == found[1]
    assert len(found[0]) > 10


def test_the_desk_is_filled_wholly_at_each_revision(postgres_url: str) -> None:
    seen = set[str]()
    with database(postgres_url) as url:
        for revision in REVISIONS:
            upgrade(url.set(drivername="postgresql").render_as_string(False), revision)
            # Undone: the next revision finds empty tables.
            counts, unfilled = with_connection(url, lambda connection: fill(connection, rows=ROWS))
            assert unfilled == []
            assert set(counts.values()) == {ROWS}
            seen |= set(counts)
    assert len(seen) == 11
    assert "public.alembic_version" not in seen


def test_the_desk_has_rows_of_all_sorts(postgres_url: str) -> None:
    with database(postgres_url) as url:
        upgrade(url.set(drivername="postgresql").render_as_string(False))
        filled(url, 100)
        for condition in (
            "status = 'open'",
            "status = 'resolved'",
            "assignee_id IS NULL",
            "assignee_id IS NOT NULL",
            "duplicate_of_id IS NOT NULL",
            "deleted_at IS NOT NULL",
            "deleted_at IS NULL",
            "length(title) > 200",
        ):
            assert scalar(url, f"SELECT count(*) FROM tickets WHERE {condition}") > 1, condition
        assert scalar(url, "SELECT count(DISTINCT creator_id) FROM tickets") > 50


def test_optional_references_are_there_and_not_always(postgres_url: str) -> None:
    with database(postgres_url, REFERENCES) as url:
        filled(url)
        for table, column in (
            ("people", "manager_id"),
            ("people", "best_friend_id"),
            ("members", "boss"),
            ("tasks", "member_id"),
            ("of_all", "tenant_id"),
            ("either", "person_id"),
        ):
            assert 0 < scalar(url, f"SELECT count({column}) FROM {table}") < ROWS, column


def test_every_partition_gets_rows(postgres_url: str) -> None:
    with database(postgres_url, ALL["partitions"]) as url:
        filled(url)
        for leaf in (
            *("by_month_1", "by_month_2", "by_region_north", "by_region_south_1"),
            *("by_hash_0", "by_hash_1", "with_rest_1", "with_rest_2"),
        ):
            assert scalar(url, f"SELECT count(*) FROM {leaf}") > 0, leaf


def test_each_state_of_a_table_has_rows(postgres_url: str) -> None:
    with database(postgres_url, ALL["checks"]) as url:
        filled(url)
        assert scalar(url, "SELECT count(DISTINCT kind) FROM states") == 3
        assert scalar(url, "SELECT count(DISTINCT status) FROM bookings") == 3


def test_legal_values_at_the_edge_are_among_them(postgres_url: str) -> None:
    with database(postgres_url, "CREATE TABLE t (a bigint, b varchar(30), c text)") as url:
        filled(url)
        assert scalar(url, "SELECT count(*) FROM t WHERE a > 2147483647") > 0
        assert scalar(url, "SELECT count(*) FROM t WHERE length(b) = 30") > 0
        assert scalar(url, "SELECT count(*) FROM t WHERE length(c) > 255") > 0


HOPELESS = """
CREATE TABLE impossible (a integer NOT NULL CHECK (a > 5 AND a < 5));
CREATE TABLE child (a integer NOT NULL REFERENCES impossible_key);
CREATE TABLE refused (a integer);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'not today' USING HINT = 'tomorrow'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON refused FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TABLE swallowed (a integer);
CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER swallow BEFORE INSERT ON swallowed FOR EACH ROW EXECUTE FUNCTION swallow();
CREATE TABLE nowhere (a integer) PARTITION BY LIST (a);
CREATE TABLE hen (id integer PRIMARY KEY, egg integer NOT NULL);
CREATE TABLE egg (id integer PRIMARY KEY, hen integer NOT NULL REFERENCES hen);
ALTER TABLE hen ADD FOREIGN KEY (egg) REFERENCES egg;
CREATE TABLE fine (a integer);
"""


def test_a_table_that_stays_empty_has_a_reason(postgres_url: str) -> None:
    key = "CREATE TABLE impossible_key (a integer PRIMARY KEY CHECK (a IS NULL));"
    with database(postgres_url, key + HOPELESS) as url:
        counts, unfilled = filled(url)
    assert [table for table, count in counts.items() if count] == ["public.fine"]
    reasons = {each.table.removeprefix("public."): each.reason for each in unfilled}
    for table, words in {
        "impossible": 'violates check constraint "impossible_a_check"',
        "child": "child_a_fkey refers to a table without rows",
        "refused": r"not today HINT: tomorrow .*\(P0001\)",
        "swallowed": "no row stayed",
        "nowhere": "no partition of relation",
        "hen": "hen_egg_fkey refers to a table without rows",
    }.items():
        assert re.search(words, reasons[table]), reasons
    assert len(reasons) == 8


def test_rows_that_were_there_stay_and_count(postgres_url: str) -> None:
    script = """
        CREATE TABLE kinds (name text PRIMARY KEY);
        INSERT INTO kinds VALUES ('text 0'), ('mine');
        CREATE TABLE things (kind text NOT NULL REFERENCES kinds);
    """
    with database(postgres_url, script) as url:
        counts, unfilled = filled(url)
        assert unfilled == []
        assert counts == {"public.kinds": ROWS + 1, "public.things": ROWS}
        assert scalar(url, "SELECT count(*) FROM things WHERE kind = 'mine'") > 0


def test_the_caller_owns_the_transaction(postgres_url: str) -> None:
    with database(postgres_url, ALL["checks"]) as url:
        with_connection(url, lambda connection: fill(connection, rows=ROWS))
        assert {each.rows for each in held(url).values()} == {0}


def test_an_ordinary_role_is_enough(postgres_url: str) -> None:
    """One that may create databases; the catalogue hides a few things from it."""
    name = f"soe_{secrets.token_hex(6)}"
    run(postgres_url, f"CREATE ROLE {name} LOGIN CREATEDB PASSWORD '{name}'")
    try:
        mine = make_url(postgres_url).set(username=name, password=name)
        plain = mine.render_as_string(hide_password=False)
        with scratch_server(plain) as server, server.empty() as url:
            run(url, ALL["machinery"] + ALL["partitions"])
            counts, unfilled = filled(url)
            assert unfilled == []
            assert with_connection(url, schema_of)
            assert {table: each.rows for table, each in held(url).items()} == counts
    finally:
        run(postgres_url, f"DROP ROLE {name}")


def test_fifty_tables_take_few_statements(postgres_url: str) -> None:
    """Round trips are what costs on somebody's server."""
    script = "".join(
        f"CREATE TABLE t{n} (id serial PRIMARY KEY, name text NOT NULL UNIQUE, a integer, "
        f"parent_id integer NOT NULL REFERENCES {f't{n - 1}' if n else 't0'}, at timestamptz);"
        for n in range(50)
    )
    statements: list[str] = []

    def counted(connection: Connection) -> tuple[dict[str, int], list[Unfilled]]:
        event.listen(
            connection, "before_cursor_execute", lambda *given: statements.append(given[2])
        )
        return fill(connection, rows=ROWS)

    with database(postgres_url, script) as url:
        counts, unfilled = with_connection(url, counted)
    assert unfilled == []
    assert set(counts.values()) == {ROWS}
    assert len(statements) < 50 * 8


# --- Patterns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[a-z0-9]+(-[a-z0-9]+)*$",
        r"^\d{3}-\d{4}$",
        r"^(?:abc|x[yz])+$",
        r"^[^a-z\s]{2,}$",
        r"^v?\d+\.\d+$",
        r"^[\w.+-]+@[\w-]+\.[a-z]{2,}$",
        r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{1,30}?$",
        r"^[]a-]+$",
        r"^.{5}$",
        r"^a\+b\.$",
    ],
)
def test_texts_that_fit_a_pattern(pattern: str) -> None:
    made = [of_regex(pattern, number) for number in range(50)]
    assert [each for each in made if not re.search(pattern, each)] == []
    assert len(set(made)) > 3 or pattern == r"^a\+b\.$"


@pytest.mark.parametrize("pattern", [r"(?=a)b", r"(a)\1", "[", "(", "(a", "a)", "\\"])
def test_patterns_beyond_it_are_given_up(pattern: str) -> None:
    with pytest.raises(Beyond):
        of_regex(pattern, 0)


def test_texts_that_are_like_a_pattern() -> None:
    assert of_like(r"a\%_%", 7) == "a%xv7"


# --- Schemas that nobody thought of ---------------------------------------------------------------

TYPE = st.sampled_from(
    [
        *("integer", "bigint", "smallint", "numeric(5,2)", "text", "varchar(2)", "char(3)", "date"),
        *(
            "timestamptz",
            "boolean",
            "uuid",
            "jsonb",
            "bytea",
            "inet",
            "interval",
            "text[]",
            "point",
        ),
        *("int4range", "tsvector", "bit(3)", "mood", "positive"),
    ]
)
CHECK = st.sampled_from(
    [
        *(
            "a IS NOT NULL",
            "a::text <> b::text",
            "b IS NULL",
            "length(a::text) > 2",
            "a::text = a::text",
        ),
        *("a::text ~ '^[a-z]+$'", "(a IS NULL) = (b IS NULL)", "b::text IN ('1', 'sad', 'x')"),
        *("num_nonnulls(a, b, r) = 1", "r > 3", "false", "1 / r > 0"),
    ]
)
TABLE = st.fixed_dictionaries(
    {
        "a": TYPE,
        "b": TYPE,
        "not_null": st.booleans(),
        "unique": st.sampled_from(["", ", UNIQUE (a)", ", UNIQUE (a, b)", ", UNIQUE (r)"]),
        "checks": st.lists(CHECK, max_size=2),
        "identity": st.sampled_from(["serial", "integer GENERATED ALWAYS AS IDENTITY", "integer"]),
        "refers": st.integers(0, 4),
        "required": st.booleans(),
        "deferrable": st.sampled_from(["", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"]),
    }
)
WITHOUT_EQUALITY = {"point", "jsonb"}


def ddl(tables: list[dict[str, object]]) -> str:
    """The schema of *tables*; what each refers to may come later, or be itself."""
    script = "CREATE TYPE mood AS ENUM ('sad', 'glad'); "
    script += "CREATE DOMAIN positive AS integer CHECK (VALUE > 0); "
    for number, table in enumerate(tables):
        unique = "" if {table["a"], table["b"]} & WITHOUT_EQUALITY else table["unique"]
        checks = "".join(f", CHECK ({each})" for each in table["checks"])  # type: ignore[attr-defined]
        needed = " NOT NULL" if table["not_null"] else ""
        required = " NOT NULL" if table["required"] else ""
        script += (
            f"CREATE TABLE t{number} (id {table['identity']} PRIMARY KEY, a {table['a']}{needed}, "
            f"b {table['b']}, r integer{required}{unique}{checks}); "
        )
    for number, table in enumerate(tables):
        target = f"t{int(str(table['refers'])) % len(tables)}"
        script += f"ALTER TABLE t{number} ADD FOREIGN KEY (r) REFERENCES {target}"
        script += f"{table['deferrable']}; "
    return script


@pytest.fixture(scope="module")
def shared(postgres_url: str) -> Iterator[URL]:
    """A database for all of them."""
    with database(postgres_url) as url:
        yield url


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(tables=st.lists(TABLE, min_size=1, max_size=4))
def test_a_table_has_rows_or_a_reason(shared: URL, tables: list[dict[str, object]]) -> None:
    run(shared, "DROP SCHEMA public CASCADE; CREATE SCHEMA public; " + ddl(tables))
    counts, unfilled = filled(shared, 8)
    assert {each.table for each in unfilled} == {
        table for table, count in counts.items() if not count
    }
    assert len(counts) == len(tables)
    assert all(each.reason for each in unfilled)
    assert {table: each.rows for table, each in held(shared).items()} == counts
