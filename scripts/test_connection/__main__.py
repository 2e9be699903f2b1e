"""The command line: ``test-connection.py --help``."""

from __future__ import annotations

import argparse
import io
import math
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .hiding import hidden

if TYPE_CHECKING:
    from .core import Report, Secrets
    from .facts import Wanted

EXAMPLES = """\
examples:
  test-connection.py postgresql+psycopg://app:…@db.example:5432/desk?sslmode=verify-full
  test-connection.py env:DATABASE_URL        the URL of a variable: no password on the command line
  test-connection.py --env-file .env         DATABASE_URL, or PGHOST, PGUSER …, of a file
  test-connection.py --driver all            each driver that is installed, and where they differ
  test-connection.py --wait 60               for a start-up script: until the server is ready
  test-connection.py --profile production --processes 8 --pool-size 5 --max-overflow 5
  test-connection.py --require-extension pg_trgm --alembic alembic.ini

without a URL: DATABASE_URL, then PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSERVICE; a
password that nobody gives is looked up in ~/.pgpass.

exit codes:
  0  fine
  1  a check failed, or too many connections; with --profile production every warning
  2  wrong usage, a URL that cannot be used, a driver that is not there
  3  unreachable: DNS, TCP, a time-out, no PostgreSQL behind the port
  4  authentication: password, pg_hba.conf, role, database
  5  TLS
  6  not ready: starting, or not in the time of --wait
"""
PAUSE = 0.5


class Parser(argparse.ArgumentParser):
    """One that repeats no password."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        super().error(hidden(message))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = Parser(
        prog="test-connection.py",
        description="Say why PostgreSQL cannot be reached, or whether it is ready to be used.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("url", nargs="?", metavar="URL", help="any PostgreSQL URL, or env:NAME")
    add("--driver", choices=("psycopg", "psycopg2", "asyncpg", "all"), help="default: the URL's")
    add("--env-file", metavar="FILE", type=Path, help="variables, a line each")
    add("--timeout", metavar="S", type=positive, default=5.0, help="seconds a wait (default 5)")
    add("--wait", metavar="S", type=positive, help="try again for so many seconds")
    add(
        "--profile",
        choices=("development", "production"),
        default="development",
        help="production: warnings are failures, and time-outs that are off too",
    )
    add("--processes", metavar="N", type=whole, help="of the application (default 1)")
    add("--pool-size", metavar="N", type=whole, help="of each (default 5)")
    add("--max-overflow", metavar="N", type=whole, help="of each (default 10)")
    add("--require-extension", metavar="NAME", action="append", default=[], help="must be there")
    add("--alembic", metavar="FILE", help="alembic.ini: the database must be at its heads")
    add("--alembic-version-table", metavar="NAME", default="alembic_version")
    add("--pings", metavar="N", type=whole, default=20, help="to measure (default 20; 0: none)")
    add("--output-format", choices=("full", "concise", "json"), default="full")
    return made


def positive(value: str) -> float:
    """Seconds above 0."""
    found = float(value)
    if not 0 < found < 1_000_000:
        raise ValueError(value)
    return found


def whole(value: str) -> int:
    """A number from 0."""
    found = int(value)
    if not 0 <= found < 1_000_000:
        raise ValueError(value)
    return found


def main(arguments: list[str]) -> int:
    """Run the program.  Exit codes as in ``--help``."""
    options = parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of few characters breaks nothing
            stream.reconfigure(errors="backslashreplace")
    try:
        import sqlalchemy

        version = tuple(int(part) for part in sqlalchemy.__version__.split(".")[:2])
    except ImportError:
        version = (0, 0)
    if version < (2, 0):
        found = f"SQLAlchemy {version[0]}.{version[1]}" if version[0] else "no SQLAlchemy"
        return refuse(
            f"received an interpreter with {found}: {sys.executable}\n"
            "expected: SQLAlchemy 2.0 or 2.1\ntry: the project's own, for example "
            ".venv/bin/python test-connection.py …"
        )
    try:
        return answer(options)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 2
    except KeyboardInterrupt:
        return 130


def refuse(text: str) -> int:
    """Say what is wrong with the call; a URL may stand where a file was meant."""
    print(f"test-connection: {hidden(text)}", file=sys.stderr)
    return 2


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a file.  Raises ``ValueError`` with what to say; no value is shown."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ValueError(
            f"received --env-file {path}, which cannot be read: {reason}\n"
            "expected: a file with a line NAME=VALUE for each setting\ntry: env:NAME"
        ) from None
    found = {}
    for number, line in enumerate(lines, 1):
        stripped = line.strip().removeprefix("export ").strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, separator, value = stripped.partition("=")
        if not separator or not name.strip().isidentifier() or "\0" in value:
            raise ValueError(
                f"received --env-file {path}, whose line {number} is no setting\n"
                "expected: NAME=VALUE"
            )
        found[name.strip()] = unquoted(value.strip())
    return found


def unquoted(value: str) -> str:
    """A value without the quotes around it, or without the comment behind it."""
    quote = value[:1]
    if quote in {'"', "'"} and (end := value.find(quote, 1)) > 0:
        return value[1:end] if value[end + 1 :].strip()[:1] in {"", "#"} else value
    return re.split(r"\s#", value, maxsplit=1)[0].rstrip()


def answer(options: argparse.Namespace) -> int:
    """Look, report: the exit code."""
    from .core import Failed, Secrets
    from .drivers import versions
    from .facts import Wanted
    from .report import as_json, concise, differences, full, summary
    from .settings import LOCATING

    if options.env_file is not None:
        try:
            given = read_env_file(options.env_file)
        except ValueError as error:
            return refuse(str(error))
        if "DATABASE_URL" not in given and any(name in given for name in LOCATING):
            os.environ.pop("DATABASE_URL", None)  # the file says where, and names no URL
        os.environ.update(given)
    heads, known, target = frozenset[str](), frozenset[str](), "head"
    if options.alembic is not None:
        from .migrations import revisions_of

        try:
            heads, known, target = revisions_of(options.alembic)
        except Failed as error:
            tried = "".join(f"\ntry: {command}" for command in error.failure.commands)
            return refuse(f"{error.failure.seen}{tried}")
    wanted = Wanted(
        processes=options.processes,
        pool_size=options.pool_size,
        max_overflow=options.max_overflow,
        extensions=tuple(options.require_extension),
        alembic=options.alembic,
        heads=heads,
        known=known,
        target=target,
        alembic_table=options.alembic_version_table,
        pings=options.pings,
        production=options.profile == "production",
    )
    secrets = Secrets()
    reports = look_at_all(options, wanted, secrets)
    code = max(report.exit_code() for report in reports)
    if options.wait is not None and any(
        report.failure is not None and report.failure.passing for report in reports
    ):
        code = 6
    formats: dict[str, Callable[[], str]] = {
        "full": lambda: full(reports, versions()),
        "concise": lambda: concise(reports),
        "json": lambda: as_json(reports, versions(), code),
    }
    text = formats[options.output_format]()
    if text:
        print(text, flush=True)
    for line in differences(reports):
        print(f"test-connection: the drivers differ: {line}", file=sys.stderr)
    print(f"test-connection: {summary(reports, code)}", file=sys.stderr)
    return code


def look_at_all(options: argparse.Namespace, wanted: Wanted, secrets: Secrets) -> list[Report]:
    """A report of the driver, or of each that is installed."""
    from .api import look
    from .drivers import installed

    drivers: list[str | None] = [options.driver]
    if options.driver == "all":
        drivers = list(installed()) or [None]

    def attempt(driver: str | None, *, facts: bool, within: float = math.inf) -> Report:
        return look(
            options.url,
            driver=driver,
            timeout=min(options.timeout, max(within, PAUSE)),
            wanted=wanted,
            secrets=secrets,
            facts=facts,
        )

    if options.wait is not None:
        until_ready(options.wait, lambda left: attempt(drivers[0], facts=False, within=left))
    return [attempt(driver, facts=True) for driver in drivers]


def until_ready(seconds: float, attempt: Callable[[float], Report]) -> None:
    """Try again until it does not fail, fails for good, or the time is over."""
    end = time.monotonic() + seconds
    told = ""
    while True:
        failure = attempt(end - time.monotonic()).failure
        if failure is None or not failure.passing or time.monotonic() >= end:
            return
        if failure.seen != told:
            told = failure.seen
            print(f"test-connection: waiting: {failure.layer}: {told}", file=sys.stderr, flush=True)
        time.sleep(min(PAUSE, max(0.0, end - time.monotonic())))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
