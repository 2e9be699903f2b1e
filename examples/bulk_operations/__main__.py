"""Import tickets from a CSV or JSON Lines file.

columns: ticket_number, title, description, organization (its slug), creator (an e-mail);
if wanted: status, priority, created_at, resolved_at
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from ..database import DatabaseUrlError, create_sync_engine
from .importing import BadRowsError, Report, import_at_once, import_tickets, reason_of
from .records import ImportRefusedError, Kind

KINDS: dict[str, Kind] = {".csv": "csv", ".jsonl": "jsonl"}
EPILOG = """\
exit codes: 0 all rows are in; 1 rows were rejected; 2 usage, file or database

examples:
  python -m examples.bulk_operations import tickets.csv --database-url postgresql://…
  python -m examples.bulk_operations import tickets.jsonl --dry-run
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m examples.bulk_operations",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    load = commands.add_parser("import", help="import a file", description=__doc__, epilog=EPILOG)
    load.formatter_class = argparse.RawDescriptionHelpFormatter
    load.add_argument("file", type=Path, metavar="FILE")
    load.add_argument("--database-url", metavar="URL", help="default: DATABASE_URL")
    load.add_argument("--format", choices=["csv", "jsonl"], help="default: by the name of FILE")
    load.add_argument(
        "--rejects", type=Path, metavar="FILE", help="appended to; default: FILE.rejects.jsonl"
    )
    load.add_argument("--batch", type=int, default=5_000, metavar="ROWS", help="a transaction")
    load.add_argument("--again", action="store_true", help="also what is imported already")
    load.add_argument("--all-or-nothing", action="store_true", help="one transaction")
    load.add_argument("--dry-run", action="store_true", help="check, try, and roll back")
    load.add_argument("--output-format", choices=["full", "json"], default="full")
    return made


def bar(total: int) -> Callable[[int, int], None]:
    """A progress bar on a terminal; nothing where standard error is piped."""
    if not sys.stderr.isatty():
        return lambda rows, read: None

    def show(rows: int, read: int) -> None:
        part = min(read / total, 1.0) if total else 1.0
        filled = "#" * round(part * 30)
        print(f"\r[{filled:30}] {part:4.0%} {rows:,} rows", end="", file=sys.stderr, flush=True)

    return show


def printable(said: str) -> str:
    """*said*, with half of a surrogate pair as JSON names it: UTF-8 knows none."""
    return said.encode(errors="backslashreplace").decode()


def show(report: Report, output_format: str, rejects: Path | None) -> None:
    """Print what came of it."""
    if output_format == "json":
        print(printable(json.dumps(asdict(report), indent=2, ensure_ascii=False)))
        return
    for name in ("inserted", "updated", "unchanged"):
        print(f"{name:10} {report.outcomes.get(name, 0):>10,}")
    print(f"{'rejected':10} {report.rejected:>10,}")
    if report.skipped:
        print(f"{'skipped':10} {report.skipped:>10,}  imported by an earlier run; try --again")
    for each in report.examples:
        print(printable(f"line {each.line}: {each.reason}"))
    if rejects is not None and report.rejected:
        print(printable(f"All of them: {rejects}"))


def kind_of(options: argparse.Namespace) -> Kind:
    """How the file is read.  Raises ``ImportRefusedError`` for a usage that cannot be meant."""
    path: Path = options.file
    if not path.is_file():
        raise ImportRefusedError(f"received {path}; expected a file")
    if options.batch < 1:
        raise ImportRefusedError(f"received --batch {options.batch}; expected 1 or more")
    kind: Kind | None = options.format or KINDS.get(path.suffix.lower())
    if kind is None:
        raise ImportRefusedError(f"received {path.name}; expected .csv or .jsonl; try --format")
    return kind


def run(options: argparse.Namespace) -> int:
    """Import the file.  Raises ``ImportRefusedError``, ``DatabaseUrlError``, ``DBAPIError``."""
    path, kind = options.file, kind_of(options)
    if not (url := options.database_url or os.environ.get("DATABASE_URL")):
        raise ImportRefusedError("received no database; try --database-url, or DATABASE_URL")
    rejects = options.rejects or path.with_name(path.name + ".rejects.jsonl")
    whole = options.all_or_nothing or options.dry_run
    progress = bar(path.stat().st_size)
    engine = create_sync_engine(url)
    common: dict[str, Any] = {"kind": kind, "batch": options.batch, "progress": progress}
    try:
        if whole:
            report = import_at_once(engine, path, dry_run=options.dry_run, **common)
        else:
            report = import_tickets(engine, path, rejects=rejects, again=options.again, **common)
    except BadRowsError as error:
        show(error.report, options.output_format, None)
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        engine.dispose()
        if sys.stderr.isatty():
            print(file=sys.stderr)
    show(report, options.output_format, None if whole else rejects)
    return 1 if report.rejected else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Import the file.  Exit codes as in ``--help``."""
    try:
        return run(parser().parse_args(arguments))
    except (ImportRefusedError, DatabaseUrlError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    except DBAPIError as error:
        print(f"error: the database refused: {reason_of(error)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
