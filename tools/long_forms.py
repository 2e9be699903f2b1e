"""All that is too long for every run: ``make prove``.  Then the table of what is claimed.

``python -m tools.long_forms`` runs each step whatever became of the one before, and writes how they
ended to ``benchmarks/results/long_forms.json``, beside the results of their own.  It fills the
pages, and prints what is claimed, what was measured, and where it falls short.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks import claims
from benchmarks.__main__ import suites

ROOT = Path(__file__).resolve().parent.parent
RESULTS = claims.RESULTS
LONGEST = 4 * 60 * 60  # seconds: what hangs must not keep the others from running
GRACE = 30  # seconds: to stop the servers that it has started
OVERDUE = 124  # as of timeout(1)
RECIPES = "tests/examples/test_migration_guide/test_recipes.py"
EVALS = "three_runs_agree or right_hasty_empty_and_broken or right_way or own_checks"
HELP = """\
examples:
  python -m tools.long_forms                     all of them: some hours
  python -m tools.long_forms recipes evals       two; the others stay as they were measured
  python -m tools.long_forms --small --results /tmp/x    does it still run?  Proves nothing

exit codes:
  0  every step ran, every claim holds or says why not     1  one does not     2  wrong usage
  130  interrupted; what has ended is kept
"""


@dataclass(frozen=True)
class Step:
    """A long form: ``python -m`` and *command*; *small* is the short one, without a proof.

    ``{results}`` stands for the folder, ``{report}`` for pytest's report: then tests are counted.
    Without *small* it is left out of the small form.
    """

    name: str
    title: str
    command: tuple[str, ...]
    small: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)


def steps(results: Path = RESULTS) -> list[Step]:
    """Every long form, in order.  Plots go beside *results* where these are not the kept ones."""
    where = () if results == RESULTS else ("--results", "{results}")
    quick = ("--quick", "--repetitions", "1", "--results", "{results}")
    measured = [
        Step(
            name,
            f"the suite {name} of the benchmarks",
            ("benchmarks", name, *where),
            ("benchmarks", name, *quick),
        )
        for name in suites()
    ]
    side = ("benchmarks.side_by_side", "--results", "{results}")
    kept = ("--result", "{results}/repetitions.json")
    service = ("tools.prove_service", "--result", "{results}/prove_service.json")
    recipes, evals = tests(RECIPES), tests("tests/test_evals.py", "-k", EVALS)
    return [
        *measured,
        Step("side_by_side", "the linter beside others", side),
        Step(
            "repetitions",
            "concurrent tests, 50 times",
            ("tools.prove", "--repetitions", "50", *kept),
            ("tools.prove", "--repetitions", "2", *kept),
        ),
        Step(
            "prove_service",
            "500 clients that leave, 5,000 requests, PgBouncer",
            service,
            (*service, "--small"),
        ),
        Step(
            "recipes",
            "recipes on 200,000 rows",
            recipes,
            (*recipes, "-k", "rename_column"),
            {"RECIPE_ROWS": "200000"},
        ),
        Step(
            "evals",
            "the graders of the evals, three runs each",
            (*evals, "--repetitions", "3", "-n", "auto", "--maxprocesses", "8"),
            (*evals, "-k", "test_three_runs_agree and search"),
        ),
        Step("real_projects", "the linter in real projects", ("tests.real_projects",)),
    ]


def tests(*arguments: str) -> tuple[str, ...]:
    """A run of pytest that is counted."""
    return ("pytest", "-q", "-p", "no:cacheprovider", "--junitxml={report}", *arguments)


def outcome(report: Path) -> dict[str, int]:
    """How many tests pytest ran, and how many failed; skipped ones did not run."""
    cases = ElementTree.parse(report).iter("testcase")  # noqa: S314 - pytest wrote it
    ran = [kinds for case in cases if "skipped" not in (kinds := {child.tag for child in case})]
    failed = [kinds for kinds in ran if kinds & {"failure", "error"}]
    return {"tests": len(ran), "failures": len(failed)}


def run_group(command: Sequence[str], environ: dict[str, str], longest: float) -> int:
    """Run *command* in a process group of its own; its exit code, ``OVERDUE`` at the limit.

    There, and where we are interrupted, the whole group ends: by SIGINT, so that it cleans up, and
    by SIGKILL after ``GRACE``.
    """
    process = subprocess.Popen(command, cwd=ROOT, env=environ, start_new_session=True)
    try:
        return process.wait(longest)
    except subprocess.TimeoutExpired:
        end_group(process)
        return OVERDUE
    except BaseException:
        end_group(process)
        raise


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End *process*, which leads a group, and whoever is still in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(step: Step, results: Path, *, small: bool, longest: float = LONGEST) -> dict[str, Any]:
    """Run *step* to its end: its exit code, its seconds, and its tests where it has them."""
    with tempfile.TemporaryDirectory(prefix="soe-long-forms-") as folder:
        report = Path(folder) / "report.xml"
        command = [
            part.format(results=results, report=report)
            for part in (step.small if small else step.command)
        ]
        environ = os.environ | ({} if small else step.environ)
        if step.command[0] == "pytest":
            environ |= {"CI": "true"}  # a skip proves nothing
        started = time.monotonic()
        code = run_group([sys.executable, "-m", *command], environ, longest)
        if code == OVERDUE:
            print(f"error: {step.name} took more than {longest:,} s", file=sys.stderr)
        ended = {"code": code, "seconds": round(time.monotonic() - started)}
        if not report.exists():
            return ended
        counted = outcome(report)
        if not counted["tests"]:
            print(f"error: {step.name} ran no test", file=sys.stderr)
            ended["code"] = code or 1
        return ended | counted


def known_runs(target: Path) -> dict[str, Any]:
    """What *target* tells of former runs; nothing where there is no file.

    Raises ``ClaimError`` where it holds something else.
    """
    if not target.exists():
        return {"long": False, "steps": {}}
    try:
        known = json.loads(target.read_text())
    except (OSError, ValueError) as error:
        known = error
    if (
        isinstance(known, dict)
        and isinstance(known.get("long"), bool)
        and isinstance(known.get("steps"), dict)
        and all(isinstance(step, dict) and "code" in step for step in known["steps"].values())
    ):
        return known
    raise claims.ClaimError(
        f"received {target}, which does not tell how runs ended: {str(known)[:200]}.\n"
        'expected: {"long": true, "steps": {"recipes": {"code": 0, "seconds": 9}}}\n'
        "try: to remove it"
    )


def run_all(chosen: Iterable[Step], results: Path, *, small: bool) -> bool:
    """Run all of *chosen* and write how each ended as soon as it has: whether none failed.

    Raises ``ClaimError`` before the first where the file to write into is not as we write it.
    """
    target = results / f"{claims.RUNS}.json"
    known = known_runs(target)
    # Of one form, not of both.
    ended = known["steps"] if known["long"] != small else {}
    failed = []
    for step in chosen:
        if small and not step.small:
            print(f"\n== {step.name}: left out of the small form", flush=True)
            continue
        print(f"\n== {step.name}: {step.title}{', but small' * small}", flush=True)
        ended[step.name] = run(step, results, small=small)
        if ended[step.name]["code"]:
            failed.append(step.name)
        document = {"name": claims.RUNS, "long": not small, "steps": dict(sorted(ended.items()))}
        target.write_text(json.dumps(document, indent=2) + "\n")
    if failed:
        print(f"\nerror: failed: {', '.join(failed)}", file=sys.stderr)
    return not failed


def fill_pages() -> bool:
    """Fill the pages with what was measured: whether it could be done."""
    print("\n== the pages", flush=True)
    command = [sys.executable, "-m", "tools.pages"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked.  Exit codes as in ``--help``."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.long_forms",
        description=(__doc__ or "").partition("\n")[0],
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="STEP", help="default: all")
    parser.add_argument("--list", action="store_true", help="list the steps")
    parser.add_argument("--small", action="store_true", help="short and small: needs --results")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    options = parser.parse_args(arguments)
    results: Path = options.results.resolve()
    known = {step.name: step for step in steps(results)}
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"received {', '.join(unknown)}; expected: {', '.join(known)}")
    if options.small and results == RESULTS:
        parser.error("received --small alone; expected --results DIR: it proves nothing")
    if results.exists() and not results.is_dir():
        parser.error(f"received --results {results}; expected a folder, or a name that is free")
    if options.list:
        print("\n".join(f"{step.name:18} {step.title}" for step in known.values()))
        return 0
    results.mkdir(parents=True, exist_ok=True)
    chosen = [step for step in known.values() if not options.names or step.name in options.names]
    try:
        ran = run_all(chosen, results, small=options.small)
    except claims.ClaimError as error:
        print(f"long_forms: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("long_forms: interrupted; what has ended is kept", file=sys.stderr)
        return 130
    filled = results != RESULTS or fill_pages()
    print("\n== what is claimed, and what was measured", flush=True)
    told = claims.main(["--results", str(results)])
    return told or (0 if ran and filled else 1)


if __name__ == "__main__":
    sys.exit(main())
