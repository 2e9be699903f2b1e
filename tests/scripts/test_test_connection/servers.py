"""Servers to fail at: Debian's PostgreSQL 15 with TLS, standbys, a black hole, strangers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import trustme

from tests.pgbouncer import NOBODY, free_port

ROOT = Path(__file__).resolve().parent.parent.parent.parent
SCRIPT = ROOT / "scripts" / "test-connection.py"
sys.path.insert(0, str(SCRIPT.parent))

BIN = Path("/usr/lib/postgresql/15/bin")
WORLD = "/var/tmp" if os.getuid() == 0 else "/tmp"  # noqa: S108 - where nobody can pass
PASSWORD = "Tr0ub4dor&3"
SECONDS = 30.0
CONNECTIONS, RESERVED = 20, 3

# Who is let in, and how; nobody else is.
HBA = """
local   all  all                                   trust
host    all  rejected                127.0.0.1/32  reject
host    all  owner,trusted,nologin,ghost   127.0.0.1/32  trust
hostssl all  tls_only                127.0.0.1/32  scram-sha-256
hostnossl all clear_only             127.0.0.1/32  scram-sha-256
host    all  by_md5                  127.0.0.1/32  md5
host    all  by_password             127.0.0.1/32  password
hostssl all  by_certificate          127.0.0.1/32  cert
host    all  mapped                  127.0.0.1/32  ident
host    all  app,nobody_at_all       127.0.0.1/32  scram-sha-256
host    replication  owner           127.0.0.1/32  trust
"""
SETUP = f"""
CREATE ROLE app LOGIN PASSWORD '{PASSWORD}';
CREATE ROLE tls_only LOGIN PASSWORD '{PASSWORD}';
CREATE ROLE clear_only LOGIN PASSWORD '{PASSWORD}';
CREATE ROLE by_password LOGIN PASSWORD '{PASSWORD}';
SET password_encryption = 'md5';
CREATE ROLE by_md5 LOGIN PASSWORD '{PASSWORD}';
RESET password_encryption;
CREATE ROLE by_certificate LOGIN;
CREATE ROLE mapped LOGIN;
CREATE ROLE trusted LOGIN;
CREATE ROLE nologin;
CREATE ROLE rejected LOGIN;
CREATE ROLE outsider LOGIN;
CREATE ROLE member LOGIN;
CREATE DATABASE desk;
CREATE DATABASE private;
REVOKE CONNECT ON DATABASE private FROM PUBLIC;
CREATE DATABASE closed ALLOW_CONNECTIONS false;
"""


@dataclass
class Cluster:
    """A PostgreSQL 15 of our own, which dies with us."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.folder / "data"

    def url(self, user: str = "app", database: str = "desk", password: str | None = None) -> str:
        """Without a driver's name; of the role *app* with its password."""
        known = PASSWORD.replace("&", "%26") if user == "app" and password is None else password
        return f"postgresql://{user}{':' + known if known else ''}@127.0.0.1:{self.port}/{database}"

    def own(self, *paths: Path) -> None:
        """Give *paths* to who runs the server."""
        if os.getuid() == 0:
            for path in paths:
                os.chown(path, NOBODY, NOBODY)

    def run(self, *command: str) -> None:
        """A program of PostgreSQL's, to its end."""
        subprocess.run(
            as_nobody([str(BIN / command[0]), *command[1:]]),
            check=True,
            capture_output=True,
            timeout=60,
        )

    def start(self, *, until: Callable[[str], bool]) -> None:
        """Start it; back when *until*, given what it logged, is content."""
        for _ in range(5):
            self.port = free_port()
            options = {
                "port": str(self.port),
                "listen_addresses": "127.0.0.1",
                "unix_socket_directories": str(self.folder),
                "fsync": "off",
                "full_page_writes": "off",
                "synchronous_commit": "off",
                "shared_buffers": "16MB",
                "max_connections": str(CONNECTIONS),
                "superuser_reserved_connections": str(RESERVED),
                "autovacuum": "off",
                "wal_retrieve_retry_interval": "10ms",
                "hba_file": str(self.folder / "hba.conf"),
                **self.settings,
            }
            words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
            command = as_nobody([str(BIN / "postgres"), "-D", str(self.data), *words])
            with (self.folder / "log").open("wb") as log:
                self.process = subprocess.Popen(
                    command, stdout=log, stderr=log, env=os.environ | self.environment
                )
            deadline = time.monotonic() + SECONDS
            while self.process.poll() is None and time.monotonic() < deadline:
                if until(self.log()):
                    return
                time.sleep(0.01)
            self.stop()  # somebody took the port
        raise RuntimeError(f"postgres does not start: {self.log()}")

    def log(self) -> str:
        """What it logged since its start."""
        return (self.folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        """At once: nothing of it is kept."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(timeout=SECONDS)
        self.process = None

    def owner(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A superuser's connection."""
        url = self.url("owner", database)
        return psycopg.connect(url, autocommit=True, sslmode="disable")

    def present(self, certificate: trustme.LeafCert) -> None:
        """Show *certificate* from now on."""
        self.put(certificate)
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)
        expected = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
        deadline = time.monotonic() + SECONDS
        while shown_by(self.port) != expected:
            assert time.monotonic() < deadline, "the certificate was not loaded"
            time.sleep(0.01)

    def put(self, certificate: trustme.LeafCert) -> None:
        """The files that it reads at its next start or reload."""
        chain, key = self.folder / "server.crt", self.folder / "server.key"
        for path, blob in (
            (key, certificate.private_key_pem.bytes()),
            (chain, b"".join(each.bytes() for each in certificate.cert_chain_pems)),
        ):
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(blob)
            self.own(path)


def as_nobody(command: list[str]) -> list[str]:
    """*command*, which refuses to run as root and is to end with us."""
    drop = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.getuid() == 0 else []
    return ["setpriv", *drop, "--pdeathsig=QUIT", *command]


def shown_by(port: int) -> bytes | None:
    """The certificate that a server shows, as DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as raw:
        raw.sendall(struct.pack("!II", 8, 80877103))
        assert raw.recv(1) == b"S"
        with context.wrap_socket(raw) as secured:
            return secured.getpeercert(binary_form=True)


def needs_postgresql_15() -> None:
    """Skip where Debian's package is missing; an error in CI, which installs it."""
    if not (BIN / "postgres").exists():
        pytest.skip("needs Debian's postgresql-15: the embedded PostgreSQL has no TLS")


@contextmanager
def room() -> Iterator[Path]:
    """A folder that the server's user owns, short enough for a socket."""
    made = Path(subprocess.check_output(["mktemp", "-d", "-p", WORLD], text=True).strip())
    try:
        made.chmod(0o755)
        if os.getuid() == 0:
            os.chown(made, NOBODY, NOBODY)
        yield made
    finally:
        shutil.rmtree(made)


@contextmanager
def base() -> Iterator[Path]:
    """A data directory that was shut down cleanly: databases, roles, no more."""
    with room() as folder:
        cluster = Cluster(folder)
        cluster.run(
            "initdb", "-D", str(cluster.data), "-U", "owner", "-A", "trust", "--no-sync",
            "-E", "UTF8", "--locale", "C.UTF-8",
        )  # fmt: skip
        yield cluster.data


@contextmanager
def cluster_of(data: Path, **settings: str) -> Iterator[Cluster]:
    """A copy of *data*, not started."""
    with room() as folder:
        cluster = Cluster(folder, settings)
        subprocess.run(["cp", "-a", str(data), str(cluster.data)], check=True)
        (folder / "hba.conf").write_text(HBA)
        cluster.own(folder / "hba.conf")
        try:
            yield cluster
        finally:
            cluster.stop()


@contextmanager
def german(data: Path) -> Iterator[Cluster]:
    """One whose messages are German: its catalogue of them is there, a locale de_DE need not be."""
    with cluster_of(data, lc_messages="C.UTF-8") as cluster:
        cluster.environment |= {"LANGUAGE": "de", "LC_ALL": "C.UTF-8"}
        cluster.start(until=ready)
        with cluster.owner() as owner:
            owner.execute(f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'".encode())
        yield cluster


@contextmanager
def primary(data: Path) -> Iterator[Cluster]:
    """With TLS, the roles and the databases."""
    with cluster_of(data) as cluster:
        cluster.settings |= {
            "ssl": "on",
            "ssl_cert_file": str(cluster.folder / "server.crt"),
            "ssl_key_file": str(cluster.folder / "server.key"),
            "ssl_ca_file": str(cluster.folder / "clients.crt"),
            "max_wal_senders": "0",
            "wal_level": "minimal",
            "log_statement": "all",
            "log_line_prefix": "%a|",
        }
        clients = cluster.folder / "clients.crt"
        CERTIFICATES.clients.cert_pem.write_to_path(str(clients))
        cluster.own(clients)
        cluster.put(CERTIFICATES.right)
        cluster.start(until=ready)
        with cluster.owner() as owner:
            for statement in SETUP.strip().split(";\n"):
                owner.execute(statement.rstrip(";").encode())
        yield cluster


@contextmanager
def standby(data: Path, *, hot: bool) -> Iterator[Cluster]:
    """Of no primary, so for ever in recovery; admits readers where *hot*, else nobody."""
    # A standby may not have fewer connections than its primary had: here initdb's.
    with cluster_of(data, hot_standby="on" if hot else "off", max_connections="100") as cluster:
        signal_file = cluster.data / "standby.signal"
        signal_file.touch()
        cluster.own(signal_file)
        mark = "ready to accept read-only connections" if hot else "consistent recovery state"
        cluster.start(until=lambda log: mark in log)
        yield cluster


@contextmanager
def streaming(data: Path) -> Iterator[tuple[Cluster, Cluster]]:
    """A primary, and the standby that streams from it."""
    with cluster_of(data) as first:
        first.start(until=ready)
        source = f"host=127.0.0.1 port={first.port} user=owner sslmode=disable"
        with cluster_of(data, max_connections="100", primary_conninfo=source) as second:
            signal_file = second.data / "standby.signal"
            signal_file.touch()
            second.own(signal_file)
            marks = ("ready to accept read-only connections", "started streaming WAL")
            second.start(until=lambda log: all(mark in log for mark in marks))
            yield first, second


@contextmanager
def starting(data: Path) -> Iterator[Cluster]:
    """One that waits for its log, and never gets it: it does not go on from starting."""
    with cluster_of(data, restore_command="sleep 600", max_connections="100") as cluster:
        signal_file = cluster.data / "recovery.signal"
        signal_file.touch()
        cluster.own(signal_file)
        cluster.start(until=lambda log: "database system was" in log)
        yield cluster


def ready(log: str) -> bool:
    """Whether it admits; it says so in English or in German."""
    return "ready to accept connections" in log or "bereit, um Verbindungen anzunehmen" in log


class Certificates:
    """Made once a run: right, of another host, expired, of an authority that nobody trusts."""

    def __init__(self) -> None:
        self.authority, self.stranger, self.clients = trustme.CA(), trustme.CA(), trustme.CA()
        names = ("localhost", "127.0.0.1")
        self.right = self.authority.issue_cert(*names)
        self.of_another_host = self.authority.issue_cert("db.elsewhere.example")
        past = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=30)
        self.expired = self.authority.issue_cert(
            *names, not_before=past - timedelta(days=30), not_after=past
        )
        self.untrusted = self.stranger.issue_cert(*names)
        soon = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=7)
        self.ends_soon = self.authority.issue_cert(*names, not_after=soon)


CERTIFICATES = Certificates()


# --- What is no PostgreSQL ------------------------------------------------------------------------


@contextmanager
def closed_port() -> Iterator[int]:
    """Bound and not listening: nobody else gets it, and nobody is let in."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextmanager
def black_hole() -> Iterator[int]:
    """Its queue is full: the next one who knocks hears nothing."""
    with ExitStack() as stack:
        hole = stack.enter_context(socket.socket())
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(hole.getsockname())
        yield hole.getsockname()[1]


@contextmanager
def stranger(
    answer: bytes, *, hangs: bool = False, heard: bytearray | None = None
) -> Iterator[int]:
    """Answers each who connects with *answer*, whatever was asked; *hangs*: says nothing.

    *heard* gets all that it was sent.
    """
    told = bytearray() if heard is None else heard
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        over = threading.Event()

        def one(client: socket.socket) -> None:
            with client:
                client.settimeout(SECONDS)
                try:
                    told.extend(client.recv(1024))
                    if hangs:
                        over.wait(SECONDS)
                    client.sendall(answer)
                    client.shutdown(socket.SHUT_WR)
                    while more := client.recv(1024):
                        told.extend(more)
                except OSError:
                    return

        def serve() -> None:
            workers = []
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    break
                if over.is_set():
                    client.close()
                    break
                workers.append(threading.Thread(target=one, args=(client,)))
                workers[-1].start()
            for worker in workers:
                worker.join()

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        try:
            yield port
        finally:
            over.set()
            with socket.socket() as last:  # ends accept()
                last.connect_ex(("127.0.0.1", port))
            thread.join()
