"""The checklists hold: every item of the lists is there, and what a row names exists.

That a test is there is what is checked here; the suite that runs this runs it as well.
"""

from __future__ import annotations

import ast
import copy
import functools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pages.blocks import anchors_of
from tools.pages import VERDICTS, checklist, checklist_data, linter_rules, proved

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "references" / "checklists.md"
# How many items each published list has.
LISTS = {"B": 10, "P": 10, "T": 10, "S": 10, "G": 8, "C": 12, "A": 10, "O": 5, "F": 2}
FIELDS = {"do", "items", "verdict", "why", "page", "tests", "rules", "ratios"}


@functools.cache
def functions_of(path: str) -> frozenset[str]:
    """The names of the test functions of a file; none where there is no such file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(
        node.name
        for node in ast.parse(file.read_text()).body
        if isinstance(node, functions) and node.name.startswith("test_")
    )


def faults_of_items(data: dict[str, Any]) -> Iterator[str]:
    """Items of the lists that are left out, made up, or told twice by one row."""
    if data["lists"] != LISTS:
        yield f"lists are {data['lists']}"
    wanted = {f"{letter}{n + 1}" for letter, number in LISTS.items() for n in range(number)}
    named = {item for row in data["row"] for item in row["items"]}
    yield from (f"{item} is missing" for item in sorted(wanted - named))
    yield from (f"{item} is in no list" for item in sorted(named - wanted))
    for row in data["row"]:
        if not row["items"]:
            yield f"{row['do']}: nobody claims it"
        twice = [item for item, number in Counter(row["items"]).items() if number > 1]
        yield from (f"{row['do']}: {item} stands twice" for item in twice)


def faults_of_row(row: dict[str, Any]) -> Iterator[str]:
    """What *row* names and is not there, and what it lacks."""
    if unknown := set(row) - FIELDS:
        yield f"no fields: {sorted(unknown)}"
    if row["verdict"] not in VERDICTS:
        yield f"no verdict: {row['verdict']}"
    if not row["why"].strip():
        yield "no reason"
    named = row.get("tests", [])
    if row["verdict"] in {"proved", "corrected"} and not named:
        yield "no test"
    for test in named:
        path, _, name = test.partition("::")
        if name not in functions_of(path):
            yield f"no test {test}"
    rules = {rule.name for family in linter_rules().values() for rule in family}
    yield from (f"no rule {name}" for name in row.get("rules", []) if name not in rules)
    page, _, anchor = row["page"].partition("#")
    file = PAGE.parent / page
    if not file.is_file() or anchor not in anchors_of(file.read_text()):
        yield f"no place {row['page']}"
    for suite, case in row.get("ratios", []):
        if case not in {each["case"] for each in proved(suite)["cases"]}:
            yield f"no figure {suite}: {case}"


def faults(data: dict[str, Any]) -> list[str]:
    """All that is wrong with the checklists."""
    of_rows = (f"{row['do']}: {fault}" for row in data["row"] for fault in faults_of_row(row))
    return [*faults_of_items(data), *of_rows]


def test_every_item_has_its_verdict_and_its_proof() -> None:
    assert faults(checklist_data()) == []


def test_the_page_is_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    checklist()
    table = capsys.readouterr().out
    assert table.startswith(f"{sum(LISTS.values())} items, ")
    assert table in PAGE.read_text()


def without_item(data: dict[str, Any]) -> None:
    for row in data["row"]:
        row["items"] = [item for item in row["items"] if item != "P9"] or ["B1"]


def changed(**values: Any) -> Callable[[dict[str, Any]], None]:
    """What gives the first row other values."""

    def change(data: dict[str, Any]) -> None:
        data["row"][0].update(values)

    return change


def with_another_list(data: dict[str, Any]) -> None:
    data["lists"]["F"] = 3


HERE = "tests/pages/test_checklists.py"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (without_item, "P9 is missing"),
        (with_another_list, "lists are "),
        (changed(items=["B1", "C1", "A2", "Z1"]), "Z1 is in no list"),
        (changed(items=["B1", "C1", "A2", "B1"]), "B1 stands twice"),
        (changed(verdict="true"), "no verdict: true"),
        (changed(why=" "), "no reason"),
        (changed(tests=[]), "no test"),
        (changed(tests=[f"{HERE}::test_that_is_gone"]), f"no test {HERE}::test_that_is_gone"),
        (changed(tests=["tests/gone.py::test_it"]), "no test tests/gone.py::test_it"),
        (changed(tests=[f"{HERE}::faults"]), f"no test {HERE}::faults"),
        (changed(rules=["no-such-rule"]), "no rule no-such-rule"),
        (changed(page="models.md#gone"), "no place models.md#gone"),
        (changed(page="models.md"), "no place models.md"),
        (changed(page="gone.md#models"), "no place gone.md#models"),
        (changed(ratios=[["eager_loading", "gone"]]), "no figure eager_loading: gone"),
        (changed(test=["x"]), "no fields: ['test']"),
    ],
)
def test_a_fault_is_red(change: Callable[[dict[str, Any]], None], fault: str) -> None:
    data = copy.deepcopy(checklist_data())
    change(data)
    (found,) = faults(data)
    assert fault in found


def test_a_changed_row_is_red(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = checklist_data()
    data["row"][0]["why"] = "otherwise"
    monkeypatch.setattr("tools.pages.checklist_data", lambda: data)
    checklist()
    assert capsys.readouterr().out not in PAGE.read_text()
