"""Sum up an iteration: with the skill, without it, and the difference."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.grading import EvalError

SIDES = ("with_skill", "without_skill")
MEASURES = ("pass_rate", "time_seconds", "tokens")

Run = dict[str, float | None]


def read_run(folder: Path) -> Run:
    """The measures of one run; None where its agent's time or tokens were not written down."""
    grading = json.loads((folder / "grading.json").read_text(encoding="utf-8"))
    timing: dict[str, Any] = {}
    if (folder / "timing.json").exists():
        timing = json.loads((folder / "timing.json").read_text(encoding="utf-8"))
    duration = timing.get("duration_ms")
    return {
        "pass_rate": float(grading["summary"]["pass_rate"]),
        "time_seconds": None if duration is None else duration / 1000,
        "tokens": timing.get("total_tokens"),
    }


def runs_of(folder: Path) -> list[Run]:
    """Every run under *folder*: it is one itself, or holds ``run-1``, ``run-2``, …"""
    folders = [folder, *sorted(folder.glob("run-*"))]
    return [read_run(found) for found in folders if (found / "grading.json").exists()]


def spread(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean and standard deviation (of the sample; 0 for one run) of the known *values*."""
    known = [value for value in values if value is not None]
    if not known:
        return {"mean": None, "stddev": None}
    deviation = statistics.stdev(known) if len(known) > 1 else 0.0
    return {"mean": round(statistics.fmean(known), 4), "stddev": round(deviation, 4)}


def benchmark_of(iteration: Path) -> dict[str, Any]:
    """The contents of ``benchmark.json``.

    Raises ``EvalError`` where there is no graded run, or a task has one on one side only: a
    difference of means over other tasks says nothing.
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
    summary: dict[str, Any] = {}
    for side in SIDES:
        runs = [run for sides in tasks.values() for run in sides[side]]
        summary[side] = {measure: spread([run[measure] for run in runs]) for measure in MEASURES}
    summary["delta"] = {
        measure: difference(*(summary[side][measure]["mean"] for side in SIDES))
        for measure in MEASURES
    }
    rates = {
        name: {side: spread([run["pass_rate"] for run in sides[side]])["mean"] for side in SIDES}
        for name, sides in tasks.items()
    }
    return {"run_summary": summary, "tasks": rates}


def difference(with_skill: float | None, without_skill: float | None) -> float | None:
    """With less without; None where one of them is not known."""
    if with_skill is None or without_skill is None:
        return None
    return round(with_skill - without_skill, 4)
