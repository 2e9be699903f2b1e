"""Who says where to connect: URLs of every form, variables, files, and which of them wins."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import URL

from tests.scripts.test_test_connection import servers
from tests.scripts.test_test_connection.conftest import Run
from tests.scripts.test_test_connection.servers import PASSWORD, Cluster

# isort: split
from test_connection.api import look
from test_connection.core import Failed, Secrets
from test_connection.protocol import prepared
from test_connection.settings import Settings, password_in, resolve

pytestmark = pytest.mark.once


def resolved(url: str | None = None, driver: str | None = None, **environ: str) -> Settings:
    """What is understood, given these variables alone."""
    return resolve(url, environ, driver, Secrets())


def refused(url: str | None = None, driver: str | None = None, **environ: str) -> str:
    """Why it is not understood: what was seen and the causes."""
    with pytest.raises(Failed) as caught:
        resolve(url, environ, driver, Secrets())
    failure = caught.value.failure
    assert (failure.layer, failure.exit_code) == ("URL", 2)
    return "\n".join([failure.seen, *failure.causes, *failure.commands])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg://u:p@h:6000/d", ("u", "p", [("h", 6000)], "d")),
        ("postgresql://u@h/d", ("u", None, [("h", 5432)], "d")),
        ("postgresql://u:p%40%2F%25@h/d", ("u", "p@/%", [("h", 5432)], "d")),
        ("postgresql://u:p%20+x@h/d", ("u", "p +x", [("h", 5432)], "d")),
        ("postgresql://u@[::1]:6000/d", ("u", None, [("::1", 6000)], "d")),
        ("postgresql://u@/d?host=/run/x&port=6000", ("u", None, [("/run/x", 6000)], "d")),
        ("postgresql://u@/d?host=a:1&host=b:2", ("u", None, [("a", 1), ("b", 2)], "d")),
        ("postgresql://u@/d?host=a,b&port=1,2", ("u", None, [("a", 1), ("b", 2)], "d")),
        ("postgresql://u@/d?host=a,b&port=7", ("u", None, [("a", 7), ("b", 7)], "d")),
        ("postgresql://u@h", ("u", None, [("h", 5432)], "u")),
        ("postgresql://h/d?user=u&password=p", ("u", "p", [("h", 5432)], "d")),
        ("postgresql://u:p@h/d?user=v&dbname=e", ("v", "p", [("h", 5432)], "e")),
    ],
)
def test_urls(url: str, expected: tuple[str, str | None, list[tuple[str, int]], str]) -> None:
    found = resolved(url)
    assert (found.user, found.password, list(found.hosts), found.database) == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgres://u@h/d", "write postgresql:// for postgres://"),
        ("mysql://u@h/d", "a URL of 'mysql'"),
        ("jdbc:postgresql://h/d", "begins with jdbc:"),
        ("host=h dbname=d", "libpq's form, name=value"),
        ("h:5432/d", "it has no ://"),
        ("", "it has no ://"),
        ('"postgresql://u@h/d"', "quotes or blanks around it"),
        ("postgresql://u@h/d\n", "quotes or blanks around it"),
        ("postgresql://u:p@ss@h/d", "part of the password is read as the host"),
        ("postgresql://u:p@s/s@h/d", "part of the password is read as the host"),
        ("postgresql://u:p@s?s@h/d", "part of the password is read as the host"),
        ("postgresql://u:p@s:s@h/d", "percent-encode the password"),
        ("postgresql://u@h:port/d", "the port is no number"),
        ("postgresql://u@h:99999/d", "the port 99999"),
        ("postgresql://u@a:1,b:2/d", "several hosts as libpq does"),
        ("postgresql+pg8000://u@h/d", "psycopg, psycopg2, asyncpg"),
        ("postgresql+pg8000://u@h/d", "the driver 'pg8000' is not supported (the argument)"),
        ("postgresql://u:p@ss@h/d", "an @ in the password was not percent-encoded (%40)"),
        ("postgresql://u@h:1/d?port=x", "the port 'x' is no number from 1 to 65535"),
        ("postgresql://u@h/d?sslmode=full", "the modes are disable"),
        ("postgresql+asyncpg://u@h/d?ssl=true", "the modes are disable"),
        ("postgresql+asyncpg://u@h/d?ssl=true", "ssl='true' is no mode of TLS"),
        ("postgresql+asyncpg://u@h/d?ssl=true", "\n?ssl=require"),
        ("postgresql+asyncpg://u@h/d?ssl=false", "\n?ssl=disable"),
        ("postgresql+psycopg://u@h/d?ssl=true", "\n?sslmode=require"),
        ("postgresql://u@h/d?sslmode=require&sslmode=disable", "comes 2 times"),
        ("env:NO_SUCH_VARIABLE", "NO_SUCH_VARIABLE is empty or not set"),
        (None, "no URL, no DATABASE_URL"),
    ],
)
def test_urls_that_cannot_be_used(url: str | None, words: str) -> None:
    assert words in refused(url)


def test_what_a_url_that_is_not_understood_is_called() -> None:
    """The report begins with whence it came."""
    given = {"DATABASE_URL": "postgres://u@h/d", "MINE": "nonsense"}
    assert look("postgres://u@h/d", environ={}).target == "the URL (the argument)"
    assert look(environ=given).target == "the URL (DATABASE_URL)"
    assert look("env:MINE", environ=given).target == "the URL (MINE)"
    assert look("env:GONE", environ=given).target == "no URL"
    assert look(environ={"PGHOST": "h", "PGPORT": "x"}).target == "PG*"


def test_one_line_for_a_url_that_a_driver_refuses() -> None:
    """No "URL ok" above it."""
    report = look("postgresql+asyncpg://u@h/d?sslmode=require", environ={})
    assert report.failure is not None
    assert report.steps == []
    assert report.failure.causes == ("sslmode is libpq's name; asyncpg's is ssl",)
    assert report.failure.commands == ("?ssl=require",)


@pytest.mark.parametrize("raw", ["p/w", "p?w", "p#w", "p w", "p:w", "100%", "p%w"])
def test_what_sqlalchemy_takes_unescaped(raw: str) -> None:
    """And so do we: no more is refused than must be."""
    assert resolved(f"postgresql://u:{raw}@h/d").password == raw


@given(st.text(min_size=1), st.text(alphabet=st.characters(min_codepoint=33), min_size=1))
def test_what_sqlalchemy_renders_is_understood(password: str, user: str) -> None:
    if "\0" in password + user:
        return
    made = URL.create("postgresql+psycopg", user, password, "h", 5432, "d")
    try:
        url = made.render_as_string(hide_password=False)
    except UnicodeEncodeError:  # half of a pair
        return
    found = resolved(url)
    assert (found.user, found.password) == (user, password)


def test_a_bare_url_means_the_driver_of_the_sqlalchemy_that_is_installed() -> None:
    expected = "psycopg2" if sqlalchemy.__version__.startswith("2.0") else "psycopg"
    assert resolved("postgresql://u@h/d").driver == expected
    assert resolved("postgresql://u@h/d", "asyncpg").driver == "asyncpg"


def test_precedence(tmp_path: Path) -> None:
    """The URL, the service, the variables, what is usual; and each says whence it is."""
    file = tmp_path / "services"
    file.write_text("# ours\n[desk]\nhost=of.service\nport=6000\nuser=service\ndbname=served\n")
    variables = {
        "PGSERVICEFILE": str(file),
        "PGSERVICE": "desk",
        "PGHOST": "of.variable",
        "PGUSER": "variable",
        "PGPASSWORD": "of the variable",
        "PGSSLMODE": "require",
    }
    found = resolved("postgresql://u@/d", **variables)
    assert (found.user, found.database, found.password) == ("u", "d", "of the variable")
    assert (found.hosts, found.sslmode) == ((("of.service", 6000),), "require")
    assert found.sources["user"] == "the argument"
    assert found.sources["host"] == "the service desk"
    assert found.sources["password"] == "PGPASSWORD"
    assert resolved(None, **variables).user == "service"
    url = "postgresql://x@y/z"
    assert resolved(None, DATABASE_URL=url, **variables).sources["user"] == "DATABASE_URL"
    assert resolved("env:MINE", MINE=url, DATABASE_URL="other").sources["user"] == "MINE"
    assert "'gone' is in none of" in refused("postgresql://h/d?service=gone")


def test_the_address_beside_the_name() -> None:
    found = resolved("postgresql://u@db.example/d?hostaddr=127.0.0.1&sslmode=verify-full")
    assert (found.hosts, found.addresses) == ((("db.example", 5432),), ("127.0.0.1",))
    for driver in ("psycopg", "psycopg2", "asyncpg"):
        far = resolved("postgresql://u@db.example/d", driver, PGHOSTADDR="127.0.0.1")
        assert far.addresses == (() if driver == "asyncpg" else ("127.0.0.1",))
    assert resolved(None, PGHOST="db.example", PGHOSTADDR="127.0.0.1").addresses == ("127.0.0.1",)


def test_an_address_for_each_host() -> None:
    for url in ("postgresql://u@/d?host=a&host=b", "postgresql://u@h/d?hostaddr=127.0.0.1,::1"):
        said = refused(url, PGHOSTADDR="127.0.0.1")
        assert "an address for each host" in said
        assert ("PGHOSTADDR" in said) == ("hostaddr" not in url)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_an_address_beats_the_path_of_a_socket(
    run: Run, primary: Cluster, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    head, _, _ = primary.url().partition("@")
    report = run(f"{head}@/postgres?host=/nonexistent&port={primary.port}", "--driver", driver)
    assert report["code"] == 0
    assert "nonexistent" not in report["printed"]


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_the_address_of_the_environment_is_that_of_the_drivers(
    run: Run, primary: Cluster, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    """libpq goes there whatever the URL names; asyncpg asks for the name."""
    url = primary.url().replace("127.0.0.1", "db.invalid")
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    report = run(url, "--driver", driver)
    if driver == "asyncpg":
        assert report["failure"]["layer"] == "DNS"
    else:
        assert report["code"] == 0
        assert report["failure"] is None
        assert "is not known" not in report["printed"]


def test_the_authorities_of_the_system_ask_for_the_strictest_mode() -> None:
    assert resolved("postgresql://u@h/d?sslrootcert=system").sslmode == "verify-full"


@pytest.mark.parametrize(
    ("line", "password"),
    [
        ("h:5432:d:u:secret", "secret"),
        ("*:*:*:*:secret", "secret"),
        (r"*:*:*:*:a\:b\\c", r"a:b\c"),
        (r"*:*:*:*:ends\\:rest", "ends\\"),
        ("*:*:*:*:two:parts", "two"),
        ("*:*:*:*:\u2028 \x85", "\u2028 \x85"),
        ("#h:5432:d:u:secret", None),
        ("other:5432:d:u:secret", None),
        ("h:5433:d:u:secret", None),
        ("h:5432:d:u", None),
        ("", None),
    ],
)
def test_a_line_of_the_password_file(line: str, password: str | None) -> None:
    assert password_in(line, ("h", "5432", "d", "u")) == password


def test_the_password_file(tmp_path: Path) -> None:
    path = tmp_path / ".pgpass"
    path.write_text("# ours\r\nother:*:*:*:wrong\r\nh:5432:d:u:right\r\nlocalhost:*:d:u:near\n")
    path.chmod(0o600)
    found = resolved("postgresql://u@h/d", PGPASSFILE=str(path))
    assert (found.password, found.sources["password"]) == ("right", f"the password file {path}")
    assert resolved("postgresql://u@h/d").password == "right"  # of the home directory
    assert resolved("postgresql://u@/d?host=/tmp").password == "near"
    assert resolved("postgresql://u@/d?host=/elsewhere").password is None
    assert "no line of" in resolved("postgresql://u@h/e").notes[0]
    path.chmod(0o640)
    found = resolved("postgresql://u@h/d")
    assert (found.password, "chmod 600" in found.notes[0]) == (None, True)
    gone = resolved("postgresql://u@h/d", PGPASSFILE=str(tmp_path / "gone"))
    assert "cannot be read" in gone.notes[0]


def test_a_container_without_a_user_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert "PGUSER" in refused("postgresql://h/d")
    assert resolved("postgresql://u@h/d").user == "u"


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("plain", "plain"),
        ("\u00aa", "a"),
        ("I\u00adX", "IX"),
        ("a\u00a0b", "a b"),
        ("\u2168", "IX"),
        ("\u0627\u0031", "\u0627\u0031"),
        ("\u0007\u00e4", "\u0007\u00e4"),
    ],
)
def test_passwords_are_prepared_as_rfc_4013_says(password: str, expected: str) -> None:
    assert prepared(password) == expected.encode()


# --- Against a server -----------------------------------------------------------------------------


def test_variables_alone(run: Run, driver: str, primary: Cluster) -> None:
    variables = {"PGHOST": "127.0.0.1", "PGPORT": str(primary.port), "PGUSER": "app"}
    os.environ.update(variables, PGDATABASE="desk", PGPASSWORD=PASSWORD)
    assert run("--driver", driver)["code"] == 0


def test_a_password_of_the_file(run: Run, driver: str, primary: Cluster) -> None:
    path = Path(os.environ["HOME"], ".pgpass")
    path.write_text(f"127.0.0.1:{primary.port}:desk:app:{PASSWORD}\n")
    path.chmod(0o600)
    os.environ["PGPASSFILE"] = str(path)  # a home directory of libpq's is not HOME's
    url = f"postgresql://app@127.0.0.1:{primary.port}/desk"
    report = run(url, "--driver", driver)
    assert report["code"] == 0
    assert f"password from the password file {path}" in report["steps"][0]["seen"]


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_service(run: Run, driver: str, primary: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "services"
    file.write_text(
        f"[desk]\nhost=127.0.0.1\nport={primary.port}\nuser=app\ndbname=desk\npassword={PASSWORD}\n"
    )
    os.environ.update(PGSERVICEFILE=str(file), PGSERVICE="desk")
    assert run("--driver", driver)["code"] == 0


def test_a_service_that_asyncpg_does_not_read(run: Run, primary: Cluster, tmp_path: Path) -> None:
    """It reads the file only where it is given a DSN, and SQLAlchemy gives it none."""
    file = tmp_path / "services"
    file.write_text(f"[desk]\nhost=127.0.0.1\nport={primary.port}\nuser=trusted\ndbname=desk\n")
    os.environ.update(PGSERVICEFILE=str(file), PGSERVICE="desk", PGPORT="1")
    report = run("--driver", "asyncpg")
    assert report["failure"]["layer"] == "driver"
    assert "asyncpg may not read the service file" in report["failure"]["causes"][0]


def test_a_socket(run: Run, driver: str, primary: Cluster) -> None:
    url = f"postgresql://app@/desk?host={primary.folder}"
    report = run(f"{url}&port={primary.port}", "--driver", driver)
    assert report["code"] == 0
    assert [step["layer"] for step in report["steps"]].count("TLS") == 0


def test_ipv6(run: Run, driver: str) -> None:
    with socket.socket(socket.AF_INET6) as taken:
        try:
            taken.bind(("::1", 0))
        except OSError:
            return  # no IPv6 here: nothing to knock at
        port = taken.getsockname()[1]
        report = run(f"postgresql://app@[::1]:{port}/desk", "--driver", driver)
    assert report["failure"]["seen"].startswith(f"[::1]:{port}: connection refused")


def test_the_name_of_a_certificate_at_another_address(run: Run, primary: Cluster) -> None:
    authority = Path(os.environ["HOME"], "ca.pem")
    servers.CERTIFICATES.authority.cert_pem.write_to_path(str(authority))
    primary.present(servers.CERTIFICATES.of_another_host)
    try:
        url = primary.url().replace("127.0.0.1", "db.elsewhere.example")
        given = f"hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={authority}"
        assert run(f"{url}?{given}")["code"] == 0
    finally:
        primary.present(servers.CERTIFICATES.right)


# --- What a driver makes of the URL ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "parameter", "words"),
    [
        ("asyncpg", "sslmode=require", "sslmode is libpq's name; asyncpg's is ssl"),
        ("asyncpg", "sslrootcert=/x.pem", "PGSSLROOTCERT"),
        ("asyncpg", "application_name=x", "server_settings"),
        ("psycopg", "ssl=require", "ssl is asyncpg's name; libpq's is sslmode"),
        ("psycopg2", "ssl=require", "ssl is asyncpg's name; libpq's is sslmode"),
        ("psycopg", "pool_size=5", "psycopg knows no parameter pool_size"),
        ("psycopg2", "nonsense=1", "psycopg2 knows no parameter nonsense"),
    ],
)
def test_parameters_of_another_driver(run: Run, driver: str, parameter: str, words: str) -> None:
    report = run(f"postgresql://app@127.0.0.1:1/desk?{parameter}", "--driver", driver)
    failure: dict[str, Any] = report["failure"]
    assert (failure["layer"], report["code"]) == ("URL", 2)
    assert words in "\n".join([failure["seen"], *failure["causes"], *failure["commands"]])


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_a_driver_that_is_not_there(run: Run, driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    report = run("postgresql://app@127.0.0.1:1/desk", "--driver", driver)
    assert (report["failure"]["layer"], report["code"]) == ("driver", 2)
    assert report["failure"]["commands"][0].startswith('pip install "')


def test_asyncio_without_greenlet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "greenlet", None)
    report = run("postgresql+asyncpg://app@127.0.0.1:1/desk")
    assert report["failure"]["commands"][0] == 'pip install "sqlalchemy[asyncio]"'
