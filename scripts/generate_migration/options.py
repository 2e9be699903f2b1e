"""The options: what they are, and what they set."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from shlex import quote
from typing import NoReturn

from .core import FINDINGS, FINE, NOT_READY, SEVERITIES, USAGE, Refused
from .hiding import hidden

EXAMPLES = f"""\
examples:
  generate-migration.sh -m "add channel to tickets"
  generate-migration.sh -c db/alembic.ini -m "add channel" --dry-run
  generate-migration.sh --check              for CI: is a migration missing, are the new ones safe?
  generate-migration.sh --check --since base --output-format github
  generate-migration.sh -m "add channel" --set SECRET_KEY=x --database-url env:DATABASE_URL
  generate-migration.sh -m "add channel" --scratch-url postgresql://postgres:…@127.0.0.1/postgres

No database of yours is touched: whatever URL env.py names, its connections lead to a scratch
database that is dropped at the end. Without --scratch-url a PostgreSQL is started for it.

excuse one line of a revision, with the reason:
  op.drop_column("t", "c")  # generate-migration: ignore[squawk/ban-drop-column] unread since 2.3

exit codes:
  {FINE}  fine
  {FINDINGS}  findings of severity --fail-on or above, or not proved, or a migration is missing
  {USAGE}  wrong usage, or something is not there: a driver, a server, squawk
  {NOT_READY}  the Alembic project is not in a state to generate: several heads, uncommitted
     revisions, a database that is not at head, an env.py or models that fail
"""


class Parser(argparse.ArgumentParser):
    """One that repeats no password."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        super().error(hidden(message))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = Parser(
        prog="generate-migration.sh",
        description="From changed models to a migration that is safe to ship: written, repaired,\n"
        "linted, and proved on a scratch PostgreSQL.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("-m", "--message", metavar="TEXT", help="what the revision is about")
    add("-c", "--config", metavar="FILE", type=Path, help="default: alembic.ini found upward")
    add("-n", "--name", metavar="SECTION", default="alembic", help="of the file")
    add("-x", metavar="NAME=VALUE", action="append", default=[], help="for env.py, as Alembic's")
    group = made.add_argument_group("the revision, as for alembic revision")
    group.add_argument("--head", metavar="REVISION", help="to go on from")
    group.add_argument("--splice", action="store_true", help="--head need not be a head")
    group.add_argument("--branch-label", metavar="LABEL")
    group.add_argument("--version-path", metavar="DIR")
    group.add_argument("--rev-id", metavar="ID")
    group.add_argument("--allow-empty", action="store_true", help="write one that does nothing")
    group.add_argument("--allow-uncommitted", action="store_true", help="go on from such revisions")
    group = made.add_argument_group("what env.py and the models need")
    group.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], help="of the environment"
    )
    group.add_argument("--env-file", metavar="FILE", type=Path, help="the same, a line each")
    group = made.add_argument_group("databases; URL or env:NAME")
    group.add_argument("--scratch-url", metavar="URL", help="a server for databases named soe_…")
    group.add_argument(
        "--database-url", metavar="URL", help="look, read only, whether this one is at head"
    )
    group.add_argument(
        "--rows", metavar="N", type=whole, help="of each table, for the proof (default 200)"
    )
    group = made.add_argument_group("other runs")
    group.add_argument("--check", action="store_true", help="write nothing: look at what is there")
    group.add_argument(
        "--since",
        metavar="REVISION",
        help="with --check: the revisions after it, or base; default: those that are new in git",
    )
    group.add_argument("--dry-run", action="store_true", help="write nothing: print the revision")
    group.add_argument("--no-squawk", action="store_true", help="lint without it")
    group = made.add_argument_group("the report")
    formats = ("full", "concise", "json", "github")
    group.add_argument("--output-format", choices=formats, default="full")
    group.add_argument("--fail-on", choices=SEVERITIES, default="warning", help="default: warning")
    return made


def called(options: argparse.Namespace) -> str:
    """This program as it was called, with the settings that it was given; without their values
    where those may be secret.
    """
    script = Path(sys.argv[0])
    shell = script.with_suffix(".sh")
    if script.name == "generate-migration.py" and shell.is_file():
        near = os.path.relpath(shell)
        words = ["sh", str(shell) if near.startswith("..") else near]
    elif script.name.startswith("generate-migration"):
        words = [script.name]
    else:
        words = ["generate-migration.sh"]
    if options.config is not None:
        words += ["-c", str(options.config)]
    if options.name != "alembic":
        words += ["-n", options.name]
    if options.env_file is not None:
        words += ["--env-file", str(options.env_file)]
    if (options.scratch_url or "").startswith("env:"):
        words += ["--scratch-url", options.scratch_url]
    if options.no_squawk:
        words += ["--no-squawk"]
    secret = [f"--set {pair.partition('=')[0]}=…" for pair in options.set]
    secret += [f"-x {pair.partition('=')[0]}=…" for pair in options.x]
    return " ".join([*map(quote, words), *secret])


def whole(value: str) -> int:
    """A number from 1."""
    found = int(value)
    if not 1 <= found < 1_000_000:
        raise ValueError(value)
    return found


def settle(options: argparse.Namespace) -> None:
    """Refuse what does not go together.  Raises ``Refused``."""
    if options.check:
        for name in ("message", "head", "branch_label", "version_path", "rev_id"):
            if getattr(options, name) is not None:
                raise Refused(
                    f"received --check and --{name.replace('_', '-')}\n"
                    "expected: one of them; --check writes no revision\ntry: --check alone"
                )
        for name in ("splice", "allow_empty", "dry_run"):
            if getattr(options, name):
                raise Refused(
                    f"received --check and --{name.replace('_', '-')}\n"
                    "expected: one of them; --check writes no revision\ntry: --check alone"
                )
    elif options.since is not None:
        raise Refused(
            f"received --since {options.since}\nexpected: with --check\n"
            f"try: --check --since {options.since}"
        )
    elif not (options.message or "").strip():
        raise Refused(
            "received no message\nexpected: what the revision is about\n"
            'try: -m "add channel to tickets"; or --check, to look at what is there'
        )
    if "\0" in "".join(str(value) for value in vars(options).values()):
        raise Refused("received a NUL in an argument\nexpected: text\ntry: without it")


def set_environment(options: argparse.Namespace) -> None:
    """Set what env.py and the models need.  Raises ``Refused``; no value is shown."""
    if options.env_file is not None:
        os.environ.update(read_env_file(options.env_file))
    for pair in options.set:
        name, separator, value = pair.partition("=")
        if not separator or not name.isidentifier():
            # Without the sign, what is a value cannot be told: nothing of it is shown.
            received = f"--set {name[:40]!r}" if separator else "--set without ="
            raise Refused(f"received {received}\nexpected: NAME=VALUE\ntry: --set SECRET_KEY=x")
        os.environ[name] = value


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a file.  Raises ``Refused``; no value is shown."""
    try:
        rows = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Refused(
            f"received --env-file {path}, which cannot be read: {reason}\n"
            "expected: a file with a line NAME=VALUE for each setting\ntry: --set NAME=VALUE"
        ) from None
    found = {}
    for number, row in enumerate(rows, 1):
        stripped = row.strip().removeprefix("export ").strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, separator, value = stripped.partition("=")
        if not separator or not name.strip().isidentifier() or "\0" in value:
            raise Refused(
                f"received --env-file {path}, whose line {number} is no setting\n"
                "expected: NAME=VALUE\ntry: # before what is a comment"
            )
        found[name.strip()] = unquoted(value.strip())
    return found


def unquoted(value: str) -> str:
    """A value without the quotes around it, or without the comment behind it."""
    quote = value[:1]
    if quote in {'"', "'"} and (end := value.find(quote, 1)) > 0:
        return value[1:end] if value[end + 1 :].strip()[:1] in {"", "#"} else value
    return re.split(r"\s#", value, maxsplit=1)[0].rstrip()
