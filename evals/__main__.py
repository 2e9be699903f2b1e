"""Grade what an agent left in a folder: ``python -m evals TASK WORKSPACE``."""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, inspect, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from examples.postgres import PostgresError

from .benchmark import benchmark_of
from .grading import (
    ROOT,
    EvalError,
    checks_of,
    grade,
    load_task,
    prepare,
    server_url,
    solution,
    task_ids,
)
from .workspace import hide, passwords_of

EVALS = ROOT / "evals" / "evals.json"
EPILOG = """\
examples:
  python -m evals --list                      the tasks
  python -m evals --prepare search work/      a folder with what the task begins with
  python -m evals --fill testing              what its prompt says of DATABASE_URL, made true
  python -m evals --prompt search             what to tell the agent that works there
  python -m evals search work/                grade it; writes work/grading.json
  python -m evals --naive search              grade a hasty solution: which checks does it fail?
  python -m evals report iteration-1          with and without the skill: benchmark.json

exit codes:
  0  all passed     1  some failed     2  wrong usage, older versions, or no PostgreSQL
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m evals",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    only = made.add_mutually_exclusive_group()
    only.add_argument(
        "arguments", nargs="*", default=(), metavar="TASK WORKSPACE | report ITERATION"
    )
    only.add_argument("--list", action="store_true", help="name the tasks")
    only.add_argument("--prompt", metavar="TASK", help="print what the agent is told")
    only.add_argument("--prepare", nargs=2, metavar=("TASK", "WORKSPACE"), help="copy its files")
    only.add_argument("--fill", metavar="TASK", help="make its tables and rows at DATABASE_URL")
    only.add_argument("--reference", metavar="TASK", help="grade the right solution")
    only.add_argument("--naive", metavar="TASK", help="grade the hasty solution")
    only.add_argument("--write", action="store_true", help="join the tasks into evals.json")
    return made


def joined() -> str:
    """What ``evals.json`` has to hold: the tasks, sorted by id."""
    entries = [vars(load_task(name)) for name in task_ids()]
    document = {"skill_name": "sqlalchemy-orm-expert", "evals": entries}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def show(grading: dict[str, Any]) -> int:
    """Print *grading* on stdout, a line of it on stderr; the exit code."""
    print(json.dumps(grading, indent=2, ensure_ascii=False))
    summary = grading["summary"]
    print(f"evals: {summary['passed']} of {summary['total']} passed", file=sys.stderr)
    return 1 if summary["failed"] else 0


def fill(name: str) -> None:
    """Make the tables and rows that the task *name* begins with, in the database at DATABASE_URL.

    Raises ``EvalError`` where the task begins with none, or the database is not an empty one.
    """
    task = load_task(name)
    module, _ = checks_of(name)
    if not hasattr(module, "fill"):
        raise EvalError(
            f"received the task {name!r}, whose database is empty when it begins.\n"
            "expected: a task whose prompt says that the tables are there\ntry: --fill testing"
        )
    models = runpy.run_path(str(task.folder / "files" / "models.py"))
    given = os.environ.get("DATABASE_URL", "")
    try:
        url = make_url(given).set(drivername="postgresql+psycopg")
        engine = create_engine(url, poolclass=NullPool)
        tables = inspect(engine).get_table_names()
        if not tables:
            module.fill(engine, models["Base"].metadata)
    except (SQLAlchemyError, ValueError) as error:  # make_url() on a port that is no number
        reason = hide(str(error), passwords_of(given))
        raise EvalError(
            f"received a DATABASE_URL that cannot be filled: {reason}\n"
            "expected: the URL of an empty database\n"
            "try: DATABASE_URL=postgresql://user:password@host/database"
        ) from error
    if tables:
        raise EvalError(
            f"received a database that holds tables: {', '.join(tables)}.\n"
            "expected: an empty one, for this agent alone\ntry: CREATE DATABASE, and its URL"
        )


def grade_workspace(name: str, workspace: Path) -> int:
    """Grade *workspace* and leave grading.json in it."""
    load_task(name)
    with server_url() as server:
        grading = grade(name, [workspace], server)[0]
    code = show(grading)  # first: a folder that cannot be written to must not cost the result
    target = workspace / "grading.json"
    target.write_text(json.dumps(grading, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return code


def grade_solution(name: str, kind: str) -> int:
    """Grade the solution *kind* that the repository holds."""
    with solution(load_task(name), kind) as workspace, server_url() as server:
        return show(grade(name, [workspace], server)[0])


def report(iteration: Path) -> int:
    """Write and print ``benchmark.json`` of *iteration*."""
    document = json.dumps(benchmark_of(iteration), indent=2, ensure_ascii=False)
    (iteration / "benchmark.json").write_text(document + "\n", encoding="utf-8")
    print(document)
    return 0


def dispatch(options: argparse.Namespace) -> int:
    """Do what *options* ask for.  Raises ``EvalError``."""
    if options.list:
        for name in task_ids():
            print(name)
    elif options.prompt:
        print(load_task(options.prompt).prompt)
    elif options.prepare:
        prepare(load_task(options.prepare[0]), Path(options.prepare[1]))
    elif options.fill:
        fill(options.fill)
    elif options.reference:
        return grade_solution(options.reference, "reference")
    elif options.naive:
        return grade_solution(options.naive, "naive")
    elif options.write:
        EVALS.write_text(joined(), encoding="utf-8")
    elif len(options.arguments) == 2 and options.arguments[0] == "report":
        return report(Path(options.arguments[1]))
    elif len(options.arguments) == 2:
        return grade_workspace(options.arguments[0], Path(options.arguments[1]))
    else:
        raise EvalError(
            f"received {len(options.arguments)} argument(s).\n"
            "expected: TASK WORKSPACE, or report ITERATION\n"
            "try: python -m evals --help"
        )
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run the program.  Exit codes as in ``--help``."""
    try:
        return dispatch(parser().parse_args(arguments))
    except (EvalError, PostgresError, OSError) as error:
        print(f"evals: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
