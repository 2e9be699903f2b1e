"""squawk on the SQL of one revision: which of its rules are asked, and where its lines lead.

squawk reads text: it cannot know what earlier revisions made, how a table is locked, or whether a
scan was spared.  What PostgreSQL itself showed goes first (``locking.py``); squawk speaks where
nobody could look, and of what is no matter of locks.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from .advice import REQUIRED, recipe, required, text
from .core import Finding, Refused, Statement
from .rules import unseen
from .sql import NAME, QUALIFIED, apart, bare, excerpt, is_one_of, made, parts, says, targets

DOCS = "https://squawkhq.com/docs"
SECONDS = 60  # for the SQL of one revision it needs milliseconds
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
SYNTAX = "syntax-error"

TWO_RELEASES = """In two releases: first take it out of the models and the code, and deploy that.
When no process of the old release runs, drop it, and say so on that line:
op.drop_…(…)  # generate-migration: ignore[{rule}] not read since release …"""
RENAME = """A release that runs knows the old name alone.  {keep}
Renamed all the same, every query of the release that still runs fails until it is gone. Without
that: expand and contract (references/migration-recipes.md): the new one beside the old, both
written, the old rows filled, the old one dropped."""
KEEP_COLUMN = """Keep the column's name, and rename in Python alone:
{new}: Mapped[…] = mapped_column({old})"""
KEEP_TABLE = """Keep the table's name, and rename in Python alone:
__tablename__ = {old}"""
NO_COMMIT = """Leave BEGIN and COMMIT to Alembic; what must be committed by itself goes into
with op.get_context().autocommit_block():
    op.execute("…")"""
SHORTER = "Give it a name of at most 63 bytes: PostgreSQL cuts the rest off without an error."
NAMED = "Name every table to be emptied, without CASCADE."

# What squawk says of text, and what holds for a revision as well: severity and recipe.
SHOWN: Mapping[str, tuple[str, str]] = {
    "adding-required-field": ("error", REQUIRED),
    "ban-drop-column": ("warning", TWO_RELEASES),
    "ban-drop-database": ("error", ""),
    "ban-drop-extension": ("warning", TWO_RELEASES),
    "ban-drop-schema": ("warning", TWO_RELEASES),
    "ban-drop-table": ("warning", TWO_RELEASES),
    "ban-set-schema": ("warning", RENAME),
    "ban-truncate-cascade": ("error", NAMED),
    "identifier-too-long": ("warning", SHORTER),
    "renaming-column": ("warning", RENAME),
    "renaming-object": ("warning", RENAME),
    "renaming-table": ("warning", RENAME),
    "transaction-nesting": ("warning", NO_COMMIT),
}
# Locks and scans: shown for a statement that nobody could watch; else PostgreSQL told more.
WHERE_UNSEEN = frozenset({
    "adding-field-with-default",
    "adding-foreign-key-constraint",
    "adding-not-nullable-field",
    "adding-serial-primary-key-field",
    "ban-alter-domain-with-add-constraint",
    "changing-column-type",
    "constraint-missing-not-valid",
    "disallowed-unique-constraint",
    "prefer-repack",
    "require-concurrent-index-creation",
    "require-concurrent-index-deletion",
    "require-concurrent-partition-detach",
    "require-concurrent-reindex",
})  # fmt: skip
# Off in squawk unless .squawk.toml includes them: whoever does so is told.
OPT_IN = frozenset({
    "ban-add-column",
    "ban-add-composite-attribute",
    "ban-add-enum-value",
    "ban-alter-database-options",
    "ban-alter-extension",
    "ban-alter-function-options",
    "ban-alter-generated-expression",
    "ban-alter-policy-condition",
    "ban-alter-policy-roles",
    "ban-alter-role-options",
    "ban-alter-row-level-security",
    "ban-alter-sequence-values",
    "ban-alter-system-options",
    "ban-alter-view-options",
    "ban-create-policy",
    "ban-detach-inheritance",
    "ban-disable-trigger",
    "ban-drop-index",
    "ban-drop-policy",
    "ban-drop-trigger",
    "ban-new-write-restriction",
    "ban-replace-view-function",
    "ban-replica-identity",
    "ban-revoke",
    "ban-set-default",
    "require-table-schema",
})  # fmt: skip
_MODELS = "it is about the column's type, and validate-models says it of the models"
_MADE_ANEW = "in a revision it is dropped to be made anew, in the same transaction"
LEFT_OUT: Mapping[str, str] = {
    "ban-alter-identity": "how a key or a table is swapped for another: squawk sees one half of it",
    "ban-char-field": _MODELS,
    "ban-concurrent-index-creation-in-transaction": "PostgreSQL refuses it, and "
    "concurrently-in-transaction finds it in the source",
    "ban-create-domain-with-constraint": "making it locks nothing; what alters it is asked about",
    "ban-drop-constraint": "how a CHECK is replaced: dropped and added NOT VALID in one statement",
    "ban-drop-default": "only a NOT NULL column misses it, and squawk cannot know that",
    "ban-drop-domain": _MADE_ANEW,
    "ban-drop-function": _MADE_ANEW,
    "ban-drop-generated-expression": "the column keeps its values and can be written",
    "ban-drop-not-null": "the expanding half of a change: no writer is refused",
    "ban-drop-sequence": "PostgreSQL refuses it while a column uses it",
    "ban-drop-type": "PostgreSQL refuses it while a column has it",
    "ban-drop-view": _MADE_ANEW,
    "ban-duplicate-column-assignments": "PostgreSQL refuses it",
    "ban-uncommitted-transaction": "Alembic begins and commits",
    "prefer-bigint-over-int": _MODELS,
    "prefer-bigint-over-smallint": _MODELS,
    "prefer-identity": _MODELS,
    "prefer-robust-stmts": "a transaction fails as a whole; where something is committed half-way "
    "the upgrade is broken off there and run again: upgrade-not-repeatable",
    "prefer-text-field": _MODELS,
    "prefer-timestamp-tz": _MODELS,
    "require-enum-value-ordering": "the models' order is followed when the value is added",
    "require-lock-timeout": "no-lock-timeout asks PostgreSQL what the setting is",
    "require-statement-timeout": "a long statement is watched for what it locks",
    "require-timeout-settings": "stands for the two before",
    "unused-ignore": "of squawk's own comments, which a revision has not",
}


@dataclass(frozen=True)
class Said:
    """One line of squawk's report, at a line of its input, from 0."""

    line: int
    rule: str
    message: str
    help: str


def find_squawk() -> str:
    """The program: beside this interpreter, else on the PATH.  Raises ``Refused``."""
    name = "squawk.exe" if os.name == "nt" else "squawk"
    # Not resolved: the interpreter of a virtual environment is a link out of it.
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise Refused(
            "received no squawk: neither beside this Python nor on the PATH; expected the program "
            "that lints the SQL; try: pip install squawk-cli, or --no-squawk"
        )
    try:
        result = subprocess.run(
            [found, "--version"], check=False, capture_output=True, text=True, timeout=SECONDS
        )
        said = (result.stdout or result.stderr).strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    version = re.fullmatch(r"squawk (\d+)\..*", said)
    if version is None or int(version[1]) < 2:
        raise Refused(
            f"received {found}, which says {excerpt(said, 60)!r}; expected squawk 2 or above; "
            "try: pip install --upgrade squawk-cli, or --no-squawk"
        )
    return found


def findings(
    statements: Sequence[Statement], squawk: str, *, postgres_version: str, folder: Path | None
) -> Iterator[Finding]:
    """What squawk says of the upgrade among the *statements* of one revision.

    From *folder* upwards it looks for ``.squawk.toml``, whose exclusions hold.
    Raises ``Refused`` where squawk cannot be run.
    """
    new = made(statements)
    upgrade = apart(statement for statement in statements if statement.upgrade)
    for number, block in groupby(upgrade, key=lambda statement: statement.transaction):
        rows = list(block)
        options = ["--reporter", "json", "--pg-version", version_of(postgres_version)]
        options += ["--no-assume-in-transaction" if number is None else "--assume-in-transaction"]
        for statement, said in ask(rows, [squawk, *options], folder):
            found = judged(statement, said, new)
            if found and not keeps_name(statement, upgrade):
                yield found


def version_of(postgres: str) -> str:
    """``18.1``, ``18beta1``, ``15.14 (Debian …)``: what squawk takes, ``18``."""
    match = re.match(r"\d+", postgres)
    return match[0] if match else "18"


def ask(
    statements: Sequence[Statement], command: Sequence[str], folder: Path | None
) -> Iterator[tuple[Statement, Said]]:
    """What squawk says of each statement.

    With one statement that it cannot read it says nothing of the others: they are asked again.
    """
    left = list(statements)
    while left:
        text, ends = joined(left)
        report = run(text, command, folder)
        broken = {owner(said.line, ends) for said in report if said.rule == SYNTAX}
        if not broken:
            yield from ((left[owner(said.line, ends)], said) for said in report)
            return
        for index in sorted(broken):
            first = next(each for each in report if owner(each.line, ends) == index)
            yield left[index], first
        left = [statement for index, statement in enumerate(left) if index not in broken]


def joined(statements: Iterable[Statement]) -> tuple[str, list[int]]:
    """The SQL of all, and for each the first line behind it, from 0."""
    text, ends = "", []
    for statement in statements:
        # The semicolon on a line of its own: the statement may end in a comment.
        text += statement.sql.strip().rstrip(";") + "\n;\n"
        ends.append(text.count("\n"))
    return text, ends


def owner(line: int, ends: Sequence[int]) -> int:
    """The index of the statement that *line* belongs to."""
    return next((index for index, end in enumerate(ends) if line < end), len(ends) - 1)


def run(text: str, command: Sequence[str], folder: Path | None) -> list[Said]:
    """squawk's report on *text*.  Raises ``Refused``: a linter that is silent must not look so."""
    try:
        result = subprocess.run(
            command,
            check=False,
            input=text,
            capture_output=True,
            encoding="utf-8",
            timeout=SECONDS,
            cwd=folder,
            env={**os.environ, "NO_COLOR": "1"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise refused(command, str(error)) from None
    output = plain(result.stdout)
    # A broken .squawk.toml ends it with 1 as findings do, and without a report.
    if result.returncode not in {0, 1} or not output.strip():
        raise refused(command, plain(result.stderr) or output)
    try:
        report: list[dict[str, Any]] = json.loads(output)
        return [
            Said(int(one["line"]), one["rule_name"], plain(one["message"]), plain(one.get("help")))
            for one in report
        ]
    except (ValueError, KeyError, TypeError):
        raise refused(command, output + plain(result.stderr)) from None


def plain(text: str | None) -> str:
    """*text* without colours."""
    return ANSI.sub("", text or "")


def refused(command: Sequence[str], said: str) -> Refused:
    """That squawk did not do its work."""
    return Refused(
        f"received from {command[0]}: {excerpt(said, 300)}; expected a report as JSON; try the "
        "same by hand, mend .squawk.toml, or --no-squawk"
    )


def judged(statement: Statement, said: Said, new: Sequence[tuple[str, ...]]) -> Finding | None:
    """A finding, unless the rule is left out or somebody else knows better."""
    if said.rule == SYNTAX:
        message = f"not linted: squawk cannot read this statement ({said.message})"
        fix = "Nothing was found because nothing was looked for: read the statement yourself."
        return finding(statement, replace(said, rule="not-linted", message=message), "info", fix)
    rule, named = said.rule, targets(statement.sql)
    if rule in LEFT_OUT or (named and all(is_one_of(name, new) for name in named)):
        return None
    if rule == "renaming-object" and says(statement.sql, r"^ALTER\s+INDEX\b|RENAME\s+CONSTRAINT"):
        return None  # no query names them
    if rule in WHERE_UNSEEN:
        known = not unseen(statement)
        return None if known else finding(statement, said, "warning", recipe(statement.sql))
    # What is new in squawk, or was asked for by .squawk.toml, is shown as it is.
    severity, fix = SHOWN.get(rule, ("warning", ""))
    if fix is RENAME:
        fix = RENAME.format(keep=kept(statement.sql))
    elif fix is REQUIRED:
        fix = required(statement.sql)
    return finding(statement, said, severity, fix or said.help)


def kept(sql: str) -> str:
    """How a column or a table keeps its name, in the words of the models."""
    renamed = _RENAMED.match(bare(sql))
    if renamed is None or not renamed["kind"].upper().endswith("TABLE"):
        return "Leave it its name."
    old, new = parts(renamed["old"] or renamed["table"])[-1], parts(renamed["new"])[-1]
    form = KEEP_COLUMN if renamed["old"] else KEEP_TABLE
    return form.format(new=new, old=text(old))


_RENAMED = re.compile(
    rf"(?P<kind>ALTER\s+(?:TABLE|TYPE))\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?(?P<table>{QUALIFIED})"
    r"\s+RENAME\s+"
    rf"(?:(?:COLUMN\s+)?(?P<old>(?!TO\b){NAME})\s+)?TO\s+(?P<new>{NAME})",
    re.IGNORECASE,
)


def keeps_name(statement: Statement, statements: Sequence[Statement]) -> bool:
    """Whether *statement* renames something whose name is given away again: a swap, or a view.

    Whoever asks for the old name goes on getting an answer.
    """
    renamed = _RENAMED.match(bare(statement.sql))
    if not renamed:
        return False
    old, new = parts(renamed["old"] or renamed["table"])[-1], parts(renamed["new"])[-1]
    index = statements.index(statement)
    before = [match for each in statements[:index] if (match := _RENAMED.match(bare(each.sql)))]
    if any(parts(match["old"] or match["table"])[-1] == new for match in before):
        return True  # the other half of a swap
    given = (
        r"(\bRENAME\b.*\bTO|\bADD\s+COLUMN|^CREATE\b.*?\b(VIEW|TABLE|TYPE))"
        r"(\s+IF\s+NOT\s+EXISTS)?"
        rf'\s+(?:{NAME}\s*\.\s*)?(?:{re.escape(old)}(?![\w$])|"{re.escape(old)}")'
    )
    return any(says(each.sql, given) for each in statements[index + 1 :])


def finding(statement: Statement, said: Said, severity: str, fix: str) -> Finding:
    """A finding of ``squawk/…``."""
    rule = f"squawk/{said.rule}"
    return Finding(
        rule=rule,
        severity=severity,
        message=said.message,
        why=said.help,
        fix=fix.replace("{rule}", rule),
        path=statement.path,
        line=statement.line,
        revision=statement.revision,
        statement=excerpt(statement.sql, 300),
        url=f"{DOCS}/{'syntax-error' if said.rule == 'not-linted' else said.rule}",
    )
