"""The report on an iteration: each task counts once, and nothing is compared that cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.benchmark import benchmark_of
from evals.grading import EvalError
from tests.test_evals import told


def add_run(folder: Path, rate: float, milliseconds: int | None, tokens: int | None) -> None:
    """A graded run, with its timing where there is one."""
    folder.mkdir(parents=True)
    (folder / "grading.json").write_text(json.dumps({"summary": {"pass_rate": rate}}))
    if milliseconds is not None:
        timing = {"duration_ms": milliseconds, "total_tokens": tokens}
        (folder / "timing.json").write_text(json.dumps(timing))


def test_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_run(tmp_path / "search" / "with_skill" / "run-1", 1.0, 10_000, 300)
    add_run(tmp_path / "search" / "with_skill" / "run-2", 0.5, 20_000, 500)
    add_run(tmp_path / "search" / "without_skill", 0.25, 5_000, 100)
    code, output, _ = told(capsys, ["report", str(tmp_path)])
    assert code == 0
    document = json.loads(output)
    assert json.loads((tmp_path / "benchmark.json").read_text()) == document
    summary = document["run_summary"]
    assert summary["with_skill"] == {
        "pass_rate": {"mean": 0.75, "stddev": 0.0},
        "time_seconds": {"mean": 15.0, "stddev": 0.0},
        "tokens": {"mean": 400, "stddev": 0.0},
    }
    assert summary["without_skill"]["pass_rate"] == {"mean": 0.25, "stddev": 0.0}
    assert summary["delta"] == {"pass_rate": 0.5, "time_seconds": 10.0, "tokens": 300}
    assert document["tasks"] == {
        "search": {
            "with_skill": {"mean": 0.75, "stddev": 0.3536},
            "without_skill": {"mean": 0.25, "stddev": 0.0},
        }
    }


def test_each_task_counts_once(tmp_path: Path) -> None:
    """However often it ran; a difference is that of tasks with both sides."""
    for number in range(3):
        add_run(tmp_path / "search" / "with_skill" / f"run-{number}", 1.0, 9_000, 100)
    add_run(tmp_path / "search" / "without_skill", 0.5, 3_000, 100)
    add_run(tmp_path / "locking" / "with_skill", 0.0, 90_000, 100)
    add_run(tmp_path / "locking" / "without_skill", 0.0, None, None)
    summary = benchmark_of(tmp_path)["run_summary"]
    assert summary["with_skill"]["pass_rate"] == {"mean": 0.5, "stddev": 0.7071}
    assert summary["delta"] == {"pass_rate": 0.25, "time_seconds": 6.0, "tokens": 0.0}


def test_report_without_timing(tmp_path: Path) -> None:
    add_run(tmp_path / "search" / "with_skill", 1.0, None, None)
    add_run(tmp_path / "search" / "without_skill", 1.0, 5_000, 100)
    summary = benchmark_of(tmp_path)["run_summary"]
    assert summary["with_skill"]["tokens"] == {"mean": None, "stddev": None}
    assert summary["delta"] == {"pass_rate": 0.0, "time_seconds": None, "tokens": None}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("grading.json", "{"),
        ("grading.json", "[]"),
        ("grading.json", "{}"),
        ("timing.json", "[1]"),
        ("timing.json", '{"duration_ms": "long"}'),
        ("timing.json", '{"total_tokens": "many"}'),
        ("timing.json", '{"total_tokens": NaN}'),
        ("timing.json", '{"duration_ms": 1e999}'),
        ("timing.json", '{"duration_ms": -1}'),
        ("grading.json", '{"summary": {"pass_rate": NaN}}'),
    ],
)
def test_report_of_junk(
    name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("with_skill", "without_skill"):
        add_run(tmp_path / "search" / side, 1.0, 5_000, 100)
    (tmp_path / "search" / "with_skill" / name).write_text(text)
    code, _, error = told(capsys, ["report", str(tmp_path)])
    assert code == 2
    assert "received" in error
    assert "try: " in error


def test_report_refuses_one_side(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="without a graded run"):
        benchmark_of(tmp_path)
    add_run(tmp_path / "search" / "with_skill", 1.0, None, None)
    with pytest.raises(EvalError, match="one side only: search"):
        benchmark_of(tmp_path)


@pytest.mark.parametrize("run", ["search/with_skill/run-2", "locking/with_skill"])
def test_report_refuses_what_is_not_graded(run: str, tmp_path: Path) -> None:
    """A mean would be without it, and nobody would see that."""
    add_run(tmp_path / "search" / "with_skill" / "run-1", 1.0, None, None)
    add_run(tmp_path / "search" / "without_skill", 0.5, None, None)
    (tmp_path / run).mkdir(parents=True)
    with pytest.raises(EvalError, match=f"received runs that are not graded: .*{run}\\.\n") as it:
        benchmark_of(tmp_path)
    assert "expected: grading.json in each\ntry: " in str(it.value)


def test_report_refuses_a_run_that_holds_runs(tmp_path: Path) -> None:
    """They would be counted together."""
    side = tmp_path / "search" / "with_skill"
    add_run(side, 1.0, None, None)
    add_run(side / "run-1", 0.0, None, None)
    add_run(tmp_path / "search" / "without_skill", 0.5, None, None)
    with pytest.raises(EvalError, match="is a run itself and holds run-1 besides") as it:
        benchmark_of(tmp_path)
    assert "expected: one of both\ntry: " in str(it.value)
