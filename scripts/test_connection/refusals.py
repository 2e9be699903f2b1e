"""What a server's refusal means: by SQLSTATE and routine, whatever language it speaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from shlex import quote

from .core import AUTHENTICATION, CHECKS, NOT_READY, UNREACHABLE, USAGE, Failed, Failure, failed
from .protocol import ImpostorError, ProtocolError, ServerError, WebServerError
from .settings import Settings


def refusal(error: ServerError, settings: Settings, *, encrypted: bool) -> Failure:
    """The failure that *error*, met while logging in, stands for."""
    state = error.sqlstate
    if state == "28000":
        return not_admitted(error, settings, encrypted=encrypted)
    for key in (state, state[:2]):
        if key in MEANINGS:
            return MEANINGS[key](error, settings)
    return Failure("server", UNREACHABLE, f"the server refuses: {error}")


def from_server(error: Exception, settings: Settings, *, encrypted: bool) -> Failed:
    """What an error of the conversation means."""
    if isinstance(error, ServerError):
        return Failed(refusal(error, settings, encrypted=encrypted))
    if isinstance(error, ImpostorError):
        return failed(
            "authentication",
            AUTHENTICATION,
            "the server could not prove that it knows the password",
            "something in between only pretends to be the server",
        )
    if isinstance(error, TimeoutError):
        return failed(
            "server",
            UNREACHABLE,
            "something accepts connections there and does not answer",
            "the server is overloaded or stopped (SIGSTOP, a machine that swaps)",
            "a load balancer answers for a server that is gone",
            "a pooler waits for a free connection (query_wait_timeout)",
            passing=True,
            slow=True,
        )
    if isinstance(error, ProtocolError):
        web = isinstance(error, WebServerError)
        told = "it answers like a web server (HTTP)" if web else f"it sent {error}"
        return failed(
            "server",
            UNREACHABLE,
            f"what answers does not speak PostgreSQL's protocol: {told}",
            "a web server, a proxy or an administration page has that port"
            if web
            else "another service has that port: MySQL, a proxy, the pooler's own console",
            "the URL names another port than PostgreSQL's; its usual one is 5432",
            commands=(
                "on that machine: ss -ltnp tells which program has which port",
                "put the port that postgres has there into the URL",
            ),
        )
    return failed(
        "server",
        UNREACHABLE,
        f"the connection was cut while logging in: {getattr(error, 'strerror', None) or error}",
        "a proxy closes it: its own server is gone",
        "the server crashed, or restarts",
        "a port of TLS alone: libpq's sslnegotiation=direct",
        passing=True,
    )


def not_ready(error: ServerError, _: Settings) -> Failure:
    """It is there, and takes nobody yet."""
    starting = "it is starting, or replays its log after a crash"
    standby = (
        "it is a standby that takes no connections (hot_standby = off), "
        "or has not reached a consistent state"
    )
    ending = "it is shutting down, or restarts"
    causes: tuple[str, ...] = (starting, standby, ending)
    # 57P03 stands for all three, and only the words differ: believed where they are English.
    words = {
        "starting up": (starting,),
        "in recovery mode": (starting,),
        "accepting connections": (standby, starting),
        "shutting down": (ending,),
    }
    if error.sqlstate in {"57P01", "57P02"}:
        causes = (ending,)
    else:
        causes = next((words[end] for end in words if error.message.endswith(end)), causes)
    return Failure(
        "server",
        NOT_READY,
        f"the server is not ready: {error}",
        causes,
        ("test-connection.py --wait 60 …", "read the server's log"),
        passing=True,
    )


def too_many(error: ServerError, settings: Settings) -> Failure:
    """No connection is left, of the server's or of the role's."""
    return Failure(
        "connections",
        CHECKS,
        f"too many connections: {error}",
        (
            "processes x (pool_size + max_overflow) is more than max_connections",
            "a program leaks connections, or leaves transactions open",
            f"the role {settings.user} or the database {settings.database} has a CONNECTION LIMIT",
            "the last slots are kept for superusers (superuser_reserved_connections)",
        ),
        (
            "as a superuser: SELECT usename, application_name, state, count(*) "
            "FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC",
            "smaller pools, or PgBouncer in front",
        ),
        passing=True,
    )


def exhausted(error: ServerError, _: Settings) -> Failure:
    """No memory or no disk."""
    return Failure(
        "server",
        CHECKS,
        f"the server has no resources left: {error}",
        ("its disk is full", "its memory is used up"),
        ("df -h, free -h: on the server", "read the server's log"),
        passing=True,
    )


def refused_parameter(error: ServerError, settings: Settings) -> Failure:
    """What the connection brings along is not known there."""
    origin = settings.sources.get("options", "server_settings, or the driver")
    return Failure(
        "URL",
        USAGE,
        f"the server refuses a setting of the connection: {error}",
        (f"options is misspelt; it came from {origin}", "the server is too old to know it"),
        ("options=-c%20statement_timeout%3D60s, percent-encoded in a URL",),
    )


def no_database(error: ServerError, settings: Settings) -> Failure:
    """There is none of that name."""
    database = settings.database
    return denied(
        f"the database {database!r} is not there: {error}",
        f"its name is misspelt; it came from {settings.sources.get('database', '?')}",
        "it was never made on this server",
        "this is another server than you mean",
        commands=(
            f"psql {where(settings)} -U {quote(settings.user)} -l",
            f"as a role with CREATEDB: createdb {where(settings)} {quote(database)}",
        ),
    )


def where(settings: Settings) -> str:
    """The options of PostgreSQL's own programs that name the server."""
    host, port = settings.hosts[0]
    return f"-h {quote(host)} -p {port}"


def no_privilege(error: ServerError, settings: Settings) -> Failure:
    """The role lacks CONNECT."""
    user, database = settings.user, settings.database
    return denied(
        f"the role {user!r} may not connect to the database {database!r}: {error}",
        "CONNECT was revoked from PUBLIC, and the role was not granted it",
        commands=(
            f'as the owner of the database or a superuser: GRANT CONNECT ON DATABASE "{database}" '
            f'TO "{user}"',
        ),
    )


def closed_database(error: ServerError, _: Settings) -> Failure:
    """The database itself is closed."""
    return denied(
        f"the database takes no connections: {error}",
        "it is a template (datallowconn = false), or invalid after a DROP that was cut short",
    )


def refused_by_pooler(error: ServerError, settings: Settings) -> Failure:
    """PgBouncer says nearly everything by 08P01; only its words differ, and they are English."""
    if any(word in error.message for word in ("max_client_conn", "no more connections allowed")):
        return too_many(error, settings)
    if "startup parameter" in error.message:
        return replace(
            refused_parameter(error, settings),
            causes=("it is PgBouncer, which takes few settings: options, jit and the like not",),
            commands=(
                "take options or server_settings out, and write ALTER ROLE … SET … in their place",
                "ignore_startup_parameters in pgbouncer.ini",
            ),
        )
    if any(word in error.message for word in ("login", "connect failed", "query_wait_timeout")):
        return Failure(
            "server",
            UNREACHABLE,
            f"the pooler gets no connection to its server: {error}",
            (
                "the server behind the pooler is down, or [databases] names another",
                "the pooler's own password for it is wrong",
                "all of the pool's connections are taken (default_pool_size)",
            ),
            ("read the pooler's log", "test-connection.py with the server's own URL"),
            passing=True,
        )
    return denied(
        f"what answers refuses: {error}",
        f"it is a pooler that knows no database {settings.database!r} or no user {settings.user!r}",
        "it is a pooler that refuses a parameter of the connection",
        commands=("look at [databases] and auth_file of pgbouncer.ini",),
    )


def denied(seen: str, *causes: str, commands: tuple[str, ...] = ()) -> Failure:
    """A failure of the layer authentication."""
    return Failure("authentication", AUTHENTICATION, seen, causes, commands)


def wrong_password(error: ServerError, settings: Settings) -> Failure:
    """The password was refused.  PostgreSQL says the same of a role that is not there."""
    origin = settings.sources.get("password", "?")
    causes = [f"the password is wrong; it came from {origin}"]
    if settings.decoded:
        causes.append(
            "a URL's % begins a code (%40 is @), and this password has one: "
            "write %25 for a % of its own"
        )
    causes += [
        f"there is no role {settings.user!r}: PostgreSQL does not say which of the two",
        "the role has no password, or it is past its VALID UNTIL",
        "it was stored by md5, and pg_hba.conf wants scram-sha-256",
    ]
    return denied(
        f"the password of {settings.user!r} was refused: {error}",
        *causes,
        commands=(
            f"as a superuser: SELECT rolcanlogin, rolvaliduntil FROM pg_roles "
            f"WHERE rolname = '{settings.user}'",
            f'ALTER ROLE "{settings.user}" PASSWORD …',
        ),
    )


def no_role(error: ServerError, settings: Settings) -> Failure:
    """There is none of that name, or it has no LOGIN: told apart by English words alone."""
    user, origin = settings.user, settings.sources.get("user", "?")
    misspelt = f"its name is misspelt; it came from {origin}"
    no_login = "it was made by CREATE ROLE, which gives no LOGIN"
    alter, create = f'ALTER ROLE "{user}" LOGIN', f'CREATE ROLE "{user}" LOGIN PASSWORD …'
    if error.message.endswith("is not permitted to log in"):
        seen = f"the role {user!r} may not log in: {error}"
        return denied(
            seen,
            no_login,
            "it is a group, meant to have members: log in as one of them",
            commands=(f"as a role with CREATEROLE: {alter}",),
        )
    if error.message.endswith("does not exist"):
        seen = f"the role {user!r} is not there: {error}"
        return denied(
            seen,
            misspelt,
            "this is another server than you mean",
            commands=(f"as a role with CREATEROLE: {create}",),
        )
    return denied(
        f"the role {user!r} is not there, or may not log in: {error}",
        misspelt,
        no_login,
        commands=(
            f"as a superuser: SELECT rolcanlogin FROM pg_roles WHERE rolname = '{user}'",
            f"if it is there: {alter}",
            f"if it is not: {create}",
        ),
    )


def not_admitted(error: ServerError, settings: Settings, *, encrypted: bool) -> Failure:
    """No line of pg_hba.conf, or no such role; the routine says which."""
    if error.routine == "InitializeSessionUserId":
        return no_role(error, settings)
    if error.routine in {"ClientAuthentication", ""}:
        clear = "with TLS" if encrypted else "without TLS"
        causes = [
            "the line for this address, user and database is missing, or a reject stands above it",
            "the server sees another address than you think: a proxy, a container's network",
            "pg_hba.conf was changed and not reloaded",
        ]
        if encrypted:
            certificate = "the line asks for a certificate of the client's (cert, clientcert)"
            causes.insert(1, f"{certificate}: sslcert, sslkey")
        if settings.sslmode not in {"allow", "prefer"}:  # those two try both
            causes.insert(
                0,
                f"the line is for the other kind: this came {clear}, by {settings.mode} "
                "(hostssl takes TLS alone, hostnossl none)",
            )
        commands = [
            "as a superuser: SELECT * FROM pg_hba_file_rules",
            f"a line of pg_hba.conf: hostssl  {settings.database}  {settings.user}  ADDRESS/32  "
            "scram-sha-256",
            "SELECT pg_reload_conf()",
        ]
        if settings.sslmode == "disable":
            commands.insert(0, settings.with_mode("require"))
        elif settings.sslmode == "require":
            commands.insert(0, f"{settings.with_mode('prefer')}: it tries without TLS, too")
        refused = denied(
            f"pg_hba.conf has no line that admits this connection ({clear}): {error}",
            *causes,
            commands=tuple(commands),
        )
        return replace(refused, again=True)
    refused = denied(
        f"the way to log in was refused: {error}",
        f"pg_hba.conf asks for peer or ident: your user of the operating system must be called "
        f"{settings.user!r} too",
        "it asks for a certificate, LDAP or the like, which does not fit",
        commands=(
            f"by TCP and password: the host localhost; or sudo -u {settings.user} …",
            "as a superuser: SELECT * FROM pg_hba_file_rules",
        ),
    )
    return replace(refused, again=True)


# By SQLSTATE, else by its class (PostgreSQL, "PostgreSQL Error Codes").
MEANINGS: dict[str, Callable[[ServerError, Settings], Failure]] = {
    "57": not_ready,
    "53300": too_many,
    "53": exhausted,
    "22": refused_parameter,
    "42": refused_parameter,
    "0A": refused_parameter,
    "28P01": wrong_password,
    "3D000": no_database,
    "42501": no_privilege,
    "55000": closed_database,
    "08": refused_by_pooler,
}
