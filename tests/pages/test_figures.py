"""What a page says by hand of versions, counts, paths and commands is so."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.pages.test_pages import PAGES

ROOT = Path(__file__).resolve().parent.parent.parent
GENERATED = re.compile(r"<!-- \[\[\[cog.*?<!-- \[\[\[end\]\]\] -->", re.DOTALL)
# What is counted here: such a number is generated, since the next change makes it false.
THINGS = "claims|demos|items|modules|pages|pitfalls|recipes|rules|suites|tests"
NUMBER = r"\d[\d,]*|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|a dozen"
COUNT = re.compile(rf"(?<![-\w.])(?:{NUMBER}) (?:{THINGS})\b", re.IGNORECASE)
SQLALCHEMY = re.compile(r"(?<![\w.])(?<!SARIF )2\.[01]\.\d+\b")
LOWEST = re.compile(r"(Python|PostgreSQL) (\d[\d.]*) or newer")
IN_CODE = re.compile(r"`([^`\n]+)`")
FOLDERS = "examples|scripts|references|tests|tools|benchmarks|evals"
PATH = re.compile(rf"(?<![\w./<])(?:{FOLDERS})/[\w./*-]*\w/?")
# A release in which something changed, and the test that shows both sides.
CHANGED_IN = {"2.0.42": "test_subscripts_of_hstore"}


def by_hand(page: Path) -> str:
    """The text of *page* that nothing generates."""
    return GENERATED.sub("", page.read_text())


def pins() -> set[str]:
    """The releases of SQLAlchemy that are tested."""
    found = "\n".join(path.read_text() for path in (ROOT / "constraints").glob("*.txt"))
    return set(re.findall(r"^sqlalchemy==(\S+)$", found, re.MULTILINE | re.IGNORECASE))


def lowest() -> dict[str, str]:
    """The lowest Python and PostgreSQL that are tested."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ci = (ROOT / ".ci" / "run").read_text()
    majors = re.findall(r"^contained (\d+) ", ci, re.MULTILINE)
    return {"Python": project["requires-python"].removeprefix(">="), "PostgreSQL": min(majors)}


def false_versions(text: str) -> list[str]:
    """The versions in *text* that no run stands for."""
    found = [each for each in SQLALCHEMY.findall(text) if each not in pins() | set(CHANGED_IN)]
    return found + [
        f"{name} {version}"
        for name, version in LOWEST.findall(text)
        if version.rstrip(".") != lowest()[name]
    ]


def false_paths(text: str) -> list[str]:
    """The files of the house that *text* names in code, and that are not there."""
    named = [path for code in IN_CODE.findall(text) for path in PATH.findall(code)]
    return [path for path in named if not any(ROOT.glob(path.rstrip("/")))]


def false_targets(text: str) -> list[str]:
    """The ``make`` targets that *text* names in code, and that are not there."""
    known = re.findall(r"^([a-z0-9.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    fenced = re.findall(r"^make ([a-z][a-z0-9.-]*)", text, re.MULTILINE)
    named = [word for code in IN_CODE.findall(text) for word in re.findall(r"^make (\S+)", code)]
    return [word for word in fenced + named if word not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_says_what_is_so(page: Path) -> None:
    text = by_hand(page)
    assert COUNT.findall(text) == []
    assert false_versions(text) == []
    assert false_paths(page.read_text()) == []
    assert false_targets(text) == []


def test_a_release_in_which_something_changed_has_its_test() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").glob("test_upgrading*.py"))
    assert [name for name in CHANGED_IN.values() if f"def {name}(" not in tests] == []


# Seeded faults: what turns the gate red.


@pytest.mark.parametrize("text", ["It has 92 rules.", "Read all fifty-one; seven recipes help."])
def test_a_count_by_hand_is_red(text: str) -> None:
    assert len(COUNT.findall(text)) == 1


@pytest.mark.parametrize("text", ["on 2.0.35", "2.1.0 is tested", "Python 3.10 or newer."])
def test_a_version_that_no_run_stands_for_is_red(text: str) -> None:
    assert len(false_versions(text)) == 1


def test_versions_that_runs_stand_for_are_not() -> None:
    assert len(pins()) == 3
    told = " ".join(
        [*pins(), *(f"{name} {version} or newer" for name, version in lowest().items())]
    )
    assert false_versions(told) == []


def test_a_path_that_is_not_there_is_red() -> None:
    assert false_paths("`examples/gone.py` and `examples/models.py`") == ["examples/gone.py"]


def test_a_target_that_is_not_there_is_red() -> None:
    assert false_targets("```sh\nmake everything\n```\n`make tset`, `make test`") == [
        "everything",
        "tset",
    ]
