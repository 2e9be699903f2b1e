"""No password is shown: not in a report, not in an error, in whatever way it ends."""

from __future__ import annotations

import contextlib
import io
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.scripts.test_test_connection import servers
from tests.scripts.test_test_connection.conftest import Run
from tests.scripts.test_test_connection.servers import CERTIFICATES, Cluster
from tests.short import times

# isort: split
from test_connection.__main__ import main
from test_connection.api import look
from test_connection.core import Report, Secrets
from test_connection.protocol import permitted

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:Exception ignored in. <function _SelectorTransport"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket fd"),
]

OUTPUTS = ("full", "json", "concise")
MARKS = "@/%:?#&=+ '\"\\$;[]"
PRINTABLE = st.characters(exclude_categories=("C", "Z"), include_characters=" ")
PASSWORDS = st.one_of(
    st.text(st.one_of(st.sampled_from(MARKS), PRINTABLE), min_size=4, max_size=20),
    st.text(st.sampled_from(MARKS + "aZ9ß"), min_size=4, max_size=12),
).map(lambda each: f"{each}7ß")  # no piece of our own words: Hypothesis reads those, and tries them


@pytest.fixture(scope="module")
def failing(primary: Cluster, starting: Cluster) -> Iterator[dict[str, str]]:
    """An URL for each layer, with PASSWORD where the password stands."""
    with ExitStack() as stack:
        closed = stack.enter_context(servers.closed_port())
        web = stack.enter_context(servers.stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        at = "postgresql://{user}:PASSWORD@{host}:{port}/desk{more}".format
        yield {
            "DNS": at(user="app", host="nowhere.invalid", port=1, more=""),
            "TCP": at(user="app", host="127.0.0.1", port=closed, more=""),
            "server": at(user="app", host="127.0.0.1", port=web, more=""),
            "not ready": at(user="app", host="127.0.0.1", port=starting.port, more=""),
            "authentication": at(user="app", host="127.0.0.1", port=primary.port, more=""),
            "md5": at(user="by_md5", host="127.0.0.1", port=primary.port, more=""),
            "in clear": at(user="by_password", host="127.0.0.1", port=primary.port, more=""),
            "hba": at(user="outsider", host="127.0.0.1", port=primary.port, more=""),
            "URL": at(user="app", host="127.0.0.1", port=closed, more="?nonsense=PASSWORD"),
            "mode": at(user="app", host="127.0.0.1", port=closed, more="?sslmode=PASSWORD"),
            "driver's": at(user="app", host="127.0.0.1", port=closed, more="?PASSWORD=1"),
            "admitted": at(user="trusted", host="127.0.0.1", port=primary.port, more=""),
        }


def printed(*arguments: str) -> str:
    """All that a run prints; a traceback of it fails the test by itself."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        main([*arguments, "--pings", "0", "--timeout", "20"])
    text = out.getvalue() + err.getvalue()
    assert "exit" in text
    return text


def forms(password: str) -> set[str]:
    """How it might be written."""
    return {password, quote(password), quote(password, safe=""), quote_plus(password)}


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
@given(password=PASSWORDS, data=st.data())
@example(password="p@ss/w%rd:?# '\"\\", data=None)
@settings(
    max_examples=times(15, 5),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_in_no_layer(
    failing: dict[str, str], driver: str, password: str, data: st.DataObject | None
) -> None:
    """Nor in the report for people, nor in JSON, whichever way it was given."""
    names = sorted(failing) if data is None else [data.draw(st.sampled_from(sorted(failing)))]
    for name in names:
        url = failing[name].replace("PASSWORD", quote(password, safe=""))
        output = OUTPUTS[len(password) % 3]
        if len(password) % 2 and failing[name].count("PASSWORD") == 1:
            os.environ["PGPASSWORD"] = password
            url = failing[name].replace(":PASSWORD@", "@")
        try:
            text = printed(url, "--driver", driver, "--output-format", output)
        finally:
            os.environ.pop("PGPASSWORD", None)
        assert not [form for form in forms(password) if form in text]


TYPED: list[Callable[[str], str]] = [
    lambda password: f"postgresql://app:{password}@127.0.0.1:1/desk",
    lambda password: f"postgresql+asyncpg://app:{password}@127.0.0.1:1/desk",
    lambda password: f"postgres://app:{password}@127.0.0.1:1/desk",
    lambda password: f"mysql://app:{password}@127.0.0.1:1/desk",
    lambda password: f"jdbc:postgresql://app:{password}@127.0.0.1:1/desk",
    lambda password: f"host=127.0.0.1 port=1 user=app password={password}",
    lambda password: f"postgresql://app:{password}@127.0.0.1:none/desk",
    lambda password: f"postgresql://app:{password}@127.0.0.1:1,127.0.0.1:2/desk",
    lambda password: f" postgresql://app:{password}@127.0.0.1:1/desk",
    lambda password: f"postgresql+odbc://app:{password}@127.0.0.1:1/desk",
    lambda password: f"postgresql://127.0.0.1:1/desk?user=app&password={password}",
    lambda password: f"app:{password}@127.0.0.1:1/desk",
]


@given(password=PASSWORDS, typed=st.sampled_from(TYPED))
@example(password="p@ss?w=rd/@x", typed=TYPED[0])
@example(password="a://b:c@d@e", typed=TYPED[0])
@settings(max_examples=times(40, 10), deadline=None)
def test_in_no_url_that_was_typed_as_it_is(password: str, typed: Callable[[str], str]) -> None:
    """What is not percent-encoded is taken apart at the wrong places; nothing of it is shown."""
    for output in ("full", "json"):
        text = printed(typed(password), "--output-format", output)
        assert not [form for form in forms(password) if form in text]


def test_nor_where_the_certificate_is_wrong(primary: Cluster) -> None:
    authority = os.path.join(os.environ["HOME"], "ca.pem")  # noqa: PTH118
    CERTIFICATES.stranger.cert_pem.write_to_path(authority)
    os.environ.update(PGSSLMODE="verify-full", PGSSLROOTCERT=authority)
    text = printed(primary.url("app", "desk", "hunter2hunter2"), "--driver", "all")
    assert "failed at TLS" in text
    assert "hunter2" not in text


@pytest.mark.usefixtures("leaping")
def test_nor_where_it_is_waited_for() -> None:
    with servers.closed_port() as port:
        text = printed(f"postgresql://app:hunter2hunter2@127.0.0.1:{port}/d", "--wait", "250")
    assert "waiting: TCP" in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("password", "text", "expected"),
    [
        ("a", "a role of a name", "a role of a name"),
        ("password", "the password is wrong", "the password is wrong"),
        ("password", "u:password@h, 'password'", "u:***@h, '***'"),
        ("app1", 'invalid "app1"; apple app12', 'invalid "***"; apple app12'),
        ("Tr0ub4dor", "xTr0ub4dorx", "x***x"),
        ("p@ss", "p%40ss p@ss", "*** ***"),
        ("p%40ss", "p%40ss p@ss", "*** ***"),
    ],
)
def test_what_is_hidden(password: str, text: str, expected: str) -> None:
    secrets = Secrets()
    secrets.add(password)
    assert secrets.hide(text) == expected


def test_a_name_that_is_the_password_too_is_a_name() -> None:
    secrets = Secrets()
    secrets.add("postgres")
    secrets.show("postgres")
    assert secrets.hide("postgres@localhost/postgres") == "postgres@localhost/postgres"


def test_a_server_steers_no_terminal() -> None:
    assert Secrets().hide("a\x1b[31mred\x07\n") == "a\\x1b[31mred\\x07\\n"


# --- What is not sent -----------------------------------------------------------------------------

NO_TLS = b"N"
IN_CLEAR = b"R" + struct.pack("!II", 8, 3)  # AuthenticationCleartextPassword


def told_to(heard: bytearray, query: str = "", **environ: str) -> Report:
    """The report on one who asks for a password in clear; *heard* gets what was sent there."""
    with servers.stranger(NO_TLS + IN_CLEAR, heard=heard) as port:
        url = f"postgresql+psycopg://app:hunter2hunter2@127.0.0.1:{port}/desk{query}"
        return look(url, environ=environ, timeout=20, facts=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("require_auth", "scram-sha-256"),
        ("require_auth", "md5,scram-sha-256"),
        ("require_auth", "!password"),
        ("channel_binding", "require"),
    ],
)
@pytest.mark.parametrize("source", ["the URL", "a variable", "a service"])
def test_no_password_goes_to_who_may_not_ask_for_it(
    tmp_path: Path, name: str, value: str, source: str
) -> None:
    """The step is left to the driver, which knows what else to do."""
    file = tmp_path / "services"
    file.write_text(f"[strict]\n{name}={value}\n")
    variable = f"PG{name.replace('_', '').upper()}"
    query, environ = {
        "the URL": (f"?{name}={value}", {}),
        "a variable": ("", {variable: value}),
        "a service": ("?service=strict", {"PGSERVICEFILE": str(file)}),
    }[source]
    heard = bytearray()
    report = told_to(heard, query, **environ)
    assert report.failure is None
    assert report.steps[-1].seen.startswith(f"{name}={value}")
    assert report.steps[-1].seen.endswith(": left to the driver")
    assert b"desk" in heard
    assert b"hunter2" not in heard


@pytest.mark.parametrize(
    "query", ["", "?require_auth=password", "?require_auth=!md5", "?channel_binding=prefer"]
)
def test_a_password_goes_to_who_may_ask_for_it(query: str) -> None:
    heard = bytearray()
    told_to(heard, query)
    assert b"hunter2" in heard


@pytest.mark.parametrize(
    ("required", "expected"),
    [
        ("", {"none", "password", "md5", "scram-sha-256"}),
        ("scram-sha-256", {"scram-sha-256"}),
        ("md5,none", {"md5", "none"}),
        ("!password,!none", {"md5", "scram-sha-256"}),
        ("gss", set()),
    ],
)
def test_what_require_auth_permits(required: str, expected: set[str]) -> None:
    methods = {"none", "password", "md5", "scram-sha-256"}
    assert {method for method in methods if permitted(method, required)} == expected


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_the_driver_decides_on_what_is_left_to_it(run: Run, driver: str, primary: Cluster) -> None:
    bound = run(primary.url() + "?sslmode=require&channel_binding=require", "--driver", driver)
    assert (bound["code"], bound["failure"]) == (0, None)
    notes = [step["seen"] for step in bound["steps"] if step["level"] == "note"]
    assert notes == ["channel_binding=require: left to the driver"]
    assert run(primary.url() + "?require_auth=scram-sha-256", "--driver", driver)["code"] == 0
    for role in ("app", "trusted"):
        refused = run(primary.url(role) + "?require_auth=md5", "--driver", driver)
        assert refused["failure"]["layer"] == "driver"
        assert refused["failure"]["seen"] == f"the login is left to {driver}, which fails"
        assert refused["failure"]["causes"][0].startswith("require_auth or channel_binding")
