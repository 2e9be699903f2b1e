"""Measure the kit's patterns beside what people do instead: ``python -m benchmarks [NAME …]``."""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg import sql

from examples.postgres import PostgresError, Server, postgres_server

from .harness import (
    BenchmarkError,
    Measurement,
    Suite,
    machine,
    measure,
    require_durable,
    versions_of,
)
from .plot import save_plot

HERE = Path(__file__).resolve().parent
# A checkpoint in the middle, or one suite's pages driving out another's, is noise.
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "1h"}
PLOTS = HERE.parent / "references" / "images"  # where the pages show them
OURS = {"__main__", "claims", "databases", "harness", "planted_faults", "plot", "side_by_side"}
EPILOG = """\
examples:
  python -m benchmarks                    every suite; writes results/ and the plots
  python -m benchmarks pagination         one
  python -m benchmarks --quick            small, twice over, nothing written: does it still run?

exit codes:
  0  measured     1  a comparison is not fair     2  wrong usage, or no PostgreSQL to be had
"""


def suites() -> list[str]:
    """The names of the suites."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in OURS)


def load(name: str) -> Suite:
    """The module of a suite."""
    return cast(Suite, importlib.import_module(f"{__package__}.{name}"))


def run_suite(name: str, server: Server, *, quick: bool, repetitions: int | None) -> dict[str, Any]:
    """Measure one suite: the document that is kept.  Raises ``BenchmarkError``."""
    suite = load(name)
    usual: int = 2 if quick else getattr(suite, "REPETITIONS", 15)
    rounds = usual if repetitions is None else repetitions
    settings = require_durable(server.url)
    size = suite.QUICK if quick else suite.FULL
    with suite.cases(server.url, size) as cases:
        measurements = measure(cases, suite.BASELINE, rounds)
    return {
        "name": name,
        "title": suite.TITLE,
        "size": size,
        "unit": getattr(suite, "UNIT", "rows"),
        "repetitions": rounds,
        "versions": versions_of(server.version, suite.PEERS),
        "machine": machine() | {"settings": settings},
        "cases": [asdict(measurement) for measurement in measurements],
    }


def show(document: dict[str, Any]) -> None:
    """Print one result for a person."""
    size = f"{document['size']:,} {document['unit']}"
    print(f"\n── {document['name']}: {document['title']} ({size})")
    for case in document["cases"]:
        found = Measurement(**case)
        statements = "" if found.statements is None else f"{found.statements:6,} statements"
        if found.peak_mib is not None:
            statements += f"{found.peak_mib:6,.0f} MiB"
        print(
            f"   {found.case:44} {found.median_s * 1000:10.3f} ms ± {found.spread:4.0%}"
            f" {found.ratio:8.3g} × {statements}"
        )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    made.add_argument("--list", action="store_true", help="list the suites")
    made.add_argument("--quick", action="store_true", help="small and short; writes nothing")
    made.add_argument(
        "--repetitions", type=int, metavar="N", help="rounds (default: 15, or the suite's)"
    )
    made.add_argument("--results", type=Path, metavar="DIR", help="default: beside the suites")
    made.add_argument("--database-url", metavar="URL", help="a durable server that runs already")
    made.add_argument("--output-format", choices=["full", "json"], default="full")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked.  Exit codes as in ``--help``."""
    options = parser().parse_args(arguments)
    known = suites()
    for name in options.names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1) or ["--list"]
            return refuse(
                f"received the suite {name!r}.\nexpected: one of {', '.join(known)}\ntry: {near[0]}"
            )
    if options.repetitions is not None and options.repetitions < 1:
        return refuse(f"received --repetitions {options.repetitions}.\nexpected: 1 or more")
    if options.list:
        print("\n".join(f"{name:20} {load(name).TITLE}" for name in known))
        return 0
    folders = (options.results, options.results)
    if not options.results and not options.quick:
        folders = (HERE / "results", PLOTS)
    documents = []
    try:
        with (
            tempfile.TemporaryDirectory(prefix="soe-benchmarks-") as data,
            durable_server(options.database_url, data) as server,
        ):
            for name in options.names or known:
                document = run_suite(
                    name, server, quick=options.quick, repetitions=options.repetitions
                )
                documents.append(document)
                if options.output_format == "full":
                    show(document)
                keep(document, *folders)
    except PostgresError as error:
        return refuse(str(error))
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.output_format == "json":
        print(json.dumps(documents, indent=2, ensure_ascii=False))
    return 0


@contextmanager
def durable_server(database_url: str | None, data: str) -> Iterator[Server]:
    """The server that was named, as it is; else one of our own, set up like one that is in use."""
    if database_url:
        with postgres_server(database_url=database_url) as server:
            yield server
        return
    Path(data).chmod(0o755)  # root's server is served by another user
    cluster = Path(data) / "cluster"
    with (
        postgres_server(provider="embedded", keep=cluster) as server,
        psycopg.connect(server.url, autocommit=True) as connection,
    ):
        for name, value in SETTINGS.items():
            change = sql.SQL("ALTER SYSTEM SET {} = {}")
            connection.execute(change.format(sql.Identifier(name), sql.Literal(value)))
    # Some of them take a restart.
    with postgres_server(provider="embedded", keep=cluster) as server:
        yield server


def keep(document: dict[str, Any], results: Path | None, plots: Path | None) -> None:
    """Write ``NAME.json`` and its plot ``benchmark-NAME.svg``, where they are wanted."""
    if results:
        results.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        (results / f"{document['name']}.json").write_text(text)
    if plots:
        save_plot(document, plots / f"benchmark-{document['name']}.svg")


def refuse(message: str) -> int:
    """Say what is wrong with what was asked."""
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
