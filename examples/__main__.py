"""Run the demos: ``python -m examples [NAME …]``, each on a fresh database of its own."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import io
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Engine

from .database import create_sync_engine
from .models import Base
from .postgres import PostgresError, Server, postgres_server, temporary_database
from .testing_patterns.statements import recorded_statements

HERE = Path(__file__).resolve().parent
EPILOG = """\
examples:
  python -m examples                     every demo
  python -m examples sessions --sql      one, with the statements that it ran
  python -m examples --output-format json

exit codes:
  0  every demo ran     1  one failed     2  wrong usage, or no PostgreSQL to be had
"""


@dataclass(frozen=True)
class Outcome:
    """What one demo did: its story, its statements, seconds, and the error that ended it."""

    name: str
    heading: str
    story: str
    statements: list[str]
    seconds: float
    error: str | None


def demo_modules() -> dict[str, str]:
    """Demo name → module: every file here, or ``demo.py`` of a folder, that defines ``demo()``."""
    found: dict[str, str] = {}
    for path in sorted([*HERE.glob("*.py"), *HERE.glob("*/demo.py")]):
        if path.stem.startswith("_") or "\ndef demo(" not in path.read_text():
            continue
        package = path.parent.name if path.stem == "demo" else path.stem
        module = f"{package}.demo" if path.stem == "demo" else path.stem
        found[package] = f"{__package__}.{module}"
    return found


def heading_of(module: str) -> str:
    """The first line of the module's docstring."""
    doc = importlib.import_module(module).__doc__
    return (doc or module).strip().splitlines()[0]


def run_demo(name: str, module: str, server: Server) -> Outcome:
    """Run one demo; a failure is part of the outcome, never an exception."""
    demo: Callable[[Engine], None] = importlib.import_module(module).demo
    story, error = io.StringIO(), None
    statements: list[str] = []
    started = time.perf_counter()
    try:
        with (
            fresh_engine(server) as engine,
            recorded_statements(engine) as statements,
            contextlib.redirect_stdout(story),
        ):
            demo(engine)
    except Exception as problem:
        # The last frame of ours is where a reader starts to look.
        frame = traceback.extract_tb(problem.__traceback__)[-1]
        error = f"{type(problem).__name__}: {problem} ({Path(frame.filename).name}:{frame.lineno})"
    seconds = time.perf_counter() - started
    return Outcome(name, heading_of(module), story.getvalue(), statements, seconds, error)


@contextlib.contextmanager
def fresh_engine(server: Server) -> Iterator[Engine]:
    """An engine on a new database with the desk's schema."""
    with temporary_database(server.url) as url:
        engine = create_sync_engine(url)
        try:
            Base.metadata.create_all(engine)
            yield engine
        finally:
            engine.dispose()


def show(outcome: Outcome, *, sql: bool) -> None:
    """Print one outcome for a person."""
    print(f"\n── {outcome.name}: {outcome.heading}")
    for line in outcome.story.splitlines():
        print(f"   {line}")
    if sql:
        for number, statement in enumerate(outcome.statements, 1):
            print(f"   {number:3}. {statement}")
    if outcome.error:
        print(f"   FAILED: {outcome.error}")
    print(f"   {len(outcome.statements)} statements, {outcome.seconds:.2f} s")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m examples",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    made.add_argument("--list", action="store_true", help="list the demos")
    made.add_argument("--sql", action="store_true", help="show the statements")
    made.add_argument("--database-url", metavar="URL", help="a server that runs already")
    made.add_argument("--provider", choices=["auto", "url", "container", "embedded"])
    made.add_argument("--output-format", choices=["full", "json"], default="full")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked.  Exit codes as in ``--help``."""
    options = parser().parse_args(arguments)
    demos = demo_modules()
    for name in options.names:
        if name not in demos:
            near = difflib.get_close_matches(name, demos, 1) or ["--list"]
            print(
                f"error: received the demo {name!r}.\nexpected: one of {', '.join(demos)}\n"
                f"try: {near[0]}",
                file=sys.stderr,
            )
            return 2
    chosen = {name: demos[name] for name in options.names or demos}
    if options.list:
        listing = {name: heading_of(module) for name, module in chosen.items()}
        if options.output_format == "json":
            print(json.dumps(listing, indent=2, ensure_ascii=False))
        else:
            print("\n".join(f"{name:20} {heading}" for name, heading in listing.items()))
        return 0
    try:
        with postgres_server(
            provider=options.provider, database_url=options.database_url
        ) as server:
            outcomes = run_all(chosen, server, options)
    except PostgresError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if any(outcome.error for outcome in outcomes) else 0


def run_all(chosen: dict[str, str], server: Server, options: argparse.Namespace) -> list[Outcome]:
    """Run every chosen demo, printing as it goes, and sum up."""
    as_json = options.output_format == "json"
    if not as_json:
        print(f"postgresql: provider {server.provider}, version {server.version}")
    outcomes = []
    for name, module in chosen.items():
        outcomes.append(run_demo(name, module, server))
        if not as_json:
            show(outcomes[-1], sql=options.sql)
    failed = [outcome.name for outcome in outcomes if outcome.error]
    if as_json:
        facts = {"provider": server.provider, "version": server.version}
        report = facts | {"demos": [asdict(outcome) for outcome in outcomes]}
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        summary = f"{len(outcomes)} demos, {len(outcomes) - len(failed)} ran"
        print(f"\n{summary}" + (f", failed: {', '.join(failed)}" if failed else ", none failed"))
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
