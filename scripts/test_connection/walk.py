"""Layer after layer to the server, by hand; the first that fails ends it."""

from __future__ import annotations

import errno
import queue
import socket
import struct
import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from .core import AUTHENTICATION, NOT_READY, UNREACHABLE, Failed, Step, failed
from .protocol import (
    ImpostorError,
    NoPassword,
    ProtocolError,
    ServerError,
    Tls,
    Unsupported,
    Wire,
    log_in,
    query,
)
from .refusals import from_server
from .settings import Settings, place
from .tls import secured

Address: TypeAlias = tuple[socket.AddressFamily, object]
APPLICATION = "test-connection"
# What taking apart the answer of somebody else's service may end in.
MALFORMED = (struct.error, ValueError, LookupError, OverflowError)


@dataclass(frozen=True)
class Login:
    """What a login by hand saw.

    *pooled*: what answered is not the backend itself; None where it did not tell.  *shared*: two
    sessions had one backend, which is what a pooler in transaction mode does.
    """

    address: str
    tls: Tls | None
    method: str
    pooled: bool | None
    shared: bool
    encoding: str


def walk(settings: Settings, timeout: float, steps: list[Step]) -> Login | None:
    """Go through the layers, noting each in *steps*; None where only a driver can go on.

    *timeout* in seconds for each wait.  Raises ``Failed``.
    """
    last = len(settings.hosts) - 1
    for number, (host, port) in enumerate(settings.hosts):
        numeric = settings.addresses[number] if settings.addresses else host
        try:
            targets = addresses(numeric, port, timeout, steps)
            here = replace(settings, hosts=((host, port),))
            return one_host(Route(here, host, port, timeout, targets), steps)
        except Failed as error:
            # As libpq and asyncpg: who refuses is believed, who is not there is passed over.
            failure = error.failure
            gone = failure.layer in {"DNS", "TCP"} or failure.slow or failure.exit_code == NOT_READY
            if number == last or not gone:
                raise
            steps.append(Step(failure.layer, f"{failure.seen}: on to the next host", "note"))
    raise AssertionError("the last host returns or raises")


def one_host(route: Route, steps: list[Step]) -> Login | None:
    """The layers of one host."""
    order = {"disable": [False], "allow": [False, True], "prefer": [True, False]}
    tries = order.get(route.settings.sslmode, [True])
    if route.host.startswith("/"):
        tries = [False]
    first: Failed | None = None
    passed: list[Step] = []
    mark = len(steps)
    for number, with_tls in enumerate(tries):
        with ExitStack() as stack:
            try:
                wire, address, tls = session(route, steps, stack, with_tls=with_tls)
                login = greeted(wire, address, tls, steps)
                if not login.pooled:
                    return login
                return replace(login, shared=shares(wire, route, stack, with_tls=with_tls))
            except Unsupported as error:
                steps.append(Step("authentication", f"{error}: left to the driver", "note"))
                return None
            except Failed as error:
                # As libpq: what TLS did not get is tried without it, and the other way round.
                failure = error.failure
                if first is not None and failure.again:  # neither way: the first says more
                    steps[mark:] = [*passed, Step(failure.layer, f"then {failure.seen}", "note")]
                    raise first from None
                in_clear = any(
                    step.layer == "TLS" and step.level == "note" for step in steps[mark:]
                )
                if number + 1 == len(tries) or not failure.again or in_clear:
                    raise
                first, passed = error, steps[mark:]
                how = "with TLS" if with_tls else "without TLS"
                steps[mark:] = [Step(failure.layer, f"{how}: {failure.seen}", "note")]
    raise AssertionError("one of the tries returns or raises")


@dataclass(frozen=True)
class Route:
    """One host, and what it takes to open a session there."""

    settings: Settings
    host: str
    port: int
    timeout: float
    targets: list[Address]


def session(
    route: Route, steps: list[Step], stack: ExitStack, *, with_tls: bool
) -> tuple[Wire, str, Tls | None]:
    """A session that *stack* closes, the address, what TLS agreed.  Raises ``Failed``."""
    raw, address = connected(route, steps)
    stack.callback(raw.close)
    carrier: socket.socket = raw
    tls: Tls | None = None
    if with_tls:
        carrier, tls = secured(raw, route.settings, route.host, steps)
        stack.callback(carrier.close)
    elif route.settings.sslmode == "disable" and not route.host.startswith("/"):
        steps.append(Step("TLS", f"not tried: {route.settings.mode}", "note"))
    wire = logged_in(carrier, route.settings, encrypted=tls is not None)
    stack.callback(wire.close)
    return wire, address, tls


def shares(wire: Wire, route: Route, stack: ExitStack, *, with_tls: bool) -> bool:
    """Whether a second session has the backend of *wire*, which is still open."""
    asks = "SELECT pg_catalog.pg_backend_pid()"
    try:
        other, *_ = session(route, [], stack, with_tls=with_tls)
        return any(query(wire, asks) == query(other, asks) for _ in range(3))
    except (Failed, ServerError, ProtocolError, OSError, *MALFORMED):
        return False  # no second one to be had: nothing is claimed


# --- DNS, TCP -------------------------------------------------------------------------------------


def addresses(host: str, port: int, timeout: float, steps: list[Step]) -> list[Address]:
    """Where *host* is.  Raises ``Failed``."""
    if host.startswith("/"):
        return [(socket.AF_UNIX, place(host, port))]
    answers: queue.Queue[object] = queue.Queue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    # A resolver that hangs cannot be told to give up; the thread ends with the program.
    threading.Thread(target=ask, daemon=True).start()
    try:
        found = answers.get(timeout=timeout)
    except queue.Empty:
        raise failed(
            "DNS",
            UNREACHABLE,
            f"no answer within {timeout:g} s for the name {host!r}",
            "the name server cannot be reached: no network, no VPN",
            commands=(f"getent hosts {host}", "cat /etc/resolv.conf"),
            passing=True,
            slow=True,
        ) from None
    if not isinstance(found, list):
        raise failed(
            "DNS",
            UNREACHABLE,
            f"the name {host!r} is not known: {found}",
            "the name is misspelt",
            "it is a name of another network: of containers (Docker), of a cluster (Kubernetes), "
            "behind a VPN",
            commands=(f"getent hosts {host}",),
            passing=True,
        )
    known: list[Address] = list(dict.fromkeys((family, where) for family, *_, where in found))
    names = ", ".join(dict.fromkeys(str(where[0]) for _, where in known))  # type: ignore[index]
    if names != host:
        steps.append(Step("DNS", f"{host} is {names}"))
    return known


def connected(route: Route, steps: list[Step]) -> tuple[socket.socket, str]:
    """A socket to the first address that answers.  Raises ``Failed`` of the last one's error."""
    host, port, timeout = route.host, route.port, route.timeout
    last: OSError | None = None
    for family, where in route.targets:
        raw = socket.socket(family, socket.SOCK_STREAM)
        raw.settimeout(timeout)
        try:
            raw.connect(where)  # type: ignore[arg-type]
        except OSError as error:
            raw.close()
            last = error
            continue
        address = str(where) if family == socket.AF_UNIX else place(str(where[0]), port)  # type: ignore[index]
        steps.append(Step("TCP", f"{address} accepts"))
        return raw, address
    assert last is not None
    raise unreachable(last, host, port, timeout)


def unreachable(error: OSError, host: str, port: int, timeout: float) -> Failed:
    """Why nobody took the connection."""
    where = place(host, port)
    if host.startswith("/"):
        folder = Path(host)
        others = sorted(path.name for path in folder.glob(".s.PGSQL.*[0-9]"))
        return failed(
            "TCP",
            UNREACHABLE,
            f"{where}: {error.strerror or error}",
            f"no server listens there; the folder has {', '.join(others) or 'no socket'}",
            "the server puts its sockets elsewhere (unix_socket_directories), or has another port",
            commands=("as a superuser: SHOW unix_socket_directories", "name the host: localhost"),
            passing=True,
        )
    if isinstance(error, TimeoutError):
        return failed(
            "TCP",
            UNREACHABLE,
            f"{where}: no answer within {timeout:g} s",
            "a firewall or a security group drops the packets",
            "the address is wrong, or belongs to a network that cannot be reached from here (VPN)",
            "the server is so busy that its queue of connections is full",
            commands=(f"nc -vz {host} {port}", "--timeout 30, for a slow network"),
            passing=True,
            slow=True,
        )
    if error.errno == errno.ECONNREFUSED:
        return failed(
            "TCP",
            UNREACHABLE,
            f"{where}: connection refused",
            "PostgreSQL is not running there",
            f"it has another port than {port}, or listens elsewhere (listen_addresses)",
            "it is in a container whose port is not published, or you are: "
            "localhost is the container itself",
            commands=(f"pg_isready -h {host} -p {port}", "ss -ltn, on that machine"),
            passing=True,
        )
    return failed(
        "TCP",
        UNREACHABLE,
        f"{where}: {error.strerror or error}",
        "there is no way from here to that address",
        commands=(f"ip route get {host}",),
        passing=True,
    )


# --- The login ------------------------------------------------------------------------------------


def logged_in(carrier: socket.socket, settings: Settings, *, encrypted: bool) -> Wire:
    """Log in.  Raises ``Failed``, ``Unsupported``."""
    try:
        parameters = {"database": settings.database, "application_name": APPLICATION}
        if settings.options:
            parameters["options"] = settings.options
        return log_in(
            carrier,
            settings.user,
            settings.password,
            parameters,
            require_auth=settings.require_auth,
            channel_binding=settings.channel_binding,
        )
    except NoPassword:
        raise failed(
            "authentication",
            AUTHENTICATION,
            f"the server asks for the password of {settings.user!r}, and none was given",
            *settings.notes,
            "the URL has none, and neither PGPASSWORD nor a line of .pgpass gives it",
            commands=("export PGPASSWORD=…", f"postgresql://{settings.user}:PASSWORD@…"),
        ) from None
    except (ServerError, ProtocolError, ImpostorError, OSError) as error:
        raise from_server(error, settings, encrypted=encrypted) from None
    except MALFORMED:
        broken = ProtocolError("a message that breaks off, or is none")
        raise from_server(broken, settings, encrypted=encrypted) from None


def greeted(wire: Wire, address: str, tls: Tls | None, steps: list[Step]) -> Login:
    """Ask one thing.  Raises ``Failed`` of the layer statement."""
    method = {"none": "without a password (trust, peer or a certificate)"}.get(
        wire.method, wire.method
    )
    steps.append(Step("authentication", f"admitted, {method}"))
    try:
        ((pid,),) = query(wire, "SELECT pg_catalog.pg_backend_pid()")
    except (ServerError, ProtocolError, OSError, *MALFORMED) as error:
        raise failed(
            "statement",
            UNREACHABLE,
            f"it admits, and fails at the first statement: {error}",
            "a pooler admits before it has a connection to the server",
            "the server goes down just now",
            passing=True,
        ) from None
    pooled = None if wire.backend_pid is None else str(wire.backend_pid) != pid
    version = wire.parameters.get("server_version", "?")
    encoding = wire.parameters.get("server_encoding", "?")
    steps.append(Step("statement", f"PostgreSQL {version} answers"))
    return Login(address, tls, wire.method, pooled, shared=False, encoding=encoding)
