"""The command line: ``validate-models.py --help``."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from .hiding import hidden

if TYPE_CHECKING:
    from .api import Outcome
    from .core import Finding

EXAMPLES = """\
examples:
  validate-models.py app.models              a module or a package
  validate-models.py app.models:Base         one declarative base of it
  validate-models.py src/app/models.py       a file; its project is found
  validate-models.py --set DATABASE_URL=postgresql+psycopg://127.0.0.1/x app.models
  validate-models.py --explain quoted-sql-default
  validate-models.py --database-url env:DATABASE_URL app.models
  validate-models.py --write-baseline known.json app.models     live with what is there …
  validate-models.py --baseline known.json app.models           … and see what is new

settings: [tool.validate-models] in pyproject.toml has the names of the options;
with targets = ["app.models"] there, no argument is needed

ignore one line, with the reason:
  price: Mapped[float]  # validate-models: ignore[float-money] the bank's own API speaks floats

exit codes:
  0  nothing of severity --fail-on or above, whatever --severity shows
  1  findings
  2  wrong usage, a target that cannot be imported, or a rule that could not be proved
"""
SHOWN = 100
LEFT_OPEN: list[TextIO] = []


class Parser(argparse.ArgumentParser):
    """One that repeats no password."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        super().error(hidden(message))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = Parser(
        prog="validate-models.py",
        description="Ask the configured mappers of your models what will hurt on PostgreSQL.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("targets", nargs="*", metavar="TARGET", help="module, module:Base, file or folder")
    add(
        "--output-format",
        choices=("full", "concise", "json", "sarif", "github"),
        help="default: full",
    )
    add("--select", metavar="RULES", action="append", default=[], help="rules, families or all")
    add("--ignore", metavar="RULES", action="append", default=[], help="the same, left out")
    add("--severity", metavar="S", help="show this severity and above (default: info)")
    add(
        "--fail-on",
        metavar="S",
        help="exit 1 from this severity on, shown or not (default: warning)",
    )
    add("--exit-zero", action="store_true", help="exit 0 despite findings")
    add("--max-findings", metavar="N", type=int, help=f"show N (default {SHOWN}; JSON, SARIF: all)")
    add("--statistics", action="store_true", help="how often each rule found something")
    add("--list-rules", action="store_true", help="with --output-format json, too")
    add("--explain", metavar="RULE", help="why, how to mend it, samples")
    add(
        "--set", metavar="NAME=VALUE", action="append", default=[], help="environment of the import"
    )
    add("--env-file", metavar="FILE", type=Path, help="the same, a line each")
    add("--root", metavar="DIR", type=Path, help="the project's folder, where it is not found")
    add(
        "--asyncio",
        action=argparse.BooleanOptionalAction,
        help="whether the project uses SQLAlchemy's asyncio; by default its files tell",
    )
    add(
        "--database-url",
        metavar="URL",
        help="compare with this PostgreSQL, read only; env:NAME takes it out of the environment",
    )
    add("--baseline", metavar="FILE", type=Path, help="hide the findings that FILE knows")
    add(
        "--write-baseline",
        metavar="FILE",
        type=Path,
        help="write the findings to FILE; of a FILE that is there, remove what no longer occurs",
    )
    add("--allow-growth", action="store_true", help="--write-baseline adds new findings, too")
    either = made.add_mutually_exclusive_group()
    either.add_argument(
        "--config", metavar="FILE", type=Path, help="instead of the project's pyproject.toml"
    )
    either.add_argument("--isolated", action="store_true", help="read no pyproject.toml")
    return made


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """What the import prints, and what its children print, goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    kept_input = os.dup(0)
    streams = sys.stdin, sys.stdout, sys.stderr
    os.dup2(2, 1)
    os.dup2(nothing, 0)  # an import that asks a question gets no answer
    # Streams of its own, left open: the import may close them, its log handlers keep them.
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


def names(given: list[str]) -> list[str]:
    """``["a,b", "c"]`` as ``["a", "b", "c"]``."""
    return [name.strip() for text in given for name in text.split(",") if name.strip()]


def set_environment(options: argparse.Namespace) -> None:
    """Set what the import needs.  Raises ``TargetError``; no value is shown."""
    from .targets import TargetError

    pairs = list(options.set)
    if options.env_file:
        try:
            lines = options.env_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise TargetError(
                f"received --env-file {options.env_file}, which cannot be read: {error}\n"
                "expected: a file with a line NAME=VALUE for each setting\ntry: --set NAME=VALUE"
            ) from None
        stripped = (line.strip().removeprefix("export ") for line in lines)
        pairs = [line for line in stripped if line and not line.startswith("#")] + pairs
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name.strip().isidentifier():
            # Without the sign, what is a value cannot be told: nothing of it is shown.
            received = f"the setting {name[:40]!r}" if separator else "a setting without ="
            raise TargetError(
                f"received {received}.\nexpected: NAME=VALUE\n"
                "try: --set DATABASE_URL=postgresql+psycopg://127.0.0.1/postgres"
            )
        os.environ[name.strip()] = value.strip().strip("\"'")


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    """Collect no garbage within: again and again it would walk all that SQLAlchemy made."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@no_collector()
def main(arguments: list[str]) -> int:
    """Run the program.  Exit codes as in ``--help``."""
    options = parser().parse_args(arguments)
    try:
        import sqlalchemy

        version = tuple(int(part) for part in sqlalchemy.__version__.split(".")[:2])
    except ImportError:
        version = (0, 0)
    if version < (2, 0):
        found = f"SQLAlchemy {version[0]}.{version[1]}" if version[0] else "no SQLAlchemy"
        print(
            f"validate-models: received an interpreter with {found}: {sys.executable}\n"
            "expected: SQLAlchemy 2.0 or 2.1\ntry: the project's own, for example "
            ".venv/bin/python validate-models.py …",
            file=sys.stderr,
        )
        return 2
    from .targets import TargetError

    try:
        return answer(options)
    except TargetError as error:
        print(f"validate-models: {hidden(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 2
    except KeyboardInterrupt:
        return 130


def answer(options: argparse.Namespace) -> int:
    """Do what the options ask.  Raises ``TargetError``."""
    from .api import chosen, rank, run
    from .config import fill_defaults, settle
    from .core import all_rules
    from .report import explanation, listing
    from .targets import TargetError

    select, ignore = names(options.select), names(options.ignore)
    if options.list_rules:
        fill_defaults(options)
        listed = chosen(select or ["all"], ignore)
        print(listing(listed, options.output_format))
        return 0
    if options.explain is not None:
        known = all_rules()
        if options.explain not in known:
            chosen([options.explain], [])
            narrowed = "" if options.explain == "all" else f" --select {options.explain}"
            raise TargetError(
                f"received --explain {options.explain}.\nexpected: one rule\n"
                f"try: --list-rules{narrowed}"
            )
        print(explanation(known[options.explain]))
        return 0
    configured = not options.targets
    config = settle(options)
    select, ignore = names(options.select), names(options.ignore)
    if not options.targets:
        raise TargetError(
            "received no target.\nexpected: a module, a file or a folder with models\n"
            "try: validate-models.py app.models, or targets = [...] in pyproject.toml"
        )
    if options.root is not None and not options.root.is_dir():
        raise TargetError(
            f"received --root {options.root}.\nexpected: a folder\n"
            "try: the folder that imports start from"
        )
    if options.max_findings is not None and options.max_findings < 0:
        raise TargetError(
            f"received --max-findings {options.max_findings}.\nexpected: 0 or more\ntry: 100"
        )
    if options.statistics and options.output_format == "sarif":
        raise TargetError(
            "received --statistics and --output-format sarif, which has no place for them.\n"
            "expected: one of them\ntry: --statistics --output-format json"
        )
    lowest, failing = rank(options.severity), rank(options.fail_on)
    check_baseline(options)
    set_environment(options)
    with quiet_stdout():
        outcome = run(
            options.targets,
            select=select,
            ignore=ignore,
            asyncio=options.asyncio,
            root=options.root.resolve() if options.root else None,
            entries=config.entries if config else (),
            whole_config=configured,
            database_url=options.database_url,
        )
    return tell(options, outcome, lowest, failing)


def check_baseline(options: argparse.Namespace) -> None:
    """Read the file before the import, which may take long.  Raises ``TargetError``."""
    from .targets import TargetError

    if options.baseline is not None and options.write_baseline is not None:
        raise TargetError(
            "received --baseline and --write-baseline.\nexpected: one of them\n"
            f"try: --write-baseline {options.write_baseline}, which hides what it knows"
        )
    if options.allow_growth and options.write_baseline is None:
        raise TargetError(
            "received --allow-growth.\nexpected: with --write-baseline FILE\n"
            "try: --write-baseline FILE --allow-growth"
        )
    path = options.baseline or options.write_baseline
    if path is not None and (options.baseline or path.exists()):
        from .baseline import read

        read(path)


def unknown(
    options: argparse.Namespace, outcome: Outcome, findings: list[Finding]
) -> tuple[list[Finding], str]:
    """The findings that no baseline knows, and what there is to say of it."""
    path = options.baseline or options.write_baseline
    if path is None:
        return findings, ""
    from .baseline import named, read, told_gone, write

    said = []
    if options.write_baseline is not None:
        said.append(write(path, findings, outcome, options.targets, options.allow_growth))
        if not path.exists():
            return findings, said[0]
    known = read(path)
    gone = known.gone(outcome, named(options.targets, path)) if options.baseline else []
    said += [told_gone(path, gone)] if gone else []
    new = [item for item in findings if not known.hides(item)]
    said.append(f"{len(findings) - len(new)} findings hidden, which {path} knows")
    return new, "\n".join(said)


def tell(options: argparse.Namespace, outcome: Outcome, lowest: int, failing: int) -> int:
    """Print the report: the exit code."""
    from .core import SEVERITIES, all_rules
    from .report import coloured, render, statistics

    new, said = unknown(options, outcome, outcome.findings)
    findings = [item for item in new if SEVERITIES.index(item.severity) >= lowest]
    below = len(new) - len(findings)
    machine = options.output_format in {"json", "sarif"}
    limit = options.max_findings
    shown = limit if limit is not None else (len(findings) if machine else SHOWN)
    if options.statistics:
        text = statistics(options.output_format, findings, below, outcome.problems)
    else:
        left: dict[str, Any] = {"below": below, "problems": outcome.problems}
        text = render(options.output_format, findings, shown, all_rules(), **left)
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR") and not machine:
        text = coloured(text)
    if text:
        print(text, flush=True)
    for problem in outcome.problems:
        print(f"validate-models: {hidden(problem)}", file=sys.stderr)
    for line in outcome.notes:
        print(f"validate-models: {line}", file=sys.stderr)
    if said:
        print(f"validate-models: {hidden(said)}", file=sys.stderr)
    print(summary(findings, shown, below, outcome, options.severity), file=sys.stderr)
    if outcome.problems:
        return 2
    failed = any(SEVERITIES.index(item.severity) >= failing for item in new)
    return 1 if failed and not options.exit_zero else 0


def summary(
    findings: list[Finding], shown: int, below: int, outcome: Outcome, severity: str
) -> str:
    """The last line: what was looked at, what was found, what was not shown."""
    from .report import counts

    found = ", ".join(f"{number} {name}" for name, number in counts(findings).items())
    left = len(findings) - shown
    more = f"; {left} not shown, see --max-findings" if left > 0 else ""
    more += f"; {below} below --severity {severity} not shown" if below else ""
    number = len(outcome.problems)
    part = f"not all could be looked at ({number} problems, see above); " if number else ""
    return (
        f"validate-models: {part}{outcome.mappers} mappers, {outcome.tables} tables: "
        f"{len(findings)} findings ({found}){more}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
