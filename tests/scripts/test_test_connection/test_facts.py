"""What a server that answers is told to be, and what of that is a warning or a failure."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, make_url, text

from tests.scripts.test_test_connection import servers
from tests.scripts.test_test_connection.conftest import Run
from tests.scripts.test_test_connection.servers import SECONDS, Cluster
from tests.waiting import until

# isort: split
from test_connection.api import look
from test_connection.core import Check
from test_connection.facts import SKEW, Wanted, checks, of_replication, of_version

MIGRATION = '''"""Step {revision}."""
revision = "{revision}"
down_revision = {previous}


def upgrade() -> None:
    pass
'''
ENVIRONMENT = """
from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
"""


def check_of(report: dict[str, Any], name: str) -> dict[str, Any]:
    """The check of that name."""
    (found,) = [check for check in report["checks"] if check["name"] == name]
    return dict(found)


@pytest.fixture
def database(primary: Cluster, driver: str) -> Iterator[str]:
    """A database of this test's own, in which *app* owns nothing."""
    name = f"facts_{driver}"
    with primary.owner() as owner:
        owner.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        owner.execute(f"CREATE DATABASE {name}".encode())
        yield name
        owner.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_the_server_of_the_suite(run: Run, driver: str, database_url: str) -> None:
    """PostgreSQL of whatever version, reached by whatever driver."""
    report = run(database_url, "--driver", driver, "--pings", "3")
    assert report["failure"] is None
    assert check_of(report, "latency")["seen"].startswith("SELECT 1, 3 times: median ")
    assert "a pre-ping " in check_of(report, "cost")["seen"]
    assert {"version", "role of server", "encoding", "collation", "time zone", "clock"} <= {
        check["name"] for check in report["checks"]
    }
    assert not [check for check in report["checks"] if "not proved" in check["seen"]]
    assert report["steps"][-1]["layer"] == "statement"


def test_from_within_a_loop(database_url: str) -> None:
    """Called from a coroutine it does not stumble over the loop that runs."""
    import asyncio

    async def inside() -> int:
        return look(database_url, driver="asyncpg", environ={}).exit_code()

    assert asyncio.run(inside()) in {0, 1}


@pytest.mark.once
def test_a_plain_role_is_fine(run: Run, driver: str, primary: Cluster, database: str) -> None:
    with psycopg.connect(primary.url("owner", database), autocommit=True) as owner:
        owner.execute("CREATE TABLE ticket (id int)")
        report = run(primary.url("app", database), "--driver", driver)
        assert report["code"] == 0
        assert check_of(report, "role")["level"] == "ok"
        assert check_of(report, "privileges")["seen"].startswith("may read 0 of 1 tables")
        owner.execute("GRANT SELECT ON ticket TO app")
        report = run(primary.url("app", database), "--driver", driver)
        assert check_of(report, "privileges")["level"] == "ok"
        owner.execute("CREATE SCHEMA depot CREATE TABLE shelf (id int)")
        owner.execute("GRANT USAGE ON SCHEMA depot TO app; GRANT SELECT ON depot.shelf TO app")
        check = check_of(run(primary.url("app", database), "--driver", driver), "privileges")
        seen = "may read 2 of 2 tables; schema public; not on the search_path: depot"
        assert (check["level"], check["seen"]) == ("ok", seen)
        assert check["fix"].endswith("ALTER ROLE … SET search_path = …")


@pytest.mark.once
def test_an_owner_and_a_superuser(run: Run, driver: str, primary: Cluster, database: str) -> None:
    report = run(primary.url("owner", database), "--driver", driver)
    assert (report["code"], check_of(report, "role")["level"]) == (0, "warning")
    assert "SUPERUSER" in check_of(report, "role")["seen"]
    with psycopg.connect(primary.url("owner", database), autocommit=True) as owner:
        owner.execute("CREATE TABLE ticket (id int); ALTER TABLE ticket OWNER TO trusted")
        report = run(primary.url("trusted", database), "--driver", driver)
        assert "owner of 1 of 1 tables" in check_of(report, "role")["seen"]
        owner.execute("GRANT trusted TO app")  # who is a member of the owner, owns
        try:
            report = run(primary.url("app", database), "--driver", driver)
            assert "owner of 1 of 1 tables" in check_of(report, "role")["seen"]
        finally:
            owner.execute("REVOKE trusted FROM app")


@pytest.mark.once
def test_extensions(run: Run, driver: str, primary: Cluster, database: str) -> None:
    url = primary.url("app", database)
    report = run(url, "--driver", driver, "--require-extension", "plpgsql")
    assert report["code"] == 0
    wanted = ("--require-extension", "pg_trgm", "--require-extension", "no_such")
    report = run(url, "--driver", driver, *wanted)
    assert report["code"] == 1
    check = check_of(report, "extension pg_trgm")
    assert "the server has it" in check["seen"]
    who = "a role with CREATE on the database (it is trusted)"
    assert check["fix"] == f'as {who}: CREATE EXTENSION "pg_trgm"'
    check = check_of(report, "extension no_such")
    assert check["seen"] == "not on this server: its files are not there"
    check = check_of(
        run(url, "--driver", driver, "--require-extension", "file_fdw"), "extension file_fdw"
    )
    assert check["fix"] == 'as a superuser: CREATE EXTENSION "file_fdw"'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An Alembic project of two revisions: its alembic.ini."""
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "migrations" / "env.py").write_text("raise RuntimeError('env.py is not run')")
    for revision, previous in (("aaa", "None"), ("bbb", '"aaa"')):
        written = MIGRATION.format(revision=revision, previous=previous)
        (versions / f"{revision}.py").write_text(written)
    config = tmp_path / "alembic.ini"
    config.write_text("[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n")
    return config


@pytest.mark.once
def test_migrations(run: Run, driver: str, primary: Cluster, database: str, project: Path) -> None:
    url, arguments = primary.url("app", database), ("--driver", driver, "--alembic", str(project))

    def seen() -> tuple[int, str, str]:
        report = run(url, *arguments)
        check = check_of(report, "migrations")
        return report["code"], check["seen"], check["fix"]

    assert seen() == (1, "database at no revision; head bbb", f"alembic -c {project} upgrade head")
    with psycopg.connect(primary.url("owner", database), autocommit=True) as owner:
        owner.execute("CREATE TABLE alembic_version (version_num text)")
        code, told, _ = seen()
        assert (code, "not proved" in told) == (1, True)  # it may not read it
        owner.execute("GRANT SELECT ON alembic_version TO app")
        owner.execute("INSERT INTO alembic_version VALUES ('aaa')")
        assert seen()[:2] == (1, "database at aaa; head bbb")
        owner.execute("UPDATE alembic_version SET version_num = 'bbb'")
        assert seen() == (0, "database at bbb; head bbb", "")
        owner.execute("UPDATE alembic_version SET version_num = 'ccc'")
        assert "do not know ccc" in seen()[2]


@pytest.mark.once
def test_a_branch_that_depends_on_another(
    run: Run, driver: str, primary: Cluster, database: str, project: Path
) -> None:
    """The scripts have two heads, and Alembic itself keeps one row."""
    url, arguments = primary.url("app", database), ("--driver", driver, "--alembic", str(project))
    migrations = project.parent / "migrations"
    branch = MIGRATION.format(revision="ccc", previous="None") + '\n\ndepends_on = "bbb"\n'
    (migrations / "versions" / "ccc.py").write_text(branch)
    (migrations / "env.py").write_text(ENVIRONMENT)
    check = check_of(run(url, *arguments), "migrations")
    assert check["seen"] == "database at no revision; head ccc"
    assert check["fix"] == f"alembic -c {project} upgrade heads"
    owner = make_url(primary.url("owner", database)).set(drivername="postgresql+psycopg")
    engine, config = create_engine(owner), Config(str(project))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "heads")
        connection.execute(text("GRANT SELECT ON alembic_version TO app"))
    engine.dispose()
    report = run(url, *arguments)
    assert check_of(report, "migrations")["seen"] == "database at ccc; head ccc"
    assert report["code"] == 0


@pytest.mark.once
def test_nothing_is_written_and_nothing_stays(
    run: Run, driver: str, primary: Cluster, database: str, project: Path
) -> None:
    """A trap writes when it is read; the server's log tells our name, its sessions our end."""
    trap = """
        CREATE TABLE caught (at timestamptz);
        CREATE FUNCTION trap() RETURNS text LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO caught VALUES (now()); RETURN 'bbb'; END $$;
        CREATE VIEW alembic_version AS SELECT trap() AS version_num;
    """
    with psycopg.connect(primary.url("owner", database), autocommit=True) as owner:
        owner.execute(trap)
        before = len(primary.log())
        report = run(primary.url("owner", database), "--driver", driver, "--alembic", str(project))
        told = check_of(report, "migrations")["seen"]
        assert "read-only transaction" in told
        said = primary.log()[before:]
        lines = [line for line in said.splitlines() if "SET TRANSACTION READ ONLY" in line]
        assert len(lines) == 1
        assert lines[0].startswith("test-connection|")
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
        deadline = time.monotonic() + SECONDS  # a backend ends a moment after its client
        while (row := owner.execute(sessions, ["test-connection"]).fetchone()) != (0,):
            assert time.monotonic() < deadline, row
            time.sleep(0.01)


@pytest.mark.once
def test_the_pools_do_not_fit(run: Run, driver: str, primary: Cluster) -> None:
    pools = ("--processes", "2", "--pool-size", "5", "--max-overflow", "5")
    report = run(primary.url(), "--driver", driver, *pools)
    check = check_of(report, "connections")
    assert (report["code"], check["level"]) == (1, "failure")
    assert check["seen"].startswith("2 x (5 + 5) = 20 wanted of 17 (max_connections 20")
    assert "assumed" not in check["seen"]
    check = check_of(run(primary.url(), "--driver", driver, "--processes", "8"), "connections")
    assert check["seen"].startswith("8 x (5 + 10) = 120 wanted of 17")
    assert check["seen"].endswith("; assumed, since not given: pool_size 5, max_overflow 10")


@pytest.mark.once
def test_the_sessions_of_others_are_counted(run: Run, driver: str, primary: Cluster) -> None:
    """Also by a role that may see no more of them than that they are there."""
    with psycopg.connect(primary.url("owner")), psycopg.connect(primary.url("trusted")):
        seen = check_of(run(primary.url(), "--driver", driver), "connections")["seen"]
    in_use = int(seen.partition("reserved); ")[2].partition(" ")[0])
    assert in_use >= 3


@pytest.mark.once
def test_limits_of_role_and_database(run: Run, primary: Cluster) -> None:
    with primary.owner() as owner:
        owner.execute("ALTER ROLE app CONNECTION LIMIT 4")
        try:
            seen = check_of(run(primary.url()), "connections")["seen"]
        finally:
            owner.execute("ALTER ROLE app CONNECTION LIMIT -1")
    assert "15 wanted of 4" in seen
    assert "CONNECTION LIMIT of the role 4" in seen


@pytest.mark.once
def test_time_outs_and_the_strict_profile(run: Run, driver: str, primary: Cluster) -> None:
    assert check_of(run(primary.url(), "--driver", driver), "time-outs")["level"] == "note"
    report = run(primary.url(), "--driver", driver, "--profile", "production")
    assert (report["code"], check_of(report, "time-outs")["level"]) == (1, "failure")
    with primary.owner() as owner:
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        try:
            for name in names:
                owner.execute(f"ALTER ROLE app SET {name} = '60s'".encode())
            report = run(primary.url(), "--driver", driver, "--profile", "production")
        finally:
            owner.execute("ALTER ROLE app RESET ALL")
    assert (report["code"], check_of(report, "time-outs")["level"]) == (0, "ok")


@pytest.mark.once
def test_what_a_session_would_not_write_to(run: Run, primary: Cluster) -> None:
    with primary.owner() as owner:
        try:
            owner.execute("ALTER ROLE app SET default_transaction_read_only = on")
            owner.execute("ALTER ROLE app VALID UNTIL 'tomorrow'")
            report = run(primary.url())
        finally:
            owner.execute("ALTER ROLE app RESET ALL")
            owner.execute("ALTER ROLE app VALID UNTIL 'infinity'")
    assert check_of(report, "role of server")["level"] == "warning"
    assert check_of(report, "password")["level"] == "warning"


@pytest.mark.once
def test_a_collation_of_another_version(run: Run, primary: Cluster) -> None:
    """The one that ICU has, and an older one that the catalogue was made to remember."""
    with primary.owner() as owner:
        owner.execute(
            "CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
        )
        try:
            assert check_of(run(primary.url("app", "icu")), "collation")["level"] == "ok"
            owner.execute("UPDATE pg_database SET datcollversion = '1' WHERE datname = 'icu'")
            check = check_of(run(primary.url("app", "icu")), "collation")
        finally:
            owner.execute("DROP DATABASE icu WITH (FORCE)")
    assert check["level"] == "warning"
    assert "REFRESH COLLATION VERSION" in check["fix"]


@pytest.mark.once
def test_an_encoding_that_is_not_utf8(run: Run, primary: Cluster) -> None:
    with primary.owner() as owner:
        owner.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
        try:
            alone = run(primary.url("app", "latin"), "--driver", "psycopg")
            told = run(primary.url("app", "latin") + "?client_encoding=utf8")
            older = run(primary.url("app", "latin"), "--driver", "psycopg2")
        finally:
            owner.execute("DROP DATABASE latin WITH (FORCE)")
    assert alone["failure"]["layer"] == "driver"  # SQLAlchemy reads the version out of bytes
    assert "psycopg 3 gives bytes" in alone["failure"]["causes"][0]
    for report in (told, older):
        check = check_of(report, "encoding")
        assert (check["level"], check["seen"]) == ("warning", "SQL_ASCII")


def test_the_clock(run: Run, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_of(run(database_url), "clock")["level"] == "ok"
    from test_connection import facts

    class Slow(facts.datetime):  # type: ignore[name-defined,misc]
        """An hour late."""

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return super().now(tz) - 720 * SKEW

    monkeypatch.setattr(facts, "datetime", Slow)
    check = check_of(run(database_url), "clock")
    assert check["level"] == "warning"
    assert check["seen"].startswith("the server's is +3")  # 3600 s, or a little less


def one(found: Iterator[Check]) -> Check:
    """The only check."""
    (check,) = found
    return check


@pytest.mark.once
@pytest.mark.parametrize(
    ("number", "today", "level"),
    [
        (150_018, date(2026, 11, 21), "ok"),
        (150_018, date(2027, 11, 12), "warning"),
        (140_020, date(2026, 11, 21), "warning"),
        (120_022, date(2026, 11, 21), "warning"),
        (190_000, date(2026, 11, 21), "note"),
    ],
)
def test_versions(number: int, today: date, level: str) -> None:
    nothing: Any = None
    server = {"number": number, "version": "x"}
    assert one(of_version(nothing, server, Wanted(today=today))).level == level


@pytest.mark.once
@pytest.mark.parametrize(
    ("behind", "replayed", "receives", "level"),
    [
        (3.0, False, True, "note"),
        (300.0, False, True, "warning"),
        (300.0, True, True, "note"),
        (3.0, True, False, "note"),
        (300.0, True, False, "warning"),
        (3.0, None, False, "note"),  # fed from an archive
        (300.0, None, False, "warning"),
        (None, None, False, "note"),
    ],
)
def test_lag(behind: float | None, replayed: bool | None, receives: bool, level: str) -> None:
    nothing: Any = None
    server = {"standby": True, "behind": behind, "replayed": replayed, "receives": receives}
    check = one(of_replication(nothing, server, Wanted()))
    assert check.level == level
    assert ("no WAL receiver" in check.seen) is not receives


@pytest.mark.once
def test_a_standby_that_lost_its_primary(
    run: Run, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has replayed all that it received, and falls behind with each second."""
    from test_connection import facts

    with (
        servers.streaming(base) as (first, second),
        second.owner() as reader,
    ):

        def answers(query: str) -> bool:
            return reader.execute(query.encode()).fetchone() == (True,)

        def seen() -> tuple[str, bool]:
            check = check_of(run(second.url("owner", "postgres")), "role of server")
            return check["level"], "no WAL receiver" in check["seen"]

        with first.owner() as owner:
            owner.execute("CREATE TABLE mark ()")
        until(lambda: answers("SELECT to_regclass('mark') IS NOT NULL"), "it is replayed")
        assert seen() == ("note", False)
        first.stop()
        gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)"
        until(lambda: answers(gone), "the receiver is gone")
        replayed = "SELECT pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()"
        until(lambda: answers(replayed), "all that came is replayed")
        monkeypatch.setattr(facts, "LAG", timedelta(0))
        assert seen() == ("warning", True)


def test_what_cannot_be_looked_at_does_not_stop_the_rest(database_url: str) -> None:
    """A revision table that is none: the other checks are there all the same."""
    wanted = Wanted(pings=1, alembic="alembic.ini", alembic_table="pg_catalog.pg_class")
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        found = {check.name: check for check in checks(connection, wanted)}
    engine.dispose()
    assert found["migrations"].level == "failure"
    assert "version_num" in found["migrations"].seen
    assert "latency" in found


@pytest.mark.once
def test_nothing_is_left_in_the_environment() -> None:
    """Of the fixtures: no variable of a test before."""
    assert not [name for name in os.environ if name.startswith("PG")]
