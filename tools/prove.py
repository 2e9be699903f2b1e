"""The long form of the suite: what runs once in ``make test`` is run many times, and written down.

``python -m tools.prove [--repetitions 50]`` repeats the tests that are marked ``concurrent`` and
writes ``benchmarks/results/repetitions.json``: how often each ran, and how often it failed.  Fewer
repetitions are written only where ``--result`` says.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "repetitions.json"


def run_tests(repetitions: int, report: Path) -> None:
    """Run them, all to the end; *report* tells what happened."""
    command = [
        *(sys.executable, "-m", "pytest", "-m", "concurrent", "-n", "auto", "-q"),
        *("--maxprocesses", "8", "--repetitions", str(repetitions), f"--junitxml={report}"),
    ]
    subprocess.run(command, cwd=ROOT, check=False)


def outcomes(report: Path, repetitions: int) -> dict[str, Any]:
    """Runs and failures by test, its drivers taken together.  Raises ``ValueError`` for no test."""
    runs: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it
        module = case.get("classname", "").rpartition(".")[2]
        name = f"{module}: {case.get('name', '').partition('[')[0]}"
        runs[name] += 1
        failures[name] += any(case.find(kind) is not None for kind in ("failure", "error"))
    if not runs:
        raise ValueError(f"received {report} without a test; expected those marked concurrent")
    tests = [
        {"test": name, "runs": count, "failures": failures[name]}
        for name, count in sorted(runs.items())
    ]
    return {"name": "repetitions", "repetitions": repetitions, "tests": tests}


def show(document: dict[str, Any]) -> None:
    """Print it for a person."""
    for test in document["tests"]:
        print(f"{test['runs']:6,} runs {test['failures']:4,} failures   {test['test']}")


def main() -> int:
    """Exit 0 when nothing failed, 1 otherwise, 2 for wrong usage."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--result", type=Path, help=f"default: {RESULT}, from 50 on")
    options = parser.parse_args()
    repetitions: int = options.repetitions
    if repetitions < 1:
        parser.error(f"received --repetitions {repetitions}; expected 1 or more")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        run_tests(repetitions, report)
        document = outcomes(report, repetitions)
    show(document)
    target: Path | None = options.result or (RESULT if repetitions >= 50 else None)
    if target:
        target.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return 1 if any(test["failures"] for test in document["tests"]) else 0


if __name__ == "__main__":
    sys.exit(main())
