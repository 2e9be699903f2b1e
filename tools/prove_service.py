"""The long forms of the service's tests, run once and written down.

``python -m tools.prove_service`` lets 500 clients go away, makes 5,000 generated requests, and
sends 4 processes x 500 transactions through PgBouncer, for each driver.  It writes
``benchmarks/results/prove_service.json``: how many there were, and how many failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "prove_service.json"
LONG = {"PROVE_LEAVING_CLIENTS": "500", "PROVE_REQUESTS": "5000", "SOE_POOLED": "4x500"}
PACKAGES = (
    *("sqlalchemy", "asyncpg", "psycopg", "psycopg2-binary"),
    *("fastapi", "starlette", "uvicorn", "schemathesis"),
)
# Test: what it does, and the property in which it reports how often.
FORMS = {
    "test_clients_that_go_away_at_any_moment": ("clients that go away", "clients"),
    "test_generated_requests_break_nothing": ("generated requests", "requests"),
    "test_many_processes_through_pgbouncer": ("transactions by PgBouncer", "transactions"),
}
TESTS = ("tests/examples/test_fastapi_app", "tests/examples/test_connection_pooling.py")
POSTGRESQL = re.compile(r"^postgresql: provider \S+, version (\S+)", re.MULTILINE)
PGBOUNCER = re.compile(r"^PgBouncer (\S+)", re.MULTILINE)


def run_tests(report: Path, sizes: dict[str, str]) -> str:
    """Run them, all to the end; *report* tells what happened.  Returns what pytest printed."""
    command = [
        # xunit1: the newer form has no properties of a test.
        *(sys.executable, "-m", "pytest", "-o", "junit_family=xunit1", f"--junitxml={report}"),
        *("-k", " or ".join(FORMS), *TESTS),
    ]
    told = []
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | sizes, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            told.append(line)
    return "".join(told)


def outcomes(report: Path) -> list[dict[str, Any]]:
    """How many of each form, by case, and how many failures.  Raises ``ValueError`` without one.

    A failure is a test that failed, or each error that it counted itself.
    """
    found = []
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it
        name, _, driver = case.get("name", "").rstrip("]").partition("[")
        if name not in FORMS or case.find("skipped") is not None:
            continue
        title, unit = FORMS[name]
        counted = {unit: 0, "errors": 0}
        for each in case.iter("property"):
            key = each.get("name", "")
            counted[key] = counted.get(key, 0) + int(each.get("value", "0"))
        failed = any(case.find(kind) is not None for kind in ("failure", "error"))
        found.append(
            {
                "form": title,
                "case": driver or "asyncpg",  # the service's default
                "done": counted[unit],
                "failures": max(counted["errors"], int(failed)),
            }
        )
    if missing := {title for title, _ in FORMS.values()} - {each["form"] for each in found}:
        raise ValueError(f"received {report} without {', '.join(sorted(missing))}")
    return sorted(found, key=lambda each: (each["form"], each["case"]))


def versions(told: str) -> dict[str, str]:
    """What was run: the server, the pooler, and the packages."""
    # Debian's package puts it where an ordinary user's PATH does not look.
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise FileNotFoundError("received no pgbouncer; expected Debian's package")
    pooler = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
    servers = {"postgresql": POSTGRESQL.search(told), "pgbouncer": PGBOUNCER.search(pooler.stdout)}
    found = {name: match.group(1) for name, match in servers.items() if match}
    return found | {package: version(package) for package in PACKAGES}


def show(document: dict[str, Any]) -> None:
    """Print it for a person."""
    for each in document["forms"]:
        print(
            f"{each['done']:6,} {each['form']:26} {each['case']:16} {each['failures']:4,} failures"
        )


def main() -> int:
    """Exit 0 when nothing failed, 1 otherwise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--result", type=Path, default=RESULT, help="default: %(default)s")
    parser.add_argument("--small", action="store_true", help="as many as in make test")
    options = parser.parse_args()
    result: Path = options.result
    if options.small and result == RESULT:
        parser.error(
            "received --small alone; expected --result, too: what is kept is of the long form"
        )
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        told = run_tests(report, {} if options.small else LONG)
        forms = outcomes(report)
    document = {"name": "prove_service", "versions": versions(told), "forms": forms}
    show(document)
    result.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return 1 if any(each["failures"] for each in forms) else 0


if __name__ == "__main__":
    sys.exit(main())
