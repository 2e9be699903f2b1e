"""The report in each format.  Standard output holds it and nothing else."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from textwrap import dedent, indent
from typing import Any
from urllib.parse import quote

from .core import Finding, Rule

FORMATS = ("full", "concise", "json", "sarif", "github")
COLOURS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "info": "\x1b[1;36m"}
RESET, BOLD = "\x1b[0m", "\x1b[1m"
LEVELS = {"error": "error", "warning": "warning", "info": "note"}
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
OPTIONAL = ("end_column", "frame", "file")


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many of each severity."""
    found = Counter(item.severity for item in findings)
    return {severity: found[severity] for severity in ("error", "warning", "info")}


def render(
    name: str,
    findings: Sequence[Finding],
    shown: int,
    rules: dict[str, Rule],
    *,
    below: int = 0,
    problems: Sequence[str] = (),
) -> str:
    """*findings* in the format *name*, *shown* of them.

    For programs: how many are *below* what is to be shown, and what could not be looked at.
    """
    if name == "json":
        return as_json(findings[:shown], findings, below, problems)
    findings = told_apart(findings)
    if name == "sarif":
        return as_sarif(findings[:shown], rules, problems)
    if name == "github":
        return "\n".join(map(as_github, findings[:shown]))
    if name == "concise":
        return "\n".join(map(str, findings[:shown]))
    return "\n\n".join(as_full(item) for item in findings[:shown])


def told_apart(findings: Sequence[Finding]) -> list[Finding]:
    """*findings*; those that a mixin gives to several models say whose they are."""

    def text(item: Finding) -> tuple[Any, ...]:
        return (item.path, item.line, item.column, item.rule, item.message)

    times = Counter(map(text, findings))
    return [
        replace(item, message=f"{item.message} ({whose(item)})")
        if times[text(item)] > 1 and whose(item)
        else item
        for item in findings
    ]


def whose(item: Finding) -> str:
    """``Ticket.title``, or ``tickets.title``."""
    return ".".join(filter(None, (item.model or item.table, item.attribute)))


def as_full(item: Finding) -> str:
    """A finding with its line, why it matters and how to mend it."""
    where = f"{item.path}:{item.line}:{item.column}" if item.path else f"table {item.table}"
    lines = [f"{item.severity}[{item.rule}]: {item.message}", f"  --> {where}"]
    if item.frame is not None and item.line and item.column:
        number = str(item.line)
        gap = " " * len(number)
        text = item.frame.expandtabs(1)
        marker = "^" * max((item.end_column or 0) - item.column, 1)
        lines += [
            f"{gap} |",
            f"{number} | {text}",
            f"{gap} | {' ' * (item.column - 1)}{marker}",
        ]
    lines += [note("why", item.why), note("fix", item.fix), f"  = see: {item.url}"]
    return "\n".join(lines)


def note(word: str, text: str) -> str:
    """``= why: …``, further lines set in."""
    first, *rest = dedent(text).strip().splitlines()
    return "\n".join([f"  = {word}: {first}", *(f"         {line}".rstrip() for line in rest)])


def coloured(text: str) -> str:
    """*text* of ``full`` or ``concise`` with the severities in colour."""
    for severity, colour in COLOURS.items():
        text = text.replace(f"{severity}[", f"{colour}{severity}{RESET}[")
        text = text.replace(f": {severity}: ", f": {colour}{severity}{RESET}: ")
    return text


def as_json(
    shown: Sequence[Finding], findings: Sequence[Finding], below: int, problems: Sequence[str]
) -> str:
    """The document whose shape ``version`` stands for."""
    plain = [
        {key: value for key, value in asdict(item).items() if key not in OPTIONAL} for item in shown
    ]
    return document({"findings": plain}, len(shown), findings, below, problems)


def document(
    held: dict[str, Any],
    shown: int,
    findings: Sequence[Finding],
    below: int,
    problems: Sequence[str],
) -> str:
    """What is *held*, with the summary and what could not be looked at."""
    numbers = {"total": len(findings), "shown": shown, "below_severity": below}
    summary = {**numbers, **counts(findings)}
    made = {"version": 1, **held, "summary": summary, "problems": list(problems)}
    return json.dumps(made, indent=2)


def as_github(item: Finding) -> str:
    """One annotation of GitHub Actions."""
    kind = {"error": "error", "warning": "warning", "info": "notice"}[item.severity]
    place = ""
    if item.path:
        path = in_repository(item)
        place = f"file={escaped(path, True)},line={item.line},col={item.column},"
    message = escaped(f"{item.message}\nfix: {item.fix}", False)
    return f"::{kind} {place}title={escaped(item.rule, True)}::{message}"


def escaped(text: str, is_property: bool) -> str:
    """*text* as a workflow command takes it."""
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if is_property else text


@functools.lru_cache(maxsize=4096)
def repository_of(folder: Path) -> Path | None:
    """The nearest folder above that Git begins with; a work tree has a file there."""
    return next((each for each in (folder, *folder.parents) if (each / ".git").exists()), None)


def in_repository(item: Finding) -> str:
    """The path from the root of the repository, where there is one: GitHub looks from there."""
    top = repository_of(item.file.parent) if item.file else None
    if top is None or item.file is None:
        return item.path or ""
    return item.file.relative_to(top).as_posix()


def as_sarif(findings: Sequence[Finding], rules: dict[str, Rule], problems: Sequence[str]) -> str:
    """SARIF 2.1.0; findings that comments ignore are left out, since GitHub shows them anyway."""
    used = sorted({item.rule for item in findings})
    driver = {
        "name": "validate-models",
        "informationUri": "https://docs.sqlalchemy.org/en/21/orm/",
        "rules": [sarif_rule(rules[name]) for name in used],
    }
    results = [sarif_result(item, used.index(item.rule)) for item in findings]
    told = [{"level": "error", "message": {"text": text}} for text in problems]
    invocation: dict[str, Any] = {"executionSuccessful": not problems}
    if told:
        invocation["toolExecutionNotifications"] = told
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "results": results,
        "columnKind": "unicodeCodePoints",
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def sarif_rule(rule: Rule) -> dict[str, Any]:
    """A rule's help."""
    return {
        "id": rule.name,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.why}\n\n{rule.fix}"},
        "helpUri": rule.url,
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
        "properties": {"tags": [rule.family]},
    }


def sarif_result(item: Finding, index: int) -> dict[str, Any]:
    """One result; without a file it has no place."""
    made: dict[str, Any] = {
        "ruleId": item.rule,
        "ruleIndex": index,
        "level": LEVELS[item.severity],
        "message": {"text": item.message},
        "partialFingerprints": {"validateModels/v1": item.fingerprint},
    }
    if item.path and item.line:
        region = {"startLine": item.line, "startColumn": item.column or 1}
        path = in_repository(item)
        uri = Path(path).as_uri() if Path(path).is_absolute() else quote(path)
        place = {"artifactLocation": {"uri": uri}, "region": region}
        made["locations"] = [{"physicalLocation": place}]
    return made


def explanation(rule: Rule) -> str:
    """All that there is to say of a rule."""
    parts = [
        f"{rule.name} ({rule.severity}, {rule.family}"
        + ("" if rule.default else ", not in the default set")
        + (", only where asyncio is used" if rule.asyncio else "")
        + (", with --database-url" if rule.live else "")
        + f")\n{rule.title}",
        f"why: {rule.why}",
        f"fix: {dedent(rule.fix).strip()}",
        f"wrong:\n{indent(sample(rule.bad), '    ')}",
        f"right:\n{indent(sample(rule.good), '    ')}",
    ]
    if rule.live:
        parts[3:] = [
            f"models:\n{indent(sample(rule.bad), '    ')}",
            f"wrong, on a database that create_all() has made of them:\n"
            f"{indent(sample(rule.drift), '    ')}",
            f"right again:\n{indent(sample(rule.mend), '    ')}",
        ]
    if rule.near_miss:
        parts.append(f"also right:\n{indent(sample(rule.near_miss), '    ')}")
    return "\n\n".join([*parts, f"see: {rule.url}\nversions: {rule.versions}"])


def sample(code: str) -> str:
    """A sample without the tests' marks."""
    return "\n".join(line.removesuffix("  # found") for line in dedent(code).strip().splitlines())


def listing(rules: Iterable[Rule], output_format: str) -> str:
    """The rules: as JSON, or one a line."""
    if output_format == "json":
        shown = [
            {
                "rule": rule.name,
                "severity": rule.severity,
                "family": rule.family,
                "title": rule.title,
                "default": rule.default,
                "asyncio": rule.asyncio,
                "versions": rule.versions,
                "url": rule.url,
            }
            for rule in rules
        ]
        return json.dumps({"version": 1, "rules": shown}, indent=2)
    return "\n".join(
        f"{rule.name:34} {rule.severity:8} {rule.family:14} "
        f"{'default' if rule.default else 'opt-in':8} {rule.title}"
        for rule in rules
    )


def statistics(
    name: str, findings: Sequence[Finding], below: int = 0, problems: Sequence[str] = ()
) -> str:
    """How often each rule found something, the most frequent first; as JSON, or a line each."""
    counted = Counter(item.rule for item in findings)
    found = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    if name == "json":
        return document({"statistics": dict(found)}, 0, findings, below, problems)
    return "\n".join(f"{number:6}  {rule}" for rule, number in found)
