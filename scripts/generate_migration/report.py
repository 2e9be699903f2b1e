"""The report: for people, line by line, as JSON, as annotations of GitHub."""

from __future__ import annotations

import json
import os
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Any

from .core import FINE, SEVERITIES, Finding, Proof, Statement
from .judge import MISSING, Judged, Outcome

WIDTH = 100
LINES = 30  # of one statement
STATEMENTS = 60  # of one revision
SEEN = 8  # lines of one step
FORMATS = ("full", "concise", "json", "github")


def render(outcome: Outcome, output_format: str, exit_code: int) -> str:
    """*outcome* in that format."""
    if output_format == "json":
        return as_json(outcome, exit_code)
    if output_format == "github":
        return "\n".join(workflow_commands(outcome))
    if output_format == "concise":
        return "\n".join(concise(outcome))
    return "\n".join(full(outcome, exit_code))


def place(path: Path | None, line: int | None = None) -> str:
    """``versions/x.py:12``, from the working folder where it lies below that."""
    if path is None:
        return ""
    shown = os.path.relpath(path)
    shown = str(path) if shown.startswith("..") else shown
    return f"{shown}:{line}" if line else shown


# --- For people -----------------------------------------------------------------------------------


def full(outcome: Outcome, exit_code: int) -> Iterator[str]:
    """What was written, the SQL that it runs, what was found and proved, what to do."""
    for each in outcome.revisions:
        yield from revision(outcome.mode, each)
    for finding in outcome.missing:
        yield from one(finding)
    for note in outcome.notes:
        yield f"note: {note}"
    told = list(to_do(outcome, exit_code))
    if told:
        yield "what to do"
        yield from (f"  {number}. {words}" for number, words in enumerate(told, 1))


def revision(mode: str, judged: Judged) -> Iterator[str]:
    """One revision."""
    yield f"{verb(mode)}{place(judged.path)} ({judged.revision})"
    if judged.source is not None:
        yield ""
        yield textwrap.indent(judged.source.rstrip(), "  ")
    yield ""
    yield "the SQL of the upgrade"
    yield from sql([each for each in judged.statements if each.upgrade])
    yield ""
    for finding in judged.findings:
        yield from one(finding)
    if judged.proof is not None:
        yield from proof(judged.proof)
    yield ""


def verb(mode: str) -> str:
    """What was done to the file of a revision."""
    return {"generate": "wrote ", "dry-run": "would write "}.get(mode, "")


def sql(statements: Sequence[Statement]) -> Iterator[str]:
    """*statements* by transaction, each with what it locks, reads and writes."""
    if not statements:
        yield "  (none)"
    last: object = statements
    for number, each in enumerate(statements):
        if number == STATEMENTS:
            yield f"  -- and {len(statements) - STATEMENTS} more; --output-format json has all"
            return
        if each.transaction != last:
            last = each.transaction
            yield f"  -- {'no transaction' if last is None else f'transaction {last}'}"
        lines = textwrap.dedent(each.sql).strip().splitlines()
        more = len(lines) - LINES
        lines = [*lines[:LINES], f"-- and {more} lines more"] if more > 0 else lines
        lines[-1] = lines[-1] if lines[-1].rstrip().endswith(";") else f"{lines[-1]};"
        yield from (f"  {line}".rstrip() for line in lines)
        yield from (f"    -- {words}" for words in done(each))


def done(statement: Statement) -> Iterator[str]:
    """What PostgreSQL did for *statement*, where that may be in somebody's way."""
    for lock in statement.taken:
        if lock.blocks_writers:
            yield f"{lock.mode} on {lock.relation}: writers wait"
    for table in statement.rewritten:
        yield f"rewrites {table}"
    for table, rows in statement.scanned.items():
        yield f"reads {many(rows, 'row')} of {table}"
    for table, rows in statement.written.items():
        yield f"writes {many(rows, 'row')} of {table}"


def one(finding: Finding) -> Iterator[str]:
    """A finding with its place, why it matters and how to mend it."""
    yield f"{finding.severity}[{finding.rule}]: {finding.message}"
    if finding.path is not None:
        yield f"  --> {place(finding.path, finding.line)}"
    for word, text in (
        ("sql" if finding.rule != MISSING else "missing", finding.statement),
        ("why", finding.why),
        ("fix", finding.fix),
        ("see", finding.url),
    ):
        first, *rest = textwrap.dedent(text).strip().splitlines() or [""]
        if first:
            yield f"  = {word}: {first}"
            yield from (f"         {line}".rstrip() for line in rest[:LINES])
    yield ""


def proof(found: Proof) -> Iterator[str]:
    """What was tried, and what came out."""
    rows = many(sum(found.rows.values()), "row")
    yield f"proof, on a copy with {rows} in {many(len(found.rows), 'table')}"
    for step in found.steps:
        first, *rest = step.seen.splitlines() or [""]
        said = f"{step.name}: {first}" if first else step.name
        yield f"  {'ok    ' if step.passed else 'FAILED'} {said}"
        yield from (f"         {line}" for line in rest[:SEEN])
        if len(rest) > SEEN:
            yield f"         and {len(rest) - SEEN} more"
    for each in found.unfilled:
        yield f"  NOT PROVED for the rows of {each.table}: {each.reason}"


def to_do(outcome: Outcome, exit_code: int) -> Iterator[str]:
    """The next steps."""
    files = " ".join(quote(place(each.path)) for each in outcome.revisions)
    proofs = [each.proof for each in outcome.revisions if each.proof]
    is_bad = exit_code != FINE and any(each.findings for each in outcome.revisions)
    if any(proof.unfilled for proof in proofs):
        yield "look at the tables that are not proved yourself: with rows of yours in a copy"
    if outcome.missing:
        yield f'generate the missing revision: {outcome.program} -m "what changed"'
    if outcome.mode == "dry-run" and outcome.revisions:
        if is_bad:
            yield "mend the models where a finding is about them; the rest, once it is written"
        yield "write it: the same without --dry-run"
    elif outcome.mode == "generate" and outcome.revisions:
        if exit_code != FINE:
            yield f"mend {files}, as the findings say"
            yield f"look again: {outcome.program} --check"
        yield f"read it, then: git add {files}"
        yield f"{outcome.command} upgrade head"
    elif is_bad:
        yield "mend what was found, or excuse it: # generate-migration: ignore[RULE] reason"


# --- For programs ---------------------------------------------------------------------------------


def concise(outcome: Outcome) -> Iterator[str]:
    """A line for each revision that was made and for each finding."""
    for each in outcome.revisions:
        if outcome.mode != "check":
            yield f"{verb(outcome.mode)}{place(each.path)} ({each.revision})"
    for finding in outcome.findings:
        where = place(finding.path, finding.line) or "models"
        yield f"{where}: {finding.severity}: {finding.rule}: {first_line(finding.message)}"


def first_line(text: str) -> str:
    """*text* on one line."""
    return " ".join(text.split())


def workflow_commands(outcome: Outcome) -> Iterator[str]:
    """Workflow commands of GitHub Actions."""
    kinds = {"error": "error", "warning": "warning", "info": "notice"}
    for finding in outcome.findings:
        text = f"{finding.message}\nfix: {finding.fix}" if finding.fix else finding.message
        yield annotation(kinds[finding.severity], finding.path, finding.line, finding.rule, text)


def annotation(kind: str, path: Path | None, line: int | None, title: str, text: str) -> str:
    """One of them; the path from the root of the repository, where GitHub looks from."""
    where = ""
    if path is not None:
        top = next((up for up in path.parents if (up / ".git").exists()), None)
        shown = path.relative_to(top).as_posix() if top else place(path)
        where = f"file={escaped(shown)},line={line or 1},"
    return f"::{kind} {where}title={escaped(title)}::{escaped(text, value=False)}"


def escaped(text: str, *, value: bool = True) -> str:
    """*text* as a workflow command takes it."""
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if value else text


def as_json(outcome: Outcome, exit_code: int) -> str:
    """One object; ``version`` stands for its shape."""
    made = {
        "version": 1,
        "exit_code": exit_code,
        "mode": outcome.mode,
        "revisions": [of_revision(each) for each in outcome.revisions],
        "missing": [plain(asdict(each)) for each in outcome.missing],
        "notes": list(outcome.notes),
        "to_do": list(to_do(outcome, exit_code)),
        "summary": counts(outcome.findings),
    }
    return json.dumps(made, indent=2, ensure_ascii=False)


def of_revision(judged: Judged) -> dict[str, Any]:
    """One revision; locks as pairs."""
    proof = judged.proof
    return {
        "revision": judged.revision,
        "path": place(judged.path),
        "source": judged.source,
        "statements": [of_statement(each) for each in judged.statements],
        "findings": [plain(asdict(each)) for each in judged.findings],
        "proof": None
        if proof is None
        else {
            "passed": proof.passed,
            "steps": [asdict(each) for each in proof.steps],
            "rows": dict(proof.rows),
            "unfilled": [asdict(each) for each in proof.unfilled],
        },
    }


def of_statement(statement: Statement) -> dict[str, Any]:
    """One statement."""
    made = plain(asdict(statement))
    for name in ("held", "taken"):
        made[name] = [[lock.relation, lock.mode] for lock in getattr(statement, name)]
    return made


def plain(found: dict[str, Any]) -> dict[str, Any]:
    """*found* with paths as they are shown."""
    return {name: place(each) if isinstance(each, Path) else each for name, each in found.items()}


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many of each severity, the worst first."""
    found = Counter(each.severity for each in findings)
    return {severity: found[severity] for severity in reversed(SEVERITIES)}


def summary(outcome: Outcome, exit_code: int) -> str:
    """The last line."""
    found = ", ".join(f"{number} {name}" for name, number in counts(outcome.findings).items())
    proofs = [each.proof for each in outcome.revisions if each.proof]
    passed = sum(proof.passed and not proof.unfilled for proof in proofs)
    return (
        f"{many(len(outcome.revisions), 'revision')}, {passed} proved: "
        f"{many(len(outcome.findings), 'finding')} ({found}); exit {exit_code}"
    )


def many(number: int, word: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{number} {word}{'' if number == 1 else 's'}"
