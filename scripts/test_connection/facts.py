"""What a server that answers is like, and whether an application should be content with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median, quantiles
from typing import Any

from sqlalchemy import Connection, text

from .core import Check
from .drivers import words
from .required import of_extensions, of_migrations
from .walk import Login

# The last day of each major version (PostgreSQL, "Versioning Policy").
LAST_DAYS = {
    13: date(2025, 11, 13),
    14: date(2026, 11, 12),
    15: date(2027, 11, 11),
    16: date(2028, 11, 9),
    17: date(2029, 11, 8),
    18: date(2030, 11, 14),
}
LOOPBACK = ("127.", "[::1]", "/")
STATEMENT_MS = 10_000
SKEW = timedelta(seconds=5)
LAG = timedelta(minutes=1)
SOON = timedelta(days=30)
# What is counted with where nobody says: one process with SQLAlchemy's own pool.
ASSUMED = {"processes": 1, "pool_size": 5, "max_overflow": 10}
IMPATIENT = f"SET LOCAL statement_timeout = {STATEMENT_MS}; SET LOCAL lock_timeout = 2000"


@dataclass(frozen=True)
class Wanted:
    """What the caller expects of the server."""

    login: Login | None = None
    processes: int | None = None  # None: not said, so assumed
    pool_size: int | None = None
    max_overflow: int | None = None
    extensions: tuple[str, ...] = ()
    alembic: str | None = None
    heads: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    target: str = "head"  # heads, where there are several
    alembic_table: str = "alembic_version"
    pings: int = 20
    production: bool = False
    today: date | None = None


def checks(connection: Connection, wanted: Wanted) -> list[Check]:
    """All that is looked at, in one transaction that can write nothing."""
    connection.execute(text("SET TRANSACTION READ ONLY"))
    server = mapping(connection, SERVER)  # it tells the time-outs that a session has
    for statement in IMPATIENT.split("; "):
        connection.execute(text(statement))
    parts: tuple[Callable[[Connection, Mapping[str, Any], Wanted], Iterator[Check]], ...] = (
        of_version,
        of_replication,
        of_text,
        of_time,
        of_transport,
        of_role,
        of_connections,
        of_time_outs,
        of_extensions,
        of_migrations,
        of_speed,
    )
    found = [check for part in parts for check in tried(part, connection, server, wanted)]
    connection.rollback()
    return [strict(check) for check in found] if wanted.production else found


def tried(
    part: Callable[[Connection, Mapping[str, Any], Wanted], Iterator[Check]],
    connection: Connection,
    server: Mapping[str, Any],
    wanted: Wanted,
) -> list[Check]:
    """The checks of *part*; what cannot be looked at is said to be so."""
    found: list[Check] = []
    try:
        with connection.begin_nested():
            found.extend(part(connection, server, wanted))
    except Exception as error:  # a connection of its own may fail as drivers fail
        if connection.invalidated:
            raise
        name = part.__name__.removeprefix("of_").replace("_", " ")
        asked = part is of_migrations or part is of_extensions
        level = "failure" if asked else "warning"
        found.append(Check(name, level, f"not proved: {words(error)}"))
    return found


def strict(check: Check) -> Check:
    """In production a warning is a failure."""
    if check.level != "warning":
        return check
    return Check(check.name, "failure", check.seen, check.fix)


def mapping(connection: Connection, sql: str) -> Mapping[str, Any]:
    """The only row of *sql* by its names."""
    return dict(connection.execute(text(sql)).one()._mapping)


SERVER = """
SELECT current_setting('server_version_num')::int AS number,
       current_setting('server_version') AS version,
       pg_is_in_recovery() AS standby,
       extract(epoch FROM now() - pg_last_xact_replay_timestamp())::float8 AS behind,
       pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AS replayed,
       EXISTS (SELECT FROM pg_stat_wal_receiver) AS receives,
       current_setting('server_encoding') AS encoding,
       current_setting('TimeZone') AS zone,
       current_setting('default_transaction_read_only') AS read_only,
       current_setting('max_connections')::int AS max_connections,
       current_setting('superuser_reserved_connections')::int AS for_superusers,
       coalesce(current_setting('reserved_connections', true), '0')::int AS reserved,
       current_setting('statement_timeout', true) AS statement_timeout,
       current_setting('lock_timeout', true) AS lock_timeout,
       current_setting('idle_in_transaction_session_timeout', true) AS idle_timeout,
       current_setting('idle_session_timeout', true) AS session_timeout
"""


def of_version(_: Connection, server: Mapping[str, Any], wanted: Wanted) -> Iterator[Check]:
    """Whether its makers still mend it."""
    major = server["number"] // 10_000
    seen = f"PostgreSQL {server['version']}"
    last = LAST_DAYS.get(major)
    today = wanted.today or datetime.now(UTC).date()
    if major < min(LAST_DAYS) or (last is not None and last < today):
        when = f" since {last}" if last else ""
        yield Check("version", "warning", f"{seen}: no fixes any more{when}", "upgrade the server")
    elif last is None:
        yield Check("version", "note", f"{seen}: newer than this program", "")
    else:
        yield Check("version", "ok", f"{seen}, has fixes until {last}")


def of_replication(_: Connection, server: Mapping[str, Any], __: Wanted) -> Iterator[Check]:
    """Primary or standby, and how far behind."""
    if not server["standby"]:
        level = "warning" if server["read_only"] == "on" else "ok"
        seen = "primary" + (", default_transaction_read_only = on" if level != "ok" else "")
        yield Check("role of server", level, seen, "" if level == "ok" else "SET it off to write")
        return
    receives = server["receives"]
    # All is replayed: the age of the last transaction is nobody's lag, while more can arrive.
    behind = 0.0 if server["replayed"] and receives else server["behind"]
    lag = "lag unknown" if behind is None else f"{behind:.1f} s behind"
    fix = "target_session_attrs=read-write, where you mean the primary"
    late = behind is not None and behind > LAG.total_seconds()
    if not receives:  # it lost its primary, or is fed from an archive
        lag = lag if behind is None else f"last replay {behind:.1f} s ago"
        lag += ", no WAL receiver"
        fix += "; its log tells why nothing streams" * late
    yield Check(
        "role of server",
        "warning" if late else "note",
        f"standby, {lag}; it refuses to write",
        fix,
    )


def of_text(connection: Connection, server: Mapping[str, Any], _: Wanted) -> Iterator[Check]:
    """Encoding, collation, and whether the indexes were built by another version of it."""
    utf8 = server["encoding"] == "UTF8"
    yield Check(
        "encoding",
        "ok" if utf8 else "warning",
        server["encoding"],
        ""
        if utf8
        else "make the database again: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
    )
    row = mapping(
        connection,
        "SELECT to_jsonb(d) AS known FROM pg_database AS d WHERE datname = current_database()",
    )["known"]
    name = row.get("datlocale") or row.get("daticulocale") or row["datcollate"]
    provider = {"i": "ICU", "b": "built in"}.get(str(row.get("datlocprovider")), "libc")
    seen = f"{name} ({provider})"
    if server["number"] < 150_000:
        yield Check("collation", "ok", seen)
        return
    actual = connection.scalar(
        text(
            "SELECT pg_database_collation_actual_version(oid) FROM pg_database "
            "WHERE datname = current_database()"
        )
    )
    made = row.get("datcollversion")
    if made == actual or None in {made, actual}:
        yield Check("collation", "ok", seen + (f", version {actual}" if actual else ""))
        return
    yield Check(
        "collation",
        "warning",
        f"{seen}: made by version {made}, now {actual}: indexes of texts may miss rows",
        "REINDEX DATABASE …; ALTER DATABASE … REFRESH COLLATION VERSION",
    )


def of_time(connection: Connection, server: Mapping[str, Any], _: Wanted) -> Iterator[Check]:
    """The time zone of the session, and the difference of the two clocks."""
    yield Check("time zone", "ok", server["zone"])
    before = datetime.now(UTC)
    there = connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())::float8"))
    after = datetime.now(UTC)
    middle = before + (after - before) / 2
    skew = timedelta(seconds=float(there or 0)) - timedelta(seconds=middle.timestamp())
    fine = abs(skew) <= SKEW + (after - before) / 2
    yield Check(
        "clock",
        "ok" if fine else "warning",
        f"the server's is {skew.total_seconds():+.3f} s from this machine's",
        "" if fine else "chronyc tracking, timedatectl: on both machines",
    )


def of_transport(connection: Connection, _: Mapping[str, Any], wanted: Wanted) -> Iterator[Check]:
    """TLS up to what answers, and whether that is a pooler."""
    login = wanted.login
    if login is None:
        return
    here = login.address.startswith(LOOPBACK)
    tls = f"{login.tls.version}, {login.tls.cipher}" if login.tls else ""
    checked = f"; {login.tls.checked}" if login.tls and login.tls.checked else ""
    if not login.pooled:  # the server sees what the driver itself made of the mode
        row = mapping(
            connection,
            "SELECT ssl, version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
        )
        tls = f"{row['version']}, {row['cipher']}" if row["ssl"] else ""
    if tls:
        yield Check("TLS", "ok", tls + checked)
        yield from of_certificate(login, wanted)
    else:
        yield Check(
            "TLS",
            "ok" if here else "warning",
            "none" + (": the connection stays on this machine" if here else ""),
            ""
            if here
            else "sslmode=verify-full and sslrootcert=…: the password's proof and all "
            "rows go in clear",
        )
    if login.pooled:
        seen = "PgBouncer or its like is in between"
        if not login.shared:
            yield Check("pooler", "note", f"{seen}; a session keeps its connection")
            return
        yield Check(
            "pooler",
            "note",
            f"{seen}, in transaction mode: the next transaction has another connection",
            "asyncpg: statement_cache_size=0 and prepared_statement_cache_size=0; psycopg: "
            "prepare_threshold=None; psycopg2: nothing. SET, LISTEN, advisory locks of a session "
            "and temporary tables do not last",
        )
    elif login.pooled is False:
        yield Check("pooler", "ok", "none")


def of_certificate(login: Login, wanted: Wanted) -> Iterator[Check]:
    """How long it lasts."""
    if login.tls is None or login.tls.expires is None:
        return
    end = datetime.strptime(login.tls.expires, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    left = end.date() - (wanted.today or datetime.now(UTC).date())
    level = "ok" if left > SOON else "warning"
    fix = "" if level == "ok" else "renew it, then SELECT pg_reload_conf()"
    yield Check("certificate", level, f"ends {login.tls.expires} UTC, in {left.days} days", fix)


ROLE = """
SELECT r.rolname, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolbypassrls, r.rolreplication,
       r.rolconnlimit,
       CASE WHEN isfinite(r.rolvaliduntil) THEN extract(epoch FROM r.rolvaliduntil - now())::float8
       END AS valid_for,
       (SELECT NOT r.rolsuper AND pg_has_role(d.datdba, 'USAGE') FROM pg_database AS d
        WHERE d.datname = current_database()) AS owns_database,
       (SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND NOT r.rolsuper AND pg_has_role(c.relowner, 'USAGE')
          AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%') AS owned,
       (SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p')
          AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%') AS tables,
       (SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND has_table_privilege(c.oid, 'SELECT')
          AND has_schema_privilege(n.oid, 'USAGE')
          AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%') AS readable,
       (SELECT string_agg(DISTINCT n.nspname, ', ' ORDER BY n.nspname)
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND n.nspname <> ALL (current_schemas(false))
          AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%') AS elsewhere,
       current_schema() AS schema,
       has_database_privilege(current_database(), 'TEMPORARY') AS temporary
FROM pg_roles AS r WHERE r.rolname = current_user
"""


def of_role(connection: Connection, _: Mapping[str, Any], __: Wanted) -> Iterator[Check]:
    """Who we are there, and what more than an application needs we may."""
    role = mapping(connection, ROLE)
    powers = {
        "rolsuper": "SUPERUSER",
        "rolcreatedb": "CREATEDB",
        "rolcreaterole": "CREATEROLE",
        "rolbypassrls": "BYPASSRLS",
        "rolreplication": "REPLICATION",
    }
    held = [word for name, word in powers.items() if role[name]]
    if role["owns_database"]:
        held.append("owner of the database")
    if role["owned"]:
        held.append(f"owner of {role['owned']} of {role['tables']} tables")
    yield Check(
        "role",
        "warning" if held else "ok",
        f"{role['rolname']}" + (f": {', '.join(held)}" if held else ": no more than it needs"),
        "let one role own and migrate, and another, which owns nothing, serve" if held else "",
    )
    blind = role["readable"] < role["tables"]
    fixes = ["GRANT USAGE ON SCHEMA …, SELECT ON … where it should read them"] if blind else []
    if role["elsewhere"]:
        fixes.append("name that schema in the models, or ALTER ROLE … SET search_path = …")
    yield Check(
        "privileges",
        "note" if blind or role["schema"] is None else "ok",
        f"may read {role['readable']} of {role['tables']} tables; "
        f"schema {role['schema'] or 'none of the search_path'}"
        + (f"; not on the search_path: {role['elsewhere']}" if role["elsewhere"] else "")
        + ("" if role["temporary"] else "; no TEMPORARY tables"),
        "; ".join(fixes),
    )
    if role["valid_for"] is not None:
        left = timedelta(seconds=role["valid_for"])
        level = "ok" if left > SOON else "warning"
        fix = "" if level == "ok" else "ALTER ROLE … VALID UNTIL …"
        yield Check("password", level, f"valid for {left.days} days", fix)


USED = """
SELECT count(*) AS used,
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS of_role,
       (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS of_database
-- Of other roles' sessions one without privileges sees little more than that they are there.
FROM pg_stat_activity
WHERE datid IS NOT NULL AND usesysid IS NOT NULL
  AND coalesce(backend_type, 'client backend') = 'client backend'
"""


def of_connections(
    connection: Connection, server: Mapping[str, Any], wanted: Wanted
) -> Iterator[Check]:
    """Whether all pools fit, and how many are free just now."""
    row = mapping(connection, USED)
    limits = {"max_connections": server["max_connections"]}
    limits |= {
        name: row[key]
        for name, key in (
            ("CONNECTION LIMIT of the role", "of_role"),
            ("of the database", "of_database"),
        )
        if row[key] >= 0
    }
    kept = server["for_superusers"] + server["reserved"]
    most = min(limits["max_connections"] - kept, *limits.values())
    given = {name: getattr(wanted, name) for name in ASSUMED}
    unsaid = {name: value for name, value in ASSUMED.items() if given[name] is None}
    processes, pool_size, max_overflow = (given | unsaid).values()
    need = processes * (pool_size + max_overflow)
    sum_of = f"{processes} x ({pool_size} + {max_overflow}) = {need}"
    guessed = ", ".join(f"{name} {value}" for name, value in unsaid.items())
    behind = (
        " (behind the pooler: its own limits count)" if wanted.login and wanted.login.pooled else ""
    )
    said = ", ".join(f"{name} {value}" for name, value in limits.items())
    fits = need <= most or bool(behind)
    yield Check(
        "connections",
        "ok" if fits else "failure",
        f"{sum_of} wanted of {most} ({said}, {kept} reserved); {row['used']} in use{behind}"
        + (f"; assumed, since not given: {guessed}" if guessed else ""),
        ""
        if fits
        else "smaller pools, fewer processes, or PgBouncer; --pool-size, "
        "--max-overflow, --processes say what you have",
    )


def of_time_outs(
    connection: Connection, server: Mapping[str, Any], wanted: Wanted
) -> Iterator[Check]:
    """What ends a statement, or a transaction that nobody goes on with."""
    names = {
        "statement_timeout": server["statement_timeout"],
        "lock_timeout": server["lock_timeout"],
        "idle_in_transaction_session_timeout": server["idle_timeout"],
    }
    endless = [name for name, value in names.items() if value in {"0", None}]
    yield Check(
        "time-outs",
        ("warning" if wanted.production else "note") if endless else "ok",
        ", ".join(f"{name} {value}" for name, value in names.items()),
        f"ALTER ROLE … SET {endless[0]} = '60s', or options=-c {endless[0]}=60s in the URL"
        if endless
        else "",
    )


def of_speed(connection: Connection, _: Mapping[str, Any], wanted: Wanted) -> Iterator[Check]:
    """Milliseconds: a round trip, a pre-ping, a connection."""
    if not wanted.pings:
        return
    ping = spent(wanted.pings, lambda: connection.exec_driver_sql("SELECT 1").scalar())
    opened = spent(3, lambda: connection.engine.raw_connection().close())
    pooled = connection.engine.raw_connection()  # a ping is for one that is in no transaction
    driver: Any = pooled.dbapi_connection
    pre = spent(wanted.pings, lambda: connection.dialect.do_ping(driver))
    pooled.close()
    yield Check(
        "latency",
        "ok",
        f"SELECT 1, {len(ping)} times: median {median(ping):.2f} ms, 95 of 100 within "
        f"{high(ping):.2f} ms",
    )
    yield Check(
        "cost",
        "ok",
        f"a connection {median(opened):.1f} ms; a pre-ping {median(pre):.2f} ms at each checkout",
    )


def spent(times: int, work: Callable[[], object]) -> list[float]:
    """Milliseconds of each run of *work*."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append((time.perf_counter() - started) * 1000)
    return found


def high(values: Sequence[float]) -> float:
    """The 95th percentile."""
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]
