"""Each layer fails against the real thing, by each driver: layer, exit code, cause."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pgbouncer import PROGRAM, pgbouncer
from tests.scripts.test_test_connection import servers
from tests.scripts.test_test_connection.conftest import Run
from tests.scripts.test_test_connection.servers import CERTIFICATES, CONNECTIONS, PASSWORD, Cluster
from tests.short import times

# isort: split
from test_connection.api import look

pytestmark = [
    # asyncpg leaves the transport of a TLS login that failed to the garbage collector.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <function _SelectorTransport"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket fd"),
]


def layer_of(report: dict[str, Any]) -> tuple[str, int]:
    """Where it ended."""
    failure = report["failure"]
    return (failure["layer"] if failure else "-", report["code"])


def told(report: dict[str, Any]) -> str:
    """All that is said of the failure."""
    failure = report["failure"]
    return "\n".join([failure["seen"], *failure["causes"], *failure["commands"]])


# --- Nobody there, or somebody else ---------------------------------------------------------------


@pytest.mark.once
def test_closed_port(run: Run, driver: str) -> None:
    with servers.closed_port() as port:
        report = run(f"postgresql://app:{PASSWORD}@127.0.0.1:{port}/desk", "--driver", driver)
    assert layer_of(report) == ("TCP", 3)
    assert "connection refused" in report["failure"]["seen"]
    assert report["failure"]["causes"][0] == "PostgreSQL is not running there"
    assert str(port) in report["failure"]["said"]


@pytest.mark.once
def test_black_hole(run: Run, driver: str) -> None:
    with servers.black_hole() as port:
        url = f"postgresql://app@127.0.0.1:{port}/desk"
        report = run(url, "--driver", driver, "--timeout", "0.3")
    assert layer_of(report) == ("TCP", 3)
    assert "no answer within 0.3 s" in report["failure"]["seen"]
    assert "firewall" in report["failure"]["causes"][0]


@pytest.mark.once
@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it answers like a web server (HTTP)"),
        (b"HELLO", "b'H' where S or N"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "b'\\x15' where S or N"),
        (b"", "the server closed the connection"),
    ],
    ids=["http", "a greeting", "tls", "nothing"],
)
def test_no_postgresql(run: Run, driver: str, answer: bytes, seen: str) -> None:
    with servers.stranger(answer) as port:
        report = run(f"postgresql://app@127.0.0.1:{port}/desk", "--driver", driver)
    assert layer_of(report) == ("server", 3)
    assert seen in report["failure"]["seen"]


@pytest.mark.once
def test_no_postgresql_without_tls(run: Run, driver: str) -> None:
    os.environ["PGSSLMODE"] = "disable"
    with servers.stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        report = run(f"postgresql://app@127.0.0.1:{port}/desk", "--driver", driver)
    assert layer_of(report) == ("server", 3)
    seen = "what answers does not speak PostgreSQL's protocol: it answers like a web server (HTTP)"
    assert report["failure"]["seen"] == seen
    assert report["failure"]["commands"]


def message(kind: bytes, payload: bytes) -> bytes:
    """One of PostgreSQL's."""
    return kind + struct.pack("!I", len(payload) + 4) + payload


KINDS = st.sampled_from([b"R", b"S", b"K", b"Z", b"E", b"v", b"N", b"D", b"T", b"?"])
REQUESTS = st.sampled_from([struct.pack("!I", number) for number in (0, 3, 5, 7, 10, 11, 12, 99)])
PAYLOADS = st.one_of(
    st.binary(max_size=12),
    st.tuples(REQUESTS, st.sampled_from([b"", b"SCRAM-SHA-256\0\0", b"r=,s=,i=", b"abcd"])).map(
        b"".join
    ),
)


@pytest.mark.once
@given(st.lists(st.tuples(KINDS, PAYLOADS), max_size=5), st.binary(max_size=8))
@settings(max_examples=times(50, 10), deadline=None)
def test_an_impostor_makes_nothing_stumble(
    messages: list[tuple[bytes, bytes]], rest: bytes
) -> None:
    """Whatever is sent, it ends in a layer."""
    sent = b"N" + b"".join(message(kind, payload) for kind, payload in messages) + rest
    with servers.stranger(sent) as port:
        url = f"postgresql+psycopg://app:secret@127.0.0.1:{port}/desk"
        report = look(url, environ={}, timeout=20, facts=False)
    assert report.failure is None or report.failure.layer in {
        "URL", "server", "authentication", "connections", "statement",
    }  # fmt: skip


@pytest.mark.once
def test_it_accepts_and_says_nothing(run: Run, driver: str) -> None:
    with servers.stranger(b"", hangs=True) as port:
        url = f"postgresql://app@127.0.0.1:{port}/desk"
        report = run(url, "--driver", driver, "--timeout", "0.3")
    assert layer_of(report) == ("server", 3)
    assert "does not answer" in report["failure"]["seen"]


@pytest.mark.once
def test_an_unknown_name(run: Run, driver: str) -> None:
    report = run("postgresql://app@nowhere.invalid/desk", "--driver", driver)
    assert layer_of(report) == ("DNS", 3)
    assert "nowhere.invalid" in report["failure"]["seen"]


@pytest.mark.once
def test_a_socket_that_is_not_there(run: Run, driver: str, tmp_path: Path) -> None:
    report = run(f"postgresql://app@/desk?host={tmp_path}", "--driver", driver)
    assert layer_of(report) == ("TCP", 3)
    assert "the folder has no socket" in report["failure"]["causes"][0]


# --- Who may come in ------------------------------------------------------------------------------

REFUSED = {
    "wrong password": (("app", "desk", "another"), "the password of 'app' was refused"),
    "no password": (("app", "desk", ""), "asks for the password of 'app', and none was given"),
    "missing role": (("nobody_at_all", "desk", "guess0"), "there is no role 'nobody_at_all'"),
    "missing role, trusted": (("ghost", "desk", ""), "the role 'ghost' is not there"),
    "may not log in": (("nologin", "desk", ""), "CREATE ROLE, which gives no LOGIN"),
    "missing database": (("trusted", "desc", ""), "the database 'desc' is not there"),
    "no CONNECT": (("trusted", "private", ""), 'GRANT CONNECT ON DATABASE "private" TO "trusted"'),
    "closed database": (("trusted", "closed", ""), "the database takes no connections"),
    "no line": (("outsider", "desk", ""), "pg_hba.conf has no line that admits"),
    "reject": (("rejected", "desk", ""), "a reject stands above it"),
    "ident": (("mapped", "desk", ""), "operating system must be called 'mapped'"),
    "certificate wanted": (("by_certificate", "desk", ""), "asks for a certificate of the client"),
    "wrong password, md5": (("by_md5", "desk", "another"), "the password of 'by_md5' was refused"),
    "wrong password, clear": (("by_password", "desk", "another"), "of 'by_password' was refused"),
}


@pytest.mark.once
@pytest.mark.parametrize("name", REFUSED)
def test_refused(run: Run, driver: str, primary: Cluster, name: str) -> None:
    (user, database, password), words = REFUSED[name]
    report = run(primary.url(user, database, password), "--driver", driver)
    assert layer_of(report) == ("authentication", 4)
    assert words in told(report)
    said = report["failure"]["said"]
    assert said
    sentences = [part for part in said.split("; ") if part.startswith("connection to server")]
    assert len(sentences) == len(set(sentences))  # libpq tries twice, and says it twice
    assert not any(said.count(f"FATAL: {words}") > 1 for words in ("password auth", "permission"))


@pytest.mark.once
@pytest.mark.parametrize("user", ["app", "tls_only", "clear_only", "by_md5", "by_password"])
def test_admitted(run: Run, driver: str, primary: Cluster, user: str) -> None:
    """By each method, with TLS and, where only that is admitted, without."""
    password = PASSWORD.replace("&", "%26")
    report = run(primary.url(user, "desk", password), "--driver", driver)
    assert layer_of(report) == ("-", 0)
    tls = next(check for check in report["checks"] if check["name"] == "TLS")
    assert tls["seen"].startswith("none" if user == "clear_only" else "TLSv1.3")


@pytest.mark.once
@pytest.mark.parametrize(
    "case",
    [
        ("disable", "tls_only", "(without TLS)"),
        ("require", "clear_only", "(with TLS)"),
        ("disable", "tls_only", "hostssl takes TLS alone"),
        ("prefer", "outsider", "(with TLS)"),
        ("prefer", "outsider", "then pg_hba.conf has no line that admits this connection (wi"),
        (
            "allow",
            "outsider",
            "then pg_hba.conf has no line that admits this connection (wi",
        ),
    ],
)
def test_the_other_kind_of_line(
    run: Run, driver: str, primary: Cluster, case: tuple[str, str, str]
) -> None:
    mode, user, words = case
    os.environ["PGSSLMODE"] = mode
    report = run(primary.url(user, "desk", PASSWORD.replace("&", "%26")), "--driver", driver)
    assert layer_of(report) == ("authentication", 4)
    assert words in told(report) + "\n".join(step["seen"] for step in report["steps"])


@pytest.mark.once
def test_a_server_that_speaks_german(run: Run, driver: str, german: Cluster) -> None:
    """What the layers are called by does not depend on the words."""
    report = run(german.url("app", "postgres", "another"), "--driver", driver)
    assert layer_of(report) == ("authentication", 4)
    assert "Passwort-Authentifizierung für Benutzer »app« fehlgeschlagen" in told(report)
    assert layer_of(run(german.url("outsider", "postgres"), "--driver", driver)) == (
        "authentication",
        4,
    )
    assert "pg_hba.conf has no line" in told(run(german.url("outsider"), "--driver", driver))
    assert "the database 'desk' is not there" in told(run(german.url(), "--driver", driver))


@pytest.mark.once
def test_a_setting_that_the_server_does_not_know(run: Run, primary: Cluster) -> None:
    report = run(primary.url("trusted") + "?options=-c%20no.such%20", "--driver", "psycopg")
    assert layer_of(report) == ("URL", 2)
    report = run(primary.url("trusted") + "?options=-c%20statement_timeout%3Dsoon")
    assert layer_of(report) == ("URL", 2)
    assert "statement_timeout" in report["failure"]["seen"]


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture
def shown(primary: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """The certificate of that name is presented meanwhile."""
    name: str = request.param
    primary.present(getattr(CERTIFICATES, name))
    yield name
    primary.present(CERTIFICATES.right)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """The file of whom to trust."""
    path = tmp_path / "ca.pem"
    CERTIFICATES.authority.cert_pem.write_to_path(str(path))
    return path


def strictly(authority: Path, mode: str = "verify-full") -> None:
    """All drivers read these two."""
    os.environ.update(PGSSLMODE=mode, PGSSLROOTCERT=str(authority))


@pytest.mark.once
@pytest.mark.parametrize(
    ("shown", "case"),
    [
        ("expired", ("verify-full", "the certificate's time is not now")),
        ("expired", ("verify-ca", "the server's certificate has ended")),
        ("of_another_host", ("verify-full", "for another host than 127.0.0.1")),
        ("untrusted", ("verify-full", "the certificate is not trusted")),
        ("untrusted", ("verify-ca", "is not the authority that signed it")),
        ("untrusted", ("require", "the certificate is not trusted")),
    ],
    indirect=["shown"],
)
@pytest.mark.usefixtures("shown")
def test_certificates(
    run: Run, driver: str, primary: Cluster, authority: Path, case: tuple[str, str]
) -> None:
    mode, words = case
    strictly(authority, mode)
    report = run(primary.url(), "--driver", driver)
    assert layer_of(report) == ("TLS", 5)
    assert words in told(report)
    assert report["failure"]["said"]


@pytest.mark.once
@pytest.mark.parametrize("shown", ["of_another_host", "right"], indirect=True)
def test_certificates_that_do(
    run: Run, driver: str, primary: Cluster, authority: Path, shown: str
) -> None:
    strictly(authority, "verify-ca" if shown == "of_another_host" else "verify-full")
    report = run(primary.url(), "--driver", driver)
    assert layer_of(report) == ("-", 0)
    (step,) = [step for step in report["steps"] if step["layer"] == "TLS"]
    assert "its certificate is trusted" in step["seen"]
    assert ("and for 127.0.0.1" in step["seen"]) is (shown == "right")


@pytest.mark.once
@pytest.mark.parametrize("shown", ["ends_soon"], indirect=True)
def test_a_certificate_that_ends_soon(run: Run, primary: Cluster, shown: str) -> None:
    report = run(primary.url())
    (check,) = [check for check in report["checks"] if check["name"] == "certificate"]
    assert check["level"] == "warning"
    assert run(primary.url(), "--profile", "production")["code"] == 1


@pytest.mark.once
def test_the_server_has_no_tls(run: Run, driver: str, german: Cluster) -> None:
    os.environ["PGSSLMODE"] = "require"
    report = run(german.url("owner", "postgres"), "--driver", driver)
    assert layer_of(report) == ("TLS", 5)
    assert "the server speaks no TLS, and PGSSLMODE=require wants it" in told(report)


@pytest.mark.once
def test_no_authority_to_trust(run: Run, driver: str, primary: Cluster, tmp_path: Path) -> None:
    os.environ["PGSSLMODE"] = "verify-full"
    report = run(primary.url(), "--driver", driver)
    assert layer_of(report) == ("TLS", 5)
    assert "needs a root certificate, and there is none" in told(report)
    os.environ["PGSSLROOTCERT"] = str(tmp_path / "gone.pem")
    report = run(primary.url(), "--driver", driver)
    assert layer_of(report) == ("TLS", 5)
    assert "gone.pem" in told(report)


@pytest.mark.once
def test_a_certificate_of_the_client(run: Run, primary: Cluster, tmp_path: Path) -> None:
    """It opens the door; a key with a password asks nobody for it."""
    client = CERTIFICATES.clients.issue_cert("unused.example", common_name="by_certificate")
    certificate, key = tmp_path / "client.pem", tmp_path / "key.pem"
    client.cert_chain_pems[0].write_to_path(str(certificate))
    client.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    url = primary.url("by_certificate") + f"?sslmode=require&sslcert={certificate}&sslkey={key}"
    assert layer_of(run(url)) == ("-", 0)
    assert layer_of(run(url, "--driver", "psycopg2")) == ("-", 0)
    report = run(url.replace("key.pem", "client.pem"))
    assert layer_of(report) == ("TLS", 5)
    assert "a certificate cannot be read" in told(report)


# --- Full, starting, standing by ------------------------------------------------------------------


@pytest.mark.once
def test_exhausted(run: Run, driver: str, primary: Cluster) -> None:
    """All that are not kept for superusers are taken."""
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            try:
                held = psycopg.connect(primary.url("trusted"))
            except psycopg.OperationalError:
                break
            stack.enter_context(held)
        else:
            pytest.fail("they should have been exhausted")
        report = run(primary.url("trusted"), "--driver", driver)
        assert layer_of(report) == ("connections", 1)
        assert "pool_size + max_overflow" in told(report)
        waited = run(primary.url("trusted"), "--driver", driver, "--wait", "0.1")
        assert waited["code"] == 6


@pytest.mark.once
def test_starting(run: Run, driver: str, starting: Cluster) -> None:
    report = run(starting.url("owner", "postgres"), "--driver", driver)
    assert layer_of(report) == ("server", 6)
    assert report["failure"]["causes"] == ["it is starting, or replays its log after a crash"]


@pytest.mark.once
def test_a_standby_that_admits_nobody(run: Run, driver: str, closed_standby: Cluster) -> None:
    report = run(closed_standby.url("owner", "postgres"), "--driver", driver)
    assert layer_of(report) == ("server", 6)
    assert "Hot standby mode is disabled" in told(report)
    assert "hot_standby = off" in told(report)


@pytest.mark.once
def test_standby(run: Run, driver: str, standby: Cluster) -> None:
    report = run(standby.url("owner", "postgres"), "--driver", driver)
    assert layer_of(report) == ("-", 0)
    (check,) = [check for check in report["checks"] if check["name"] == "role of server"]
    assert check["level"] == "note"
    assert check["seen"].startswith("standby")
    assert "target_session_attrs" in check["fix"]


@pytest.mark.once
def test_another_kind_of_server_was_asked_for(run: Run, driver: str, standby: Cluster) -> None:
    url = standby.url("owner", "postgres") + "?target_session_attrs=read-write"
    report = run(url, "--driver", driver)
    assert layer_of(report) == ("driver", 3)
    assert report["failure"]["causes"][0].startswith("target_session_attrs asks for another kind")


@pytest.mark.once
def test_the_next_host(run: Run, driver: str, primary: Cluster, starting: Cluster) -> None:
    """Who is not there or not ready is passed over; who refuses is believed."""
    with servers.closed_port() as port:
        ports = (port, starting.port, primary.port)
        hosts = "&".join(f"host=127.0.0.1:{each}" for each in ports)
        report = run(f"postgresql://trusted@/desk?{hosts}", "--driver", driver)
        assert layer_of(report) == ("-", 0)
        passed = [step["seen"] for step in report["steps"] if "next host" in step["seen"]]
        assert len(passed) == 2
        report = run(f"postgresql://outsider@/desk?{hosts}", "--driver", driver)
        assert layer_of(report) == ("authentication", 4)


# --- A pooler -------------------------------------------------------------------------------------

pooled = pytest.mark.skipif(PROGRAM is None, reason="needs PgBouncer")


@pytest.mark.once
@pooled
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_pgbouncer(run: Run, driver: str, primary: Cluster, mode: str) -> None:
    with pgbouncer(primary.url("trusted"), mode=mode) as pooler:
        report = run(pooler.url, "--driver", driver)
    assert layer_of(report) == ("-", 0)
    (check,) = [check for check in report["checks"] if check["name"] == "pooler"]
    assert check["level"] == "note"
    assert ("in transaction mode" in check["seen"]) is (mode == "transaction")
    assert ("prepared_statement_cache_size=0" in check["fix"]) is (mode == "transaction")


@pytest.mark.once
@pooled
def test_what_pgbouncer_refuses(run: Run, driver: str, primary: Cluster) -> None:
    with pgbouncer(primary.url("trusted")) as pooler:
        report = run(pooler.url.replace("/desk", "/desc"), "--driver", driver)
        assert layer_of(report) == ("authentication", 4)
        assert "pgbouncer.ini" in told(report)
        os.environ["PGOPTIONS"] = "-c jit=off"
        if driver != "asyncpg":
            report = run(pooler.url, "--driver", driver)
            assert layer_of(report) == ("URL", 2)
            assert "ALTER ROLE" in told(report)


@pytest.mark.once
@pooled
def test_a_pooler_whose_server_is_gone(run: Run, driver: str) -> None:
    with (
        servers.closed_port() as port,
        pgbouncer(f"postgresql://app@127.0.0.1:{port}/desk") as pooler,
    ):
        report = run(pooler.url, "--driver", driver, "--timeout", "1")
    assert layer_of(report)[1] == 3
