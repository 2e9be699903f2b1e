"""The project's own tools: an environment that follows its pins, a skill without marks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import prove
from tools.bootstrap import EXTRAS, fingerprint, requirements
from tools.build_skill import build, without_marks

ROOT = Path(__file__).resolve().parent.parent


def names(text: str) -> set[str]:
    """Package names of requirement or constraint lines, in their normal form."""
    found = re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)", text, re.MULTILINE)
    return {name.lower().replace("_", "-").replace(".", "-") for name in found}


@pytest.mark.parametrize("line", ["2.0", "2.1"])
def test_every_requirement_is_pinned(line: str) -> None:
    pinned = names((ROOT / "constraints" / f"{line}.txt").read_text())
    assert names("\n".join(requirements(list(EXTRAS)))) <= pinned


@pytest.mark.parametrize("line", ["2.0", "2.1"])
def test_the_constraints_pin_their_line(line: str) -> None:
    assert re.search(
        rf"^sqlalchemy=={re.escape(line)}\.\d+$",
        (ROOT / "constraints" / f"{line}.txt").read_text(),
        re.MULTILINE,
    )


def test_constraints_hold_names_and_versions_only() -> None:
    for path in (ROOT / "constraints").glob("*.txt"):
        assert not re.search(r"://|--hash|@ ", path.read_text()), path


def test_the_fingerprint_follows_packages_and_pins(tmp_path: Path) -> None:
    pins = tmp_path / "pins.txt"
    pins.write_text("alembic==1.0\n")
    before = fingerprint(["alembic"], pins)
    assert fingerprint(["alembic"], pins) == before
    assert fingerprint(["alembic", "mako"], pins) != before
    pins.write_text("alembic==1.1\n")
    assert fingerprint(["alembic"], pins) != before


def test_the_marks_of_the_generator_go_and_its_output_stays() -> None:
    page = (
        'Before\n<!-- [[[cog excerpt("a.py", "b") ]]] -->\n```python\nx\n```\n<!-- [[[end]]] -->\n'
    )
    assert without_marks(page) == "Before\n```python\nx\n```\n"


def test_the_built_skill_holds_what_an_agent_needs(tmp_path: Path) -> None:
    skill = build(tmp_path / "sqlalchemy-orm-expert")
    assert sorted(path.name for path in skill.iterdir()) == [
        "AGENTS.md",
        "EXAMPLES.md",
        "LICENSE",
        "SKILL.md",
        "examples",
        "references",
        "scripts",
    ]
    for page in skill.rglob("*.md"):
        assert "[[[" not in page.read_text(), page


def test_the_build_removes_no_foreign_folder(tmp_path: Path) -> None:
    precious = tmp_path / "photos"
    precious.mkdir()
    (precious / "one.jpg").write_text("x")
    with pytest.raises(ValueError, match="no skill folder"):
        build(precious)
    assert (precious / "one.jpg").exists()


def test_make_help_names_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9.-]+):", text, re.MULTILINE))
    result = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert {line.split()[0] for line in result.stdout.splitlines()} == targets
    assert {"demo", "test", "help"} <= targets


def test_an_old_python_gets_one_clear_message(tmp_path: Path) -> None:
    script = tmp_path / "old.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "sys.argv = ['bootstrap.py']\n"
        "from tools import bootstrap\n"
        "sys.version_info = (3, 10, 4)\n"
        "sys.exit(bootstrap.main())\n"
    )
    result = subprocess.run(
        [sys.executable, str(script)], check=False, capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stderr == "error: Python 3.10.4 found, 3.11 or newer needed.\n"


# --- The long form --------------------------------------------------------------------------------

REPORT = """<?xml version="1.0"?>
<testsuites><testsuite>
<testcase classname="tests.examples.test_locking" name="test_one[psycopg-0]"/>
<testcase classname="tests.examples.test_locking" name="test_one[psycopg-1]">
<failure message="x"/></testcase>
<testcase classname="tests.examples.test_locking" name="test_two[0]"><error message="x"/></testcase>
</testsuite></testsuites>
"""


def test_repetitions_are_counted(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    assert prove.outcomes(report, 2) == {
        "name": "repetitions",
        "repetitions": 2,
        "tests": [
            {"test": "test_locking: test_one", "runs": 2, "failures": 1},
            {"test": "test_locking: test_two", "runs": 1, "failures": 1},
        ],
    }


def test_the_committed_repetitions_hold() -> None:
    """What the page quotes: every concurrent test, fifty times a driver, without a failure."""
    document = json.loads(prove.RESULT.read_text())
    assert document["repetitions"] >= 50
    assert len(document["tests"]) >= 20
    for test in document["tests"]:
        assert test["runs"] % document["repetitions"] == 0, test
        assert (test["runs"] > 0, test["failures"]) == (True, 0), test


def test_no_test_is_no_proof(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text("<testsuites><testsuite/></testsuites>")
    with pytest.raises(ValueError, match="without a test"):
        prove.outcomes(report, 50)


def test_each_repetition_has_a_name(pytestconfig: pytest.Config) -> None:
    """Three times the tests that are marked, and the others once."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--repetitions", "3"]
    result = subprocess.run(
        [*command, "-p", "no:schemathesis", "tests/examples/test_events.py"],
        cwd=pytestconfig.rootpath,
        check=True,
        capture_output=True,
        text=True,
    )
    names = re.findall(r"::(test_\S+)", result.stdout)
    repeated = {name for name in names if re.search(r"[\[-]2\]$", name)}
    assert repeated
    for name in repeated:
        for number in range(3):
            assert names.count(re.sub(r"2\]$", f"{number}]", name)) == 1
    assert len(names) > 3 * len(repeated)
