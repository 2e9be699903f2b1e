"""The report: for people, line by line, as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from .core import FINE, NOT_READY, Failure, Report, Step

WIDTH = 100
MARKS = {"ok": "ok", "note": "note", "warning": "warning", "failure": "FAILED"}


def full(reports: Sequence[Report], versions: str) -> str:
    """What a person reads."""
    return "\n\n".join("\n".join(one(report, versions)) for report in reports)


def one(report: Report, versions: str) -> Iterable[str]:
    """The lines of one driver."""
    by = f" by {report.driver}" if report.driver else ""
    yield f"{report.target}{by} ({versions})"
    for step in shown(report):
        yield row(step.layer, step.level, step.seen)
    if report.failure is not None:
        yield from failing(report.failure, report.driver)
    for check in report.checks:
        yield row(check.name, check.level, check.seen)
        if check.fix:
            yield row("", "", f"→ {check.fix}")


def shown(report: Report) -> Iterable[Step]:
    """The steps but those on TLS of which there is more to say, or nothing that matters."""
    checked = any(check.name == "TLS" for check in report.checks)
    early = report.failure is not None and report.failure.exit_code == NOT_READY
    last = max((at for at, step in enumerate(report.steps) if step.layer == "TCP"), default=0)
    for at, step in enumerate(report.steps):
        of_tls = step.layer == "TLS" and at > last
        if not (of_tls and (checked or (early and step.level == "note"))):
            yield step


def row(name: str, level: str, text: str) -> str:
    """One row, its text wrapped under itself."""
    head = f"  {name:<15} {MARKS.get(level, level):<8}"
    lines = textwrap.wrap(
        text, WIDTH - len(head), break_long_words=False, break_on_hyphens=False
    ) or [""]
    return ("\n" + " " * len(head)).join([head + lines[0], *lines[1:]]).rstrip()


def failing(failure: Failure, driver: str) -> Iterable[str]:
    """The layer that failed, why, and what to try."""
    yield row(failure.layer, "failure", failure.seen)
    if failure.said:
        yield row("", "", f"{driver} says: {failure.said}")
    if failure.causes:
        yield "  likely causes"
        yield from (numbered(at, cause) for at, cause in enumerate(failure.causes, 1))
    if failure.commands:
        yield "  try"
        yield from (f"    {command}" for command in failure.commands)


def numbered(at: int, text: str) -> str:
    """``    1. text``."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=f"    {at}. ",
        subsequent_indent="       ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def concise(reports: Sequence[Report]) -> str:
    """A line for each that is not fine: ``driver: layer: level: what was seen``."""
    lines = []
    for report in reports:
        by = report.driver or "?"
        if report.failure is not None:
            failure = report.failure
            lines.append(f"{by}: {failure.layer}: failure: {failure.seen}")
        lines += [
            f"{by}: {check.name}: {check.level}: {check.seen}"
            for check in report.checks
            if check.level not in {"ok", "note"}
        ]
    return "\n".join(lines)


def as_json(reports: Sequence[Report], versions: str, exit_code: int) -> str:
    """One object; ``drivers`` has a report each."""
    parts = []
    for report in reports:
        part = asdict(report)
        if part["failure"]:
            for name in ("passing", "slow", "again"):
                del part["failure"][name]
        parts.append(part)
    found = {"exit_code": exit_code, "versions": versions, "drivers": parts}
    return json.dumps(found, indent=2, ensure_ascii=False)


def differences(reports: Sequence[Report]) -> list[str]:
    """Where the drivers differ, in a line each; none where they are of one mind."""
    if len(reports) < 2:
        return []
    said = {
        report.driver: report.failure.layer if report.failure else "connects" for report in reports
    }
    if len(set(said.values())) > 1:
        return [", ".join(f"{driver}: {what}" for driver, what in said.items())]
    lines = []
    names = list(dict.fromkeys(check.name for report in reports for check in report.checks))
    for name in names:
        levels = {
            report.driver: next((each.level for each in report.checks if each.name == name), "-")
            for report in reports
        }
        if len(set(levels.values())) > 1:
            each = ", ".join(f"{driver} {level}" for driver, level in levels.items())
            lines.append(f"{name}: {each}")
    return lines


def summary(reports: Sequence[Report], exit_code: int) -> str:
    """The last line."""
    levels = [check.level for report in reports for check in report.checks]
    failures = [report.failure for report in reports if report.failure is not None]
    if failures:
        layers = ", ".join(dict.fromkeys(each.layer for each in failures))
        return f"failed at {layers} (exit {exit_code})"
    counted = f"{levels.count('failure')} failures, {levels.count('warning')} warnings"
    return f"{'fine' if exit_code == FINE else 'not fine'}: {counted} (exit {exit_code})"
