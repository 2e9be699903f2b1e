"""The command line: ``generate-migration.sh --help``."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

LEFT_OPEN: list[TextIO] = []


def main(arguments: list[str]) -> int:
    """Run the program.  Exit codes as in ``--help``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of few characters breaks nothing
            stream.reconfigure(errors="backslashreplace")
    problem = missing()
    if problem:
        return refuse(problem, 2)
    from .core import Refused
    from .options import parser

    options = parser().parse_args(arguments)
    try:
        return answer(options)
    except Refused as error:
        return refuse(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 2
    except SystemExit as ended:
        return refuse(
            f"received a revision, or an env.py, that ends the program: SystemExit: {ended}\n"
            "expected: an error that is raised\ntry: raise RuntimeError(…)",
            3,
        )
    except KeyboardInterrupt:
        return 130


def missing() -> str:
    """What this interpreter has not, and how to get it; "" where all is there."""
    found, wanted = "", "SQLAlchemy 2.0 or 2.1 and Alembic 1.18.5 or above"
    try:
        import sqlalchemy

        if numbers(sqlalchemy.__version__) < (2, 0):
            found = f"SQLAlchemy {sqlalchemy.__version__}"
    except ImportError:
        found = "no SQLAlchemy"
    if not found:
        try:
            import alembic

            if numbers(alembic.__version__) < (1, 18, 5):
                found = f"Alembic {alembic.__version__}"
        except ImportError:
            found = "no Alembic"
    if not found:
        return ""
    return (
        f"received an interpreter with {found}: {sys.executable}\nexpected: {wanted}\n"
        "try: the project's own: PYTHON=.venv/bin/python generate-migration.sh …"
    )


def numbers(version: str) -> tuple[int, ...]:
    """``(2, 1, 9)`` of ``2.1.9``; ``(2, 2)`` of ``2.2.0b1``, which comes before all of 2.2."""
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def refuse(text: str, exit_code: int) -> int:
    """Say why the run ended, without passwords."""
    from .hiding import hidden

    print(f"generate-migration: {hidden(text)}", file=sys.stderr)
    return exit_code


def answer(options: argparse.Namespace) -> int:
    """Do what the options ask: the exit code.  Raises ``Refused``."""
    from .judge import run
    from .options import set_environment, settle
    from .report import render, summary

    settle(options)
    with own_environment(), quiet_stdout(), ended_by_signals():
        set_environment(options)
        outcome = run(options, Path.cwd())
    exit_code = outcome.exit_code(options.fail_on)
    text = render(outcome, options.output_format, exit_code)
    if text:
        print(text, flush=True)
    print(f"generate-migration: {summary(outcome, exit_code)}", file=sys.stderr)
    return exit_code


@contextlib.contextmanager
def own_environment() -> Iterator[None]:
    """Within: what is set for env.py, and no bytecode beside the user's revisions."""
    saved, wrote = dict(os.environ), sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = wrote
        os.environ.clear()
        os.environ.update(saved)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within: SIGTERM ends the program as Ctrl-C does, so that no database is left behind."""

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread: somebody else's program
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """What env.py prints, and what its children print, goes to standard error; nobody is asked."""
    sys.stdout.flush()
    kept, kept_input = os.dup(1), os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    streams = sys.stdin, sys.stdout, sys.stderr
    os.dup2(2, 1)
    os.dup2(nothing, 0)
    # Streams of its own, left open: env.py may close them, its log handlers keep them.
    sys.stdout = open(os.dup(2), "w", buffering=1, errors="replace")  # noqa: PTH123, SIM115
    sys.stderr = open(os.dup(2), "w", buffering=1, errors="replace")  # noqa: PTH123, SIM115
    LEFT_OPEN.extend([sys.stdout, sys.stderr])
    try:
        yield
    finally:
        for stream in LEFT_OPEN:
            with contextlib.suppress(ValueError, OSError):
                stream.flush()
        sys.stdin, sys.stdout, sys.stderr = streams
        os.dup2(kept, 1)
        os.dup2(kept_input, 0)
        for descriptor in (kept, nothing, kept_input):
            os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
