"""Where to connect, as whom, and who said so: a URL, ``PG*``, a service file, ``.pgpass``."""

from __future__ import annotations

import configparser
import getpass
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from .core import DRIVERS, USAGE, Failed, Secrets, failed
from .hiding import hidden

EXPECTED = "postgresql+psycopg://user:password@host:5432/database"
ENCODED = "@ is %40, / is %2F, : is %3A, % is %25, ? is %3F, # is %23"
MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SOCKET_FOLDERS = ("/run/postgresql", "/var/run/postgresql", "/tmp")  # noqa: S108 - libpq's own
LOCATING = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE", "PGPORT")
# What the environment gives where the URL is silent (PostgreSQL, "Environment Variables").
ENVIRONMENT = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "database": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "options": "PGOPTIONS",
    "hostaddr": "PGHOSTADDR",
    "require_auth": "PGREQUIREAUTH",
    "channel_binding": "PGCHANNELBINDING",
}
SERVICE = {"dbname": "database"}
SYSTEM_MODE = "verify-full"  # what sslrootcert=system means to libpq
IN_QUERY = {name: (name,) for name in ENVIRONMENT} | {
    "database": ("dbname", "database"),
    "sslmode": ("sslmode", "ssl"),
    "sslpassword": ("sslpassword",),
}


@dataclass(frozen=True)
class Settings:
    """What was understood, and where each part comes from."""

    url: URL
    driver: str
    hosts: tuple[tuple[str, int], ...]
    user: str
    database: str
    password: str | None
    addresses: tuple[str, ...] = ()  # hostaddr: where each host is, in numbers
    sslmode: str = "prefer"
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    sslpassword: str | None = None
    options: str | None = None
    require_auth: str = ""
    channel_binding: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    decoded: bool = False  # the URL's password had a %

    @property
    def mode_name(self) -> str:
        """What the mode of TLS is called where it was said, or would be."""
        return mode_name(self.driver, self.url.query, self.sources.get("sslmode", ""))

    @property
    def mode(self) -> str:
        """``sslmode=require``, ``ssl=require``."""
        return f"{self.mode_name}={self.sslmode}"

    def with_mode(self, mode: str) -> str:
        """How to say *mode* where the mode was said."""
        name = self.mode_name
        return f"export {name}={mode}" if name == "PGSSLMODE" else f"?{name}={mode} in the URL"

    def __str__(self) -> str:
        """``user@host:port/database``, without the password."""
        places = ",".join(place(host, port) for host, port in self.hosts)
        return f"{self.user}@{places}/{self.database}"


def mode_name(driver: str, query: Mapping[str, object], source: str) -> str:
    """What the mode of TLS is called: asyncpg has a name of its own."""
    if source == "PGSSLMODE":
        return source
    written = [name for name in IN_QUERY["sslmode"] if name in query]
    return written[0] if written else "ssl" if driver == "asyncpg" else "sslmode"


def place(host: str, port: int) -> str:
    """``host:port``; of a socket its path."""
    if host.startswith("/"):
        return f"{host}/.s.PGSQL.{port}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def given_url(argument: str | None, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """The URL and who gave it.  Raises ``Failed`` where nothing says where to connect."""
    if argument is not None:
        if argument.startswith("env:"):
            name = argument.removeprefix("env:")
            if not environ.get(name):
                shown = hidden(name)  # a URL, where its variable was meant
                raise failed(
                    "URL",
                    USAGE,
                    f"the environment variable {shown} is empty or not set",
                    commands=(f"export {shown}={EXPECTED}",),
                )
            return environ[name], name
        return argument, "the argument"
    if environ.get("DATABASE_URL"):
        return environ["DATABASE_URL"], "DATABASE_URL"
    if any(environ.get(name) for name in LOCATING):
        return None, "PG*"
    raise failed(
        "URL",
        USAGE,
        "no URL, no DATABASE_URL, none of " + ", ".join(LOCATING),
        commands=(f"test-connection.py {EXPECTED}", "test-connection.py --env-file .env"),
    )


def named(argument: str | None, environ: Mapping[str, str]) -> str:
    """What to call a target that was not understood."""
    try:
        text, source = given_url(argument, environ)
    except Failed:
        return "no URL"
    return source if text is None else f"the URL ({source})"


def resolve(
    argument: str | None, environ: Mapping[str, str], driver: str | None, secrets: Secrets
) -> Settings:
    """Understand what was given.  Raises ``Failed`` of the layer URL."""
    text, source = given_url(argument, environ)
    url = parsed(text, source, secrets) if text is not None else URL.create("postgresql")
    query = {key: one(key, value) for key, value in url.query.items()}
    secrets.add(url.password, *query.get("password", []), *query.get("sslpassword", []))
    named = url.drivername.partition("+")[2]
    chosen = driver or named or bare_driver()
    if chosen not in DRIVERS:
        raise failed(
            "URL",
            USAGE,
            f"the driver {chosen!r} is not supported ({source})",
            "this supports " + ", ".join(DRIVERS),
            commands=("--driver psycopg", "--driver asyncpg"),
        )
    found, sources = gathered(url, query, environ, source, chosen)
    secrets.add(found.get("password"))
    places = places_of(found.get("host", found.get("hostaddr", "")), found.get("port", ""))
    numeric = [each for each in found.get("hostaddr", "").split(",") if each]
    if numeric and len(numeric) != len(places):
        raise failed(
            "URL",
            USAGE,
            f"of hosts there are {len(places)}, and of addresses {len(numeric)} (hostaddr from "
            f"{sources['hostaddr']})",
            "libpq wants an address for each host, or none",
            commands=("unset PGHOSTADDR",) if sources["hostaddr"] == "PGHOSTADDR" else (),
        )
    # To an address libpq goes by TCP, though the host is the path of a socket.
    if numeric:
        places = [
            (address if host.startswith("/") else host, port)
            for (host, port), address in zip(places, numeric, strict=True)
        ]
    secrets.show(found["user"], found["database"], *(host for host, _ in places))
    notes: list[str] = []
    if "password" not in found:
        password, origin = passfile(environ, places, found["user"], found["database"], query)
        if password is not None:
            secrets.add(password)
            found["password"], sources["password"] = password, origin
        elif origin:
            notes.append(origin)
    mode = found["sslmode"]
    if mode not in MODES:
        raise no_mode(mode_name(chosen, url.query, sources["sslmode"]), mode, chosen)
    return Settings(
        url=url.set(drivername=f"postgresql+{chosen}"),
        driver=chosen,
        hosts=tuple(places),
        addresses=tuple(numeric),
        user=found["user"],
        database=found["database"],
        password=found.get("password"),
        sslmode=mode,
        sslrootcert=found.get("sslrootcert"),
        sslcert=found.get("sslcert"),
        sslkey=found.get("sslkey"),
        sslpassword=found.get("sslpassword"),
        options=found.get("options"),
        require_auth=found.get("require_auth", ""),
        channel_binding=found.get("channel_binding", ""),
        sources=sources,
        notes=tuple(notes),
        decoded=sources.get("password") == source and has_escape(text or ""),
    )


def has_escape(text: str) -> bool:
    """Whether the password in the URL *text* has a %, which is decoded."""
    authority = text.partition("://")[2].partition("@")[0]
    return bool(re.search(r"[?&]password=[^&]*%", text)) or "%" in authority.partition(":")[2]


def no_mode(name: str, mode: str, driver: str) -> Failed:
    """A mode of TLS that there is not: ``ssl=true``, as other programs have it."""
    meant = "disable" if mode.lower() in {"false", "0", "off", "no"} else "require"
    right = "ssl" if driver == "asyncpg" else "sslmode"
    return failed(
        "URL",
        USAGE,
        f"{name}={mode!r} is no mode of TLS",
        f"the modes are {', '.join(MODES)}",
        commands=(f"export {name}={meant}" if name == "PGSSLMODE" else f"?{right}={meant}",),
    )


def gathered(
    url: URL, query: Mapping[str, list[str]], environ: Mapping[str, str], source: str, driver: str
) -> tuple[dict[str, str], dict[str, str]]:
    """The parts, and where each comes from: the URL, the service, the environment, the usual."""
    found: dict[str, str] = {}
    sources: dict[str, str] = {}

    def take(name: str, value: str | None, origin: str) -> None:
        if value and name not in found:
            found[name], sources[name] = value, origin

    # A parameter wins over the part before it: so SQLAlchemy hands them to the driver.
    for name, spelt in IN_QUERY.items():
        for key in spelt:
            take(name, ",".join(query.get(key, [])), source)
    password = None if url.password is None else str(url.password)
    port = str(url.port) if url.port else None
    parts = (url.host, port, url.username, password, url.database)
    for name, value in zip(("host", "port", "user", "password", "database"), parts, strict=True):
        take(name, value, source)
    service = (query.get("service") or [environ.get("PGSERVICE", "")])[0]
    if service:
        for key, value in service_of(service, environ).items():
            take(SERVICE.get(key, key), value, f"the service {service}")
    for name, variable in ENVIRONMENT.items():
        # To libpq it is the address of the host that the URL names, too; asyncpg does not know it.
        if not (name == "hostaddr" and driver == "asyncpg"):
            take(name, environ.get(variable), variable)
    take("user", me(), "the operating system's user")
    if "user" not in found:
        raise failed(
            "URL",
            USAGE,
            "nothing says which role to log in as, and this process has no user name",
            commands=(f"write {EXPECTED}", "export PGUSER=…"),
        )
    take("database", found["user"], "the user's name")
    take(
        "sslmode", SYSTEM_MODE if found.get("sslrootcert") == "system" else "prefer", "the default"
    )
    return found, sources


def me() -> str | None:
    """The operating system's user; None in a container that gives a number alone."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def home(name: str) -> Path | None:
    """A file of the home directory, where there is one."""
    try:
        return Path.home() / name
    except RuntimeError:
        return None


def bare_driver() -> str:
    """What ``postgresql://`` means to the SQLAlchemy that is installed."""
    return "psycopg" if version() >= (2, 1) else "psycopg2"


def version() -> tuple[int, ...]:
    """SQLAlchemy's, for example ``(2, 1)``."""
    return tuple(int(part) for part in sqlalchemy.__version__.split(".")[:2])


def parsed(text: str, source: str, secrets: Secrets) -> URL:
    """*text* as a URL.  Raises ``Failed``; of the text no part is shown that may be a password."""
    head, _, _ = text.rpartition("@")
    _, _, authority = head.partition("://")
    # An @ that is not written %40 ends the password too early: hide it up to the last, and to each.
    secrets.add(text, authority.partition(":")[2], authority.partition("@")[0].partition(":")[2])
    given = text.strip()
    if given[:1] in {'"', "'"} or given != text:
        raise wrong(source, "it has quotes or blanks around it", "take them out of the value")
    scheme, separator, rest = given.partition("://")
    if scheme.startswith("jdbc:"):
        raise wrong(source, "it begins with jdbc:", f"write {EXPECTED}")
    if not separator:
        dsn = re.match(r"^\s*\w+\s*=", given)
        raise wrong(
            source,
            "it is libpq's form, name=value" if dsn else "it has no ://",
            f"write {EXPECTED}; or set PGHOST, PGUSER … and give no URL" if dsn else EXPECTED,
        )
    if scheme.partition("+")[0] == "postgres":
        raise wrong(
            source,
            "SQLAlchemy knows no dialect postgres://",
            "write postgresql:// for postgres://",
            "some platforms hand out that short form",
        )
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        authority = rest.partition("/")[0].rpartition("@")[2]
        if "," in authority:
            raise wrong(
                source,
                "it names several hosts as libpq does",
                "SQLAlchemy wants postgresql+psycopg://user@/database?host=one:5432&host=two:5432",
            ) from None
        raise wrong(
            source,
            "the port is no number, or the parts cannot be told apart",
            f"percent-encode the password: {ENCODED}",
        ) from None
    if url.get_backend_name() != "postgresql":
        raise wrong(source, f"it is a URL of {url.get_backend_name()!r}", f"write {EXPECTED}")
    tail = rest.partition("@")[2]
    odd = [part for part in tail.partition("?")[2].split("&") if "=" not in part]
    if "@" in (url.host or "") + (url.database or "") + "".join(odd):
        raise wrong(
            source,
            "an @ in the password was not percent-encoded (%40): part of the password is read as "
            "the host",
            f"percent-encode the password: {ENCODED}",
        )
    if url.port is not None and not 0 < url.port < 65536:
        raise wrong(
            source, f"the port {url.port} is too large", "a port from 1 to 65535; usual is 5432"
        )
    return url


def wrong(source: str, seen: str, fix: str, *causes: str) -> Failed:
    """A URL that cannot be used."""
    seen = f"the URL ({source}) cannot be used: {seen}"
    return failed("URL", USAGE, seen, *causes, commands=(fix,))


def one(key: str, value: str | tuple[str, ...]) -> list[str]:
    """The values of a parameter; only hosts and ports may come several times."""
    values = [value] if isinstance(value, str) else list(value)
    if len(values) > 1 and key not in {"host", "port"}:
        raise failed("URL", USAGE, f"the parameter {key} comes {len(values)} times; expected once")
    return values


def places_of(hosts: str, ports: str) -> list[tuple[str, int]]:
    """The hosts with their ports.  Raises ``Failed`` for a port that is none."""
    names = [name for name in hosts.split(",") if name] or default_hosts()
    numbers = [number for number in ports.split(",") if number]
    found = []
    for at, written in enumerate(names):
        name, number = written, numbers[min(at, len(numbers) - 1)] if numbers else "5432"
        if not name.startswith("/") and name.count(":") == 1:
            name, _, number = name.partition(":")
        if not number.isdecimal() or not 0 < int(number) < 65536:
            raise failed("URL", USAGE, f"the port {number!r} is no number from 1 to 65535")
        found.append((name, int(number)))
    return found


def default_hosts() -> list[str]:
    """Where libpq looks when nobody names a host: the first socket's folder, or this machine."""
    for folder in SOCKET_FOLDERS:
        if any(Path(folder).glob(".s.PGSQL.*")):
            return [folder]
    return ["localhost"]


def service_of(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What the service file says of *name*.  Raises ``Failed``."""
    files = [environ.get("PGSERVICEFILE") or str(home(".pg_service.conf") or "")]
    if environ.get("PGSYSCONFDIR"):
        files.append(f"{environ['PGSYSCONFDIR']}/pg_service.conf")
    for path in filter(None, files):
        parser = configparser.ConfigParser(
            interpolation=None, delimiters=("=",), comment_prefixes=("#",), strict=False
        )
        try:
            with Path(path).open(encoding="utf-8-sig") as file:
                parser.read_file(file)
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, configparser.Error):
            raise failed("URL", USAGE, f"the service file {path} cannot be read") from None
        if parser.has_section(name):
            return dict(parser[name])
    raise failed(
        "URL",
        USAGE,
        f"the service {name!r} is in none of {', '.join(files)}",
        "the name is misspelt, or PGSERVICEFILE points elsewhere",
    )


def passfile(
    environ: Mapping[str, str],
    places: list[tuple[str, int]],
    user: str,
    database: str,
    query: Mapping[str, list[str]],
) -> tuple[str | None, str]:
    """The password of the first line that fits and the file; without one, what to say of that."""
    named = (query.get("passfile") or [environ.get("PGPASSFILE", "")])[0]
    path = Path(named) if named else home(".pgpass")
    if path is None:
        return None, ""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:
        return None, f"the password file {path} cannot be read" if named else ""
    if mode & 0o077 and os.name == "posix":
        return None, f"{path} is passed over: others may read it; chmod 600 {path}"
    for host, port in places:
        for known in [host, "localhost"] if host in SOCKET_FOLDERS else [host]:
            for line in lines:
                wanted = (known, str(port), database, user)
                if (password := password_in(line.rstrip("\r"), wanted)) is not None:
                    return password, f"the password file {path}"
    return None, f"no line of {path} is for {user}, {database} and this host and port"


def password_in(line: str, wanted: Sequence[str]) -> str | None:
    r"""The password of *line*, if it is for *wanted*; ``\:`` and ``\\`` stand for themselves."""
    if line.startswith("#"):
        return None
    parts = [""]
    for escaped, plain in re.findall(r"\\(.)|(.)", line):
        if plain == ":":
            parts.append("")
        else:
            parts[-1] += escaped or plain
    fits = len(parts) >= 5 and all(
        part in {"*", value} for part, value in zip(parts, wanted, strict=False)
    )
    return parts[4] if fits else None
