"""Everything that is found in one revision, and what its own comments excuse.

A comment excuses: ``# generate-migration: ignore[blocking-scan] settings has nine rows``, on a line
of the statement or on the line above it.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import locking, session, source
from . import squawk as linter
from .core import Finding, Statement

OBSERVED = (
    locking.indexes,
    locking.rewrites,
    locking.scans,
    locking.two_tables,
    locking.lock_timeouts,
    session.settings_left,
    session.local_settings,
    session.outside_a_transaction,
    session.added_values,
    session.broken_builds,
)
BY_SHARE = (locking.backfills, locking.shared_transactions)  # of the rows that were there
UNUSED = "unused-ignore"
# What others say of the same thing with more in hand: the models, or an attempt to go back.
TOLD_BETTER = {
    "column-rewrites-table": ("blocking-rewrite",),
    "drops-data": ("squawk/ban-drop-column", "squawk/ban-drop-table"),
    "irreversible": ("no-downgrade",),
    "name-too-long": ("squawk/identifier-too-long",),
    "not-null-without-default": ("squawk/adding-required-field",),
    "type-change": ("blocking-rewrite",),
}
# What the repair says of a revision when it writes it, and never again: a comment that excused it
# then stays where it is.
WHEN_WRITTEN = frozenset({
    "column-rewrites-table",
    "computed-changed",
    "computed-kind",
    "drops-data",
    "enum-value-removed",
    "include-schemas",
    "name-too-long",
    "no-cast",
    "not-null-needs-values",
    "not-null-without-default",
    "partitioned-table",
    "possible-rename",
    "serial-to-identity",
    "type-change",
    "unknown-check",
})  # fmt: skip
COMMENT = re.compile(
    r"#\s*generate-migration:\s*ignore\b(?:\s*\[(?P<rules>[^\]]*)\])?(?P<reason>.*)"
)
FORM = "# generate-migration: ignore[blocking-scan] settings has nine rows"


@dataclass(frozen=True)
class Ignore:
    """A comment: its line, what it excuses and why, and the lines that it speaks of."""

    line: int
    rules: tuple[str, ...]
    reason: str
    lines: range

    def excuses(self, finding: Finding) -> bool:
        """Whether *finding* is one of those."""
        return finding.line in self.lines and any(is_same(rule, finding) for rule in self.rules)


def is_same(rule: str, finding: Finding) -> bool:
    """Whether *finding* is of *rule*, or of one that tells the same thing on another run."""
    better = TOLD_BETTER.get(rule, ()), TOLD_BETTER.get(finding.rule, ())
    return finding.rule == rule or finding.rule in better[0] or rule in better[1]


def lint(
    statements: Sequence[Statement],
    path: Path,
    *,
    squawk: str | None,
    postgres_version: str,
    more: Sequence[Finding] = (),
    others: Collection[str] = (),
    rows: Mapping[str, int] = locking.NOT_COUNTED,
) -> list[Finding]:
    """What is wrong with the revision at *path*, which ran *statements*, up and down.

    *squawk* is the program's path, None where it is not wanted.  *more* are the findings of others
    about the same revision, which its comments may excuse as well; *others* are rules that may be
    named there and are judged elsewhere; *rows* are those of each table before the revision.
    Raises ``Refused`` where squawk fails.
    """
    found = [*source.findings(path, statements), *observed(statements, rows)]
    if squawk is not None:
        found += linter.findings(
            statements, squawk, postgres_version=postgres_version, folder=path.parent
        )

    def is_judged(rule: str) -> bool:
        wanted = squawk is not None or not rule.startswith("squawk/")
        return wanted and rule not in WHEN_WRITTEN and rule not in others

    told = {rule for each in more for rule in TOLD_BETTER.get(each.rule, ())}
    found = [each for each in found if each.rule not in told]
    return excused(unique([*found, *more]), path, is_judged)


def observed(
    statements: Sequence[Statement], rows: Mapping[str, int] = locking.NOT_COUNTED
) -> list[Finding]:
    """What the statements of one revision did, each direction for itself."""
    ways = [[each for each in statements if each.upgrade is up] for up in (True, False)]
    return [
        *(finding for way in ways for rule in OBSERVED for finding in rule(way)),
        *(finding for way in ways for rule in BY_SHARE for finding in rule(way, rows)),
    ]


def unique(findings: Iterable[Finding]) -> list[Finding]:
    """In the order of the lines, what is said twice once: a loop runs a line again and again."""
    first: dict[tuple[object, ...], Finding] = {}
    for each in findings:
        first.setdefault((each.rule, each.path, each.line, each.message), each)
    return sorted(first.values(), key=lambda each: (each.line or 0, each.rule))


def accepted(path: Path) -> frozenset[str]:
    """The rules that the comments of *path* excuse anywhere, with a reason."""
    return frozenset(rule for each in ignores(path) if each.reason for rule in each.rules)


def excused(
    findings: Sequence[Finding], path: Path, is_judged: Callable[[str], bool]
) -> list[Finding]:
    """*findings* without those that a comment excuses, and with the comments that are idle."""
    comments = ignores(path)
    left = [each for each in findings if not any(one.excuses(each) for one in comments)]
    for comment in comments:
        idle = [
            rule
            for rule in comment.rules
            if is_judged(rule)
            and not any(is_same(rule, each) and each.line in comment.lines for each in findings)
        ]
        left += [unused(path, comment, message) for message in faults(comment, idle)]
    return left


def faults(comment: Ignore, idle: Sequence[str]) -> list[str]:
    """What is wrong with *comment*."""
    if not comment.rules:
        return ["an ignore without a rule excuses nothing"]
    found = [f"ignore[{rule}] excuses nothing" for rule in idle]
    return found if comment.reason else [*found, "an ignore without a reason"]


def unused(path: Path, comment: Ignore, message: str) -> Finding:
    """A finding of ``unused-ignore``."""
    return Finding(
        rule=UNUSED,
        severity="warning",
        message=message,
        why="Whoever reads it believes that something was found there, and weighed.",
        fix=f"Take it out, or write it so: {FORM}",
        path=path,
        line=comment.line,
    )


def ignores(path: Path) -> list[Ignore]:
    """The comments of the revision at *path*."""
    text = source.text_of(path)
    found: list[Ignore] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        match = COMMENT.match(token.string) if token.type == tokenize.COMMENT else None
        if match:
            line = token.start[0]
            names = re.split(r"[\s,]+", match["rules"] or "")
            alone = not token.line[: token.start[1]].strip()
            reason = match["reason"].strip(" :-–—")
            there = lines(text, line, alone)
            found.append(Ignore(line, tuple(filter(None, names)), reason, there))
    return found


def lines(text: str, line: int, alone: bool) -> range:
    """The lines of the statement that a comment at *line* speaks of; *alone*: it has its line."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)]
    spans = [span(node) for node in nodes]
    # A line of its own between a head and its body speaks of what follows.
    around = [span(node) for node in nodes if line in span(node) and not (alone and has_body(node))]
    if around:
        return min(around, key=len)
    rows = text.splitlines()
    while alone and line < len(rows) and rows[line].strip().startswith("#"):
        line += 1
    below = (each for each in spans if alone and each.start == line + 1)
    return min(below, key=len, default=range(0))


def span(node: ast.stmt) -> range:
    """The lines of *node*; of what has a body, those of its head."""
    end = node.end_lineno or node.lineno
    if has_body(node):
        end = max(node.body[0].lineno - 1, node.lineno)  # type: ignore[attr-defined]
    return range(node.lineno, end + 1)


def has_body(node: ast.stmt) -> bool:
    """Whether *node* holds statements."""
    return bool(getattr(node, "body", None))
