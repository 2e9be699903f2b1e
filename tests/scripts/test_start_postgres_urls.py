"""Which server a URL and the PG* variables lead to, and that no secret of them is shown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.pq import Conninfo

from tests.scripts.test_start_postgres import room, run, running, script

__all__ = ["room", "script"]
# Where a command arrives by DATABASE_URL, and where by PG* alone.
WHERE = """
import os, psycopg
for url in (os.environ["DATABASE_URL"], ""):
    with psycopg.connect(url) as connection:
        print(connection.info.dbname)
"""


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("mark", ["@", "#", "/", "?", "%", "%00"])
def test_a_password_that_is_not_encoded_is_refused_and_not_shown(
    room: Path, mark: str, named: bool
) -> None:
    url = f"postgresql://u:hun{mark}ter2@127.0.0.1:1/x"
    arguments = ["--database-url", url] if named else []
    env = {} if named else {"DATABASE_URL": url}
    result = run(room, *arguments, env=env, stdin=subprocess.DEVNULL)
    assert result.returncode == 2
    assert "cannot be told apart" in result.stderr
    assert "%40 for each @, %23 for #, %2F for /, %3F for ?" in result.stderr
    assert "Traceback" not in result.stderr
    assert "hun" not in result.stderr + result.stdout
    assert "ter2" not in result.stderr + result.stdout


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@127.0.0.1:1/x?password=hunter2&sslpassword=hunter2",
        "postgresql://u:%68unter2@127.0.0.1:1/x",
        "postgresql://u:hunter2/x",  # the host is forgotten
        "postgresql://u:hunter2@[::1/x",
        "postgresql://u:hunter2\u2100@127.0.0.1:1/x",  # urlsplit() would show it
        "mysql://us/er:hunter2@127.0.0.1/x",
        "host=127.0.0.1 password=hunter2",
        "u:hunter2@127.0.0.1/x",
        "hunter2",
    ],
)
def test_no_password_is_shown(room: Path, url: str) -> None:
    result = run(room, "--database-url", url, stdin=subprocess.DEVNULL)
    assert result.returncode == 2
    assert "expected: " in result.stderr
    assert "Traceback" not in result.stderr
    assert "unter2" not in result.stderr + result.stdout


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///app",
        "postgresql://u:@h:/x",
        "postgresql://u:p%40:q@h1:1,[::1]:2,h3/a+b",
        "postgresql://%2Fvar%2Frun/x?application_name=a+b%26c",
        "postgresql://u:p@h/x?host=b&port=&password=q&dbname=y",
        "postgresql://[fe80::1]?ssl=true&channel_binding=require&target_session_attrs=any",
    ],
)
def test_a_url_says_what_libpq_reads_in_it(script: ModuleType, url: str) -> None:
    found = {
        option.keyword.decode(): option.val.decode()
        for option in Conninfo.parse(url.encode())
        if option.val is not None
    }
    assert dict(script.stated(url)) == found
    assert script.libpq_environment(url) == {script.variable(key): found[key] for key in found}


def test_the_variables_have_libpqs_names(script: ModuleType) -> None:
    named = {
        option.keyword.decode(): option.envvar.decode()
        for option in Conninfo.get_defaults()
        if option.envvar
    }
    assert {keyword: script.variable(keyword) for keyword in named} == named
    assert all(script.OF_LIBPQ.fullmatch(name) for name in named.values())


@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [
        ([], {"DATABASE_URL": "postgresql:///x", "PGHOST": "db.example"}, "not this machine"),
        ([], {"DATABASE_URL": "postgresql:///x", "PGHOST": "/run,db.example"}, "not this machine"),
        (
            [],
            {"DATABASE_URL": "postgresql://localhost/x", "PGHOSTADDR": "192.0.2.1"},
            "not this machine",
        ),
        # libpq takes the last host, asyncpg the first.
        ([], {"DATABASE_URL": "postgresql://db.example/x?host=localhost"}, "not this machine"),
        ([], {"DATABASE_URL": "postgresql:///x?host=db.example&host="}, "not this machine"),
        (["--database-url", "postgresql:///x"], {"PGHOST": "db.example"}, "not this machine"),
        ([], {"DATABASE_URL": "postgresql:///x?service=prod"}, "received a service"),
        ([], {"DATABASE_URL": "postgresql:///x", "PGSERVICE": "prod"}, "received a service"),
        (["--database-url", "postgresql:///x?service=prod"], {}, "received a service"),
    ],
)
def test_no_variable_leads_to_another_machine(
    room: Path, arguments: list[str], env: dict[str, str], said: str
) -> None:
    result = run(room, *arguments, env=env, stdin=subprocess.DEVNULL)
    assert result.returncode == 2
    assert said in result.stderr
    assert "try: " in result.stderr


def test_a_host_of_the_environment_that_the_url_overrides_does_not_count(room: Path) -> None:
    env = {"DATABASE_URL": "postgresql://127.0.0.1:1/x", "PGHOST": "db.example"}
    result = run(room, env=env, stdin=subprocess.DEVNULL)
    assert "Connection refused" in result.stderr


def test_the_command_reaches_the_given_server_by_the_same_variables(room: Path) -> None:
    listing = "SELECT datname FROM pg_database ORDER BY 1"
    with running(room) as (_, facts), psycopg.connect(facts["url"], autocommit=True) as admin:
        before = admin.execute(listing).fetchall()
        server = urlsplit(facts["url"])
        env = {
            "DATABASE_URL": "postgresql://postgres@127.0.0.1/postgres",
            "PGPASSWORD": str(server.password),
            "PGPORT": str(server.port),
            "PGDATABASE": "postgres",
        }
        result = run(room, "--exec", sys.executable, "-c", WHERE, env=env)
        assert result.returncode == 0, result.stderr
        by_url, by_variables = result.stdout.splitlines()
        assert by_url.startswith("soe_")
        assert by_variables == by_url
        assert admin.execute(listing).fetchall() == before


def test_a_server_of_ours_and_its_command_know_no_other_servers_variables(room: Path) -> None:
    env = {
        "PGSSLMODE": "require",
        "PGHOSTADDR": "127.0.0.2",
        "PGOPTIONS": "-c no_such_setting=1",
        "PGSERVICE": "prod",
        "PGUSER": "somebody",
        "PGBOUNCER_PORT": "6432",  # none of libpq's
    }
    code = f"{WHERE}\nprint(os.environ['PGBOUNCER_PORT'])"
    arguments = ("--provider", "embedded", "--database", "desk", "--exec", sys.executable, "-c")
    result = run(room, *arguments, code, env=env)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "desk\ndesk\n6432\n"
