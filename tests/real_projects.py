"""Runs validate-models on models of open projects from PyPI, and compares with the verdicts.

    python -m tests.real_projects                 all of them: some minutes, about 1 GB
    python -m tests.real_projects prefect         one
    python -m tests.real_projects --folder DIR    keeps the environments and the findings there

Each project gets an environment of its own (uv where there is one, else venv and pip) and a copy of
its package outside of it, as in a checkout: what is installed counts as a library's, and is not
judged.  Every finding of the default set stands, with what an independent reader says of it, in
``tests/data/real_projects/PROJECT.json``.  Exit code 1: a crash, or a finding without a verdict.
"""

# ruff: noqa: T201 - it is run by hand
from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "validate-models.py"
VERDICTS = Path(__file__).resolve().parent / "data" / "real_projects"
CONTEXT = 12  # lines of code on either side of a finding, for who judges it


@dataclass(frozen=True)
class Project:
    """What to install, which of its packages to copy, what to validate."""

    requirements: tuple[str, ...]
    package: str
    target: str


PROJECTS = {
    "prefect": Project(
        ("prefect==3.8.8", "sqlalchemy==2.1.9"), "prefect", "prefect.server.database.orm_models"
    ),
    "argilla-server": Project(
        ("argilla-server==2.8.0", "sqlalchemy==2.0.58"), "argilla_server", "argilla_server.models"
    ),
    "aiida-core": Project(
        ("aiida-core==2.9.4", "sqlalchemy==2.1.9"),
        "aiida",
        "aiida.storage.psql_dos.models.base:Base",
    ),
    "apache-airflow-core": Project(
        ("apache-airflow-core==3.3.2", "sqlalchemy==2.1.9"), "airflow", "airflow.models"
    ),
    "neutron": Project(("neutron==29.0.0", "sqlalchemy==2.1.9"), "neutron", "neutron"),
}


def make_environment(folder: Path, requirements: tuple[str, ...]) -> Path:
    """An environment with *requirements*: its interpreter."""
    bin_folder = folder / ("Scripts" if os.name == "nt" else "bin")
    python = bin_folder / "python"
    uv = shutil.which("uv")
    if not python.exists():
        if uv:
            run([uv, "venv", "--quiet", "--python", sys.executable, folder])
        else:
            venv.create(folder, with_pip=True)
    if uv:
        run([uv, "pip", "install", "--quiet", "--python", python, *requirements])
    else:
        run([python, "-m", "pip", "install", "--quiet", *requirements])
    return python


def run(command: list[Any]) -> None:
    """Run *command*.  Raises ``CalledProcessError``."""
    subprocess.run(list(map(str, command)), check=True, stdin=subprocess.DEVNULL)


def copy_package(python: Path, package: str, checkout: Path) -> None:
    """Put *package* of the environment into *checkout*."""
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True)
    shutil.rmtree(checkout, ignore_errors=True)
    shutil.copytree(Path(found.stdout.strip()) / package, checkout / package)


def validate(name: str, folder: Path) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, findings with their code, last line of the report for *name*."""
    project = PROJECTS[name]
    python = make_environment(folder / "environments" / name, project.requirements)
    checkout, home = folder / "checkouts" / name, folder / "homes" / name
    copy_package(python, project.package, checkout)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    command = [python, SCRIPT, project.target, "--root", checkout, "--output-format", "json"]
    ours = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    result = subprocess.run(
        list(map(str, command)),
        check=False,
        cwd=checkout,
        env={**ours, "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
    )
    told = result.stderr.strip().splitlines() or [""]
    if result.returncode not in {0, 1} or "Traceback" in told[-1]:
        print(result.stderr[-4_000:], file=sys.stderr)
    findings = json.loads(result.stdout)["findings"] if result.stdout else []
    for finding in findings:
        finding["code"] = code_of(checkout, finding)
    return result.returncode, findings, told[-1].removeprefix("validate-models: ")


def code_of(checkout: Path, finding: dict[str, Any]) -> list[str]:
    """The lines around *finding*."""
    if not finding["path"]:
        return []
    lines = (checkout / finding["path"]).read_text(encoding="utf-8").splitlines()
    first = max(finding["line"] - CONTEXT, 1)
    around = enumerate(lines[first - 1 : finding["line"] + CONTEXT], first)
    return [f"{number:5} {line}" for number, line in around]


def verdicts_of(name: str) -> dict[str, dict[str, Any]]:
    """The committed verdicts by their fingerprints."""
    path = VERDICTS / f"{name}.json"
    if not path.exists():
        return {}
    judged = json.loads(path.read_text(encoding="utf-8"))
    return {item["fingerprint"]: item for item in judged["findings"]}


def report(name: str, folder: Path) -> bool:
    """Validate *name*, print what came out: whether it ran, and each finding has its verdict."""
    code, findings, summary = validate(name, folder)
    written = folder / f"{name}.json"
    written.write_text(json.dumps(findings, indent=1), encoding="utf-8")
    judged = verdicts_of(name)
    now = {finding["fingerprint"]: finding for finding in findings}
    print(f"{name}: exit code {code}; {summary}")
    for rule, number in sorted(Counter(finding["rule"] for finding in findings).items()):
        print(f"    {number:4} {rule}")
    verdicts = Counter(item["verdict"] for mark, item in judged.items() if mark in now)
    print(f"    verdicts: {dict(verdicts)}; found no more: {len(judged.keys() - now.keys())}")
    new = [finding for mark, finding in now.items() if mark not in judged]
    for finding in new:
        print(f"    without a verdict: {finding['path']}:{finding['line']}: {finding['rule']}")
    print(f"    findings with their code: {written}", flush=True)
    return code in {0, 1} and not new


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("projects", nargs="*", metavar="PROJECT", help=", ".join(PROJECTS))
    parser.add_argument("--folder", type=Path, help="keeps all there; default: a temporary folder")
    options = parser.parse_args()
    if unknown := set(options.projects) - PROJECTS.keys():
        parser.error(f"received {', '.join(sorted(unknown))}; expected: {', '.join(PROJECTS)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        results = [report(name, folder) for name in options.projects or PROJECTS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
