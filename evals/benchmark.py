"""Sum up an iteration: with the skill, without it, and the difference."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.grading import EvalError

SIDES = ("with_skill", "without_skill")
MEASURES = ("pass_rate", "time_seconds", "tokens")

Run = dict[str, float | None]


def read_run(folder: Path) -> Run:
    """The measures of one run; None where its agent's time or tokens were not written down.

    Raises ``EvalError`` for a file that is not as they are written.
    """
    grading = read_object(folder / "grading.json")
    timing = read_object(folder / "timing.json") if (folder / "timing.json").exists() else {}
    duration, tokens = timing.get("duration_ms"), timing.get("total_tokens")
    try:
        return {
            "pass_rate": figure(grading["summary"]["pass_rate"]),
            "time_seconds": None if duration is None else figure(duration) / 1000,
            "tokens": None if tokens is None else figure(tokens),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise EvalError(
            f"received {folder}, where a figure is missing or none: {error}.\n"
            "expected: grading.json as python -m evals writes it, and\n"
            '  timing.json: {"total_tokens": 1200, "duration_ms": 34000}\n'
            "try: to grade it again"
        ) from error


def figure(value: Any) -> float:
    """*value* as a number.  Raises ``ValueError`` for what is none: NaN, infinite, negative."""
    number = float(value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{number}")
    return number


def read_object(path: Path) -> dict[str, Any]:
    """The object that a file of JSON holds.  Raises ``EvalError`` for another."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        document = error
    if not isinstance(document, dict):
        raise EvalError(
            f"received {path}, which holds no object: {document}.\n"
            "expected: an object, as JSON\ntry: to write it again"
        )
    return document


def runs_of(folder: Path) -> list[Run]:
    """Every run under *folder*: it is one itself, or holds ``run-1``, ``run-2``, …

    Raises ``EvalError`` for a run that is not graded, since nobody would see that a mean is without
    it, and where *folder* is both.
    """
    if not folder.is_dir():
        return []
    within = sorted(path for path in folder.glob("run-*") if path.is_dir())
    runs = within or [folder]
    ungraded = [run for run in runs if not (run / "grading.json").exists()]
    if ungraded:
        raise EvalError(
            f"received runs that are not graded: {', '.join(map(str, ungraded))}.\n"
            "expected: grading.json in each\n"
            "try: python -m evals TASK RUN, or to remove what is no run"
        )
    if within and (folder / "grading.json").exists():
        raise EvalError(
            f"received {folder}, which is a run itself and holds {within[0].name} besides.\n"
            "expected: one of both\ntry: to move its own files into a run-… of their own"
        )
    return [read_run(run) for run in runs]


def spread(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean and standard deviation (of the sample; 0 for one run) of the known *values*."""
    known = [value for value in values if value is not None]
    if not known:
        return {"mean": None, "stddev": None}
    deviation = statistics.stdev(known) if len(known) > 1 else 0.0
    return {"mean": round(statistics.fmean(known), 4), "stddev": round(deviation, 4)}


def benchmark_of(iteration: Path) -> dict[str, Any]:
    """The contents of ``benchmark.json``: each task counts once, however often it ran.

    ``run_summary`` is over the tasks' means, ``tasks`` over each one's runs.  A difference is that
    of the tasks where both sides were measured.

    Raises ``EvalError`` where there is no graded run, one is not graded, or a task has them on one
    side only: a difference of means over other tasks says nothing.
    """
    tasks: dict[str, dict[str, list[Run]]] = {}
    folders = sorted(iteration.iterdir()) if iteration.is_dir() else []
    for folder in folders:
        sides = {side: runs_of(folder / side) for side in SIDES}
        if any(sides.values()):
            tasks[folder.name] = sides
    if not tasks:
        raise EvalError(
            f"received the iteration {iteration}, without a graded run.\n"
            "expected: ITERATION/TASK/with_skill[/run-1]/grading.json, and without_skill/\n"
            "try: python -m evals TASK WORKSPACE, which writes WORKSPACE/grading.json"
        )
    lonely = [name for name, sides in tasks.items() if not all(sides.values())]
    if lonely:
        raise EvalError(
            f"received runs on one side only: {', '.join(lonely)}.\n"
            "expected: with_skill and without_skill of each task\ntry: to run the other side too"
        )
    means = [
        {side: {measure: mean(sides[side], measure) for measure in MEASURES} for side in SIDES}
        for sides in tasks.values()
    ]
    summary: dict[str, Any] = {
        side: {measure: spread([task[side][measure] for task in means]) for measure in MEASURES}
        for side in SIDES
    }
    summary["delta"] = {
        measure: spread([difference(*(task[side][measure] for side in SIDES)) for task in means])[
            "mean"
        ]
        for measure in MEASURES
    }
    rates = {
        name: {side: spread([run["pass_rate"] for run in sides[side]]) for side in SIDES}
        for name, sides in tasks.items()
    }
    return {"run_summary": summary, "tasks": rates}


def mean(runs: Sequence[Run], measure: str) -> float | None:
    """The mean of a task's runs; None where it is not known of any."""
    known = [value for run in runs if (value := run[measure]) is not None]
    return statistics.fmean(known) if known else None


def difference(with_skill: float | None, without_skill: float | None) -> float | None:
    """With less without; None where one of them is not known."""
    if with_skill is None or without_skill is None:
        return None
    return with_skill - without_skill
