"""What is told of a failure: causes that fit, commands that can be typed, nothing twice."""

from __future__ import annotations

import os

import pytest

from tests.scripts.test_test_connection.conftest import Run
from tests.scripts.test_test_connection.servers import PASSWORD, Cluster

# isort: split
from test_connection.api import look
from test_connection.core import Secrets, one_line
from test_connection.facts import Wanted
from test_connection.protocol import ServerError
from test_connection.refusals import refusal
from test_connection.report import one
from test_connection.settings import resolve

pytestmark = [
    # asyncpg leaves the transport of a TLS login that failed to the garbage collector.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <function _SelectorTransport"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket fd"),
    pytest.mark.once,
]


def test_what_a_driver_says_becomes_one_line() -> None:
    once = 'connection to server at "h" failed: FATAL:  no'
    assert one_line(f"Error: {once}\n{once}\n") == f"Error: {' '.join(once.split())}"
    assert one_line("a\n\tDETAIL: b.\nc") == "a; DETAIL: b. c"


def test_a_secret_of_two_lines_is_hidden_before_they_become_one() -> None:
    secrets = Secrets()
    secrets.add("first half\nsecond half")
    assert secrets.told('Error: of "first half\nsecond half"\nno') == 'Error: of "***"; no'


def test_a_role_that_is_there_and_may_not_log_in(run: Run, driver: str, primary: Cluster) -> None:
    """The server's words tell it from one that is not there; nothing else does."""
    report = run(primary.url("nologin"), "--driver", driver)
    assert report["failure"]["commands"] == [
        'as a role with CREATEROLE: ALTER ROLE "nologin" LOGIN'
    ]
    assert "CREATE ROLE" not in report["failure"]["commands"][0]
    (command,) = run(primary.url("ghost"), "--driver", driver)["failure"]["commands"]
    assert 'CREATE ROLE "ghost" LOGIN' in command


def test_the_same_in_german(run: Run, german: Cluster) -> None:
    for role, command in (
        ("ghost", "DROP ROLE IF EXISTS ghost"),
        ("nologin", "CREATE ROLE nologin"),
    ):
        with german.owner() as owner:
            owner.execute(command.encode())
        try:
            commands = run(german.url(role, "postgres"))["failure"]["commands"]
        finally:
            with german.owner() as owner:
                owner.execute(f"DROP ROLE IF EXISTS {role}".encode())
        assert commands[0].startswith("as a superuser: SELECT rolcanlogin")
        assert commands[1:] == [
            f'if it is there: ALTER ROLE "{role}" LOGIN',
            f'if it is not: CREATE ROLE "{role}" LOGIN PASSWORD …',
        ]


def test_commands_name_the_server(run: Run, driver: str, primary: Cluster) -> None:
    commands = run(primary.url("trusted", "desc"), "--driver", driver)["failure"]["commands"]
    at = f"-h 127.0.0.1 -p {primary.port}"
    assert commands == [
        f"psql {at} -U trusted -l",
        f"as a role with CREATEDB: createdb {at} desc",
    ]


def test_a_percent_of_the_password(run: Run, primary: Cluster) -> None:
    """It is spoken of where there is one, as it was written."""
    for password, spoken in (("wr%25ng", True), ("wrong", False), ("wr/ng", False)):
        report = run(primary.url(password=password))
        causes = report["failure"]["causes"]
        assert any("a URL's % begins a code" in cause for cause in causes) is spoken


def test_tls_turned_off_and_a_line_for_tls_alone(run: Run, driver: str, primary: Cluster) -> None:
    """The client's own setting comes first, by the name that its driver has for it."""
    name = "ssl" if driver == "asyncpg" else "sslmode"
    url = primary.url("tls_only", "desk", PASSWORD.replace("&", "%26"))
    report = run(f"{url}?{name}=disable", "--driver", driver)
    assert report["failure"]["commands"][0] == f"?{name}=require in the URL"
    assert f"without TLS, by {name}=disable" in report["failure"]["causes"][0]
    seen = {step["layer"]: step["seen"] for step in report["steps"]}
    assert seen["TLS"] == f"not tried: {name}=disable"
    assert seen["URL"] == f"host, port, user, password, database, {name} from the argument"
    assert run(f"{url}?{name}=require", "--driver", driver)["code"] == 0
    os.environ["PGSSLMODE"] = "disable"
    report = run(url, "--driver", driver)
    assert report["failure"]["commands"][0] == "export PGSSLMODE=require"
    assert report["steps"][0]["seen"].endswith("; sslmode from PGSSLMODE")


def test_tls_stands_once(primary: Cluster, german: Cluster) -> None:
    """In a report that is fine: what the check tells, the way there does not tell again."""
    for url, words in (
        (primary.url(), "TLSv1.3"),
        (primary.url() + "?sslmode=disable", "none: the connection stays on this machine"),
        (german.url("owner", "postgres"), "none: the connection stays on this machine"),
    ):
        report = look(url, driver="psycopg", environ={}, wanted=Wanted(pings=0))
        assert report.failure is None
        (line,) = [line for line in one(report, "") if line.startswith("  TLS ")]
        assert words in line
        assert line.split()[1] == "ok"


def test_a_server_that_is_not_ready_says_why() -> None:
    """One SQLSTATE for three states: what its words do not tell is left open."""
    settings = resolve("postgresql://u@h/d", {}, None, Secrets())

    def causes(state: str, words: str) -> list[str]:
        met = refusal(ServerError(state, words), settings, encrypted=False)
        return [cause.partition(",")[0] for cause in met.causes]

    ending = "it is shutting down"
    assert causes("57P03", "the database system is shutting down") == [ending]
    assert causes("57P01", "beende Verbindung") == [ending]
    assert causes("57P03", "the database system is in recovery mode") == ["it is starting"]
    assert causes("57P03", "das Datenbanksystem startet")[-1] == ending
    assert causes("57P03", "das Datenbanksystem startet")[0] == "it is starting"


def test_nothing_is_said_of_tls_where_the_server_only_starts(starting: Cluster) -> None:
    report = look(starting.url("owner", "postgres"), environ={}, driver="psycopg", timeout=20)
    assert any(step.layer == "TLS" for step in report.steps)
    assert not [line for line in one(report, "") if line.startswith("  TLS ")]
