"""Databases of our own come and go; a server that lets us make none is refused."""

from __future__ import annotations

import os

import pytest
from sqlalchemy import URL, Connection, make_url, text

from tests.scripts.test_generate_migration import projects

# isort: split
from generate_migration.core import USAGE, Refused
from generate_migration.scratch import (
    Scratch,
    in_autocommit,
    installed,
    own_url,
    scratch_server,
    with_connection,
    without_steering,
)

assert projects.SCRIPTS.is_dir()
NAMES = text("SELECT datname FROM pg_database WHERE datname = ANY(:names)")


def scalar(url: URL, sql: str) -> object:
    """The one value of *sql*."""
    found: object = with_connection(url, lambda connection: connection.scalar(text(sql)))
    return found


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_databases_come_and_go(driver: str, postgres_url: str) -> None:
    """A project may have any of the drivers, and no other."""
    given = make_url(postgres_url).set(drivername=f"postgresql+{driver}")

    def fill(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE t (a int)"))
        connection.commit()
        connection.execute(text("DROP TABLE t"))  # is undone

    with scratch_server(given.render_as_string(hide_password=False)) as scratch:
        assert scratch.url == given
        assert scratch.version == scalar(
            given, "SELECT current_setting('server_version_num')::int / 10000"
        )
        with scratch.empty() as one:
            assert str(one.database).startswith("soe_")
            with_connection(one, fill)
            with scratch.clone(one) as copy:
                assert scalar(copy, "SELECT count(*) FROM t") == 0
        left = in_autocommit(
            given,
            lambda found: found.scalars(NAMES, {"names": [one.database, copy.database]}).all(),
        )
        assert left == []


def test_a_failure_leaves_no_database(scratch: Scratch) -> None:
    with pytest.raises(ZeroDivisionError), scratch.empty() as url:
        _ = 1 / 0
    left = in_autocommit(scratch.url, lambda found: found.scalar(NAMES, {"names": [url.database]}))
    assert left is None


def test_whoever_is_connected_is_cut_off(scratch: Scratch) -> None:
    """A pool of the project's may hold on to what is to be copied."""
    with scratch.empty() as one:

        def clone(_: Connection) -> object:
            with scratch.clone(one) as copy:
                return scalar(copy, "SELECT current_database()")

        assert str(with_connection(one, clone)).startswith("soe_")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("mysql://u:secret@h/d", "it is no URL of PostgreSQL"),
        ("secret", "it is no URL of PostgreSQL"),
        ("postgresql://u:secret@h:port/d", "whose parts cannot be told apart"),
        ("postgresql://u:top/sec@secret@h/d", "more than one @"),
        ("postgresql://u:p@secret/d@h/d", "more than one @"),
        ("postgresql://u/secret@h/d", "more than one @"),
        ("env:SOE_NOT_SET", "that variable is not set"),
    ],
)
def test_what_is_no_url(given: str, said: str) -> None:
    with pytest.raises(Refused, match=said) as caught:
        own_url(given, "--scratch-url")
    assert caught.value.exit_code == USAGE
    assert "secret" not in str(caught.value)
    assert "expected: " in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+pg8000"])
def test_a_url_gets_a_driver_that_is_installed(scheme: str) -> None:
    os.environ["SOE_URL"] = f" {scheme}://u:p%40@h/d?sslmode=require\n"
    url = own_url("env:SOE_URL", "--scratch-url")
    assert url.drivername == f"postgresql+{installed()[0]}"
    assert (url.password, url.query["sslmode"]) == ("p@", "require")


def test_a_named_driver_stays() -> None:
    assert own_url("postgresql+asyncpg://h/d", "x").get_driver_name() == "asyncpg"


def test_a_server_that_does_not_answer() -> None:
    given = "postgresql://u:hush-hush@127.0.0.1:1/d"
    with pytest.raises(Refused, match="refused") as caught, scratch_server(given):
        pass
    assert "u:***@127.0.0.1" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_role_that_may_make_no_database(scratch: Scratch) -> None:
    role = f"soe_role_{os.getpid()}"

    def admin(sql: str) -> None:
        in_autocommit(scratch.url, lambda found: found.execute(text(sql)) and None)

    admin(f"CREATE ROLE {role} LOGIN PASSWORD 'hush'")
    try:
        given = scratch.url.set(username=role, password="hush")
        with (
            pytest.raises(Refused, match="may not create databases"),
            scratch_server(given.render_as_string(hide_password=False)),
        ):
            pass
    finally:
        admin(f"DROP ROLE {role}")


def test_no_server_to_be_had() -> None:
    """start-postgres.py says why, and we say what else there is."""
    os.environ["POSTGRES_PROVIDER"] = "url"
    with pytest.raises(Refused, match="the provider url, but no URL") as caught, scratch_server():
        pass
    assert "--scratch-url env:NAME" in str(caught.value)


def test_what_would_lead_libpq_away() -> None:
    names = ("PGHOSTADDR", "PGSSLMODE", "PGSERVICE", "PGOPTIONS", "PGHOST")
    found = without_steering(dict.fromkeys(names, "x"))
    assert found == ["PGHOSTADDR", "PGSSLMODE", "PGSERVICE"]


@pytest.mark.parametrize(
    "place", ["u:hunter2@127.0.0.1:1/x", "127.0.0.1:1/x?user=u&password=hunter2"]
)
def test_no_password_is_shown(place: str) -> None:
    """libpq takes one of the query as well."""
    with pytest.raises(Refused) as raised, scratch_server(f"postgresql+psycopg://{place}"):
        pass
    assert "127.0.0.1:1/x" in str(raised.value)
    assert "hunter2" not in str(raised.value)
