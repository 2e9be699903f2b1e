"""The pages on pitfalls hold all of them, once each; and no known fact is left without one."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.scripts.test_validate_models import samples
from tools.pages import linter_rules
from tools.pitfall_pages import FAMILIES, in_index, marks, pitfalls, symptoms

ROOT = Path(__file__).resolve().parent.parent.parent
REFERENCES = ROOT / "references"
DATA = ROOT / "tests" / "data" / "pitfalls"
SLUGS = sorted(path.stem for path in (ROOT / "examples" / "pitfalls").glob("[!_]*.py"))
# Of these a test alone is not enough: a pitfall teaches them, or the entry says why none does.
TAUGHT = {f"D{number:02}" for number in range(1, 52)}
# What was found out before: defects, what users ask, what 2.1 changed, its further traps.
KNOWN = {
    *(f"D{number:02}" for number in range(1, 55)),
    *(f"Q{number}" for number in range(1, 11)),
    *(f"2.1.{number}" for number in range(1, 18)),
    *(f"2.7.{number}" for number in range(1, 8)),
}
pytestmark = pytest.mark.once
parametrize = pytest.mark.parametrize


def pages_with(slug: str, pages: dict[str, str]) -> list[str]:
    """The pages on pitfalls, by name, that show that one."""
    link = f"(../examples/pitfalls/{slug}.py)"
    return [name for name, text in pages.items() for _ in range(text.count(link))]


def family_pages() -> dict[str, str]:
    """The text of each page on a family."""
    return {page.name: page.read_text() for page in REFERENCES.glob("pitfalls-*.md")}


@parametrize("slug", SLUGS)
def test_a_pitfall_says_what_it_is(slug: str) -> None:
    module = pitfalls()[slug]
    title, blank, why = (module.__doc__ or "").strip().partition("\n\n")
    assert module.FAMILY in FAMILIES
    assert title
    assert "\n" not in title
    assert not title.endswith(".")
    assert blank
    assert why.strip()
    name, url = module.SOURCE
    assert name
    assert url.startswith("https://")


@parametrize("slug", SLUGS)
def test_a_pitfall_stands_on_the_page_of_its_family_alone(slug: str) -> None:
    family = pitfalls()[slug].FAMILY
    assert pages_with(slug, family_pages()) == [f"pitfalls-{family}.md"]


@parametrize("slug", SLUGS)
def test_the_index_holds_every_symptom(slug: str) -> None:
    index = (REFERENCES / "pitfalls.md").read_text()
    for symptom in symptoms(pitfalls()[slug]):
        (row,) = [line for line in index.splitlines() if in_index(symptom) in line]
        assert f"[{pitfalls()[slug].FAMILY}]" in row


@parametrize("slug", SLUGS)
def test_the_index_and_the_page_hold_what_else_is_said(slug: str) -> None:
    index, family = (REFERENCES / "pitfalls.md").read_text(), pitfalls()[slug].FAMILY
    for words in getattr(pitfalls()[slug], "SAYS", ()):
        assert f"| `{words}` | [{family}] |" in index
        assert f"`{words}`" in (pitfalls()[slug].__doc__ or "")


def test_the_index_names_every_page() -> None:
    index = (REFERENCES / "pitfalls.md").read_text().splitlines()
    for family in FAMILIES:
        assert f"[{family}]: pitfalls-{family}.md" in index
        assert [line for line in index if line.startswith(f"| [{family}] |")]
    assert set(family_pages()) == {f"pitfalls-{family}.md" for family in FAMILIES}


def test_a_pitfall_on_two_pages_or_none_is_seen() -> None:
    link = "[`a.py`](../examples/pitfalls/a.py)"
    assert pages_with("a", {"x.md": link, "y.md": link}) == ["x.md", "y.md"]
    assert pages_with("a", {"x.md": link + link}) == ["x.md", "x.md"]
    assert pages_with("b", {"x.md": link}) == []


# --- The linter's rule ----------------------------------------------------------------------------


def models_in(source: str, side: str) -> str | None:
    """The module that the classes within *side* would make; None where it has none."""
    tree = ast.parse(source)
    function = next(node for node in tree.body if getattr(node, "name", None) == side)
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    if not any(isinstance(node, ast.ClassDef) for node in function.body):
        return None
    above: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            # Two dots lead to the examples; one, to the symptom, which is not needed.
            if node.level == 1:
                continue
            node.module, node.level = f"examples.{node.module}", 0
        if isinstance(node, ast.Import | ast.ImportFrom | ast.ClassDef):
            above.append(node)
    within = [
        node
        for node in function.body
        if isinstance(node, ast.ClassDef | ast.Assign | ast.AnnAssign)
    ]
    within = within[: 1 + max(i for i, node in enumerate(within) if isinstance(node, ast.ClassDef))]
    return ast.unparse(ast.Module([*above, *within], []))


def findings(rule: str, models: str, folder: Path, *, selected: bool = True) -> list[str]:
    """What *rule* says of *models*: it alone, or among those that nobody has to select."""
    from validate_models import api  # samples has put the scripts into the path

    path = folder / f"pitfall_{uuid4().hex}.py"
    path.write_text(models)
    kept = list(sys.path)
    try:
        select = [rule] if selected else []
        outcome = api.run([str(path)], select=select, asyncio=True, root=folder)
    finally:
        samples.forget(path.stem)
        sys.path[:] = kept
    assert outcome.problems == []
    return [finding.message for finding in outcome.findings if finding.rule == rule]


def with_rule() -> list[str]:
    """The pitfalls that a rule of the linter finds."""
    folder = ROOT / "examples" / "pitfalls"
    return [slug for slug in SLUGS if "\nRULE = " in (folder / f"{slug}.py").read_text()]


# They have no class on the wrong side to show to the rule: its own samples prove that it finds one.
NO_MODELS = {
    "computed_without_persisted": "a temporary table of Core",
    "deleted_row_keeps_its_name": "a temporary table of Core",
    "float_money": "a temporary table of Core",
    "json_changed_in_place": "the desk's own model, on both sides",
}


def faults_of_rule(rule: str, source: str, folder: Path) -> list[str]:
    """What *rule* gets wrong of a pitfall: it has to find the wrong side, and not the right one."""
    wrong, right = models_in(source, "broken"), models_in(source, "fixed")
    if wrong is None:
        return ["no model on the wrong side"]
    found = []
    if not findings(rule, wrong, folder):
        found.append("does not find the wrong side")
    if right is not None and findings(rule, right, folder):
        found.append("finds the right side")
    return found


@parametrize("slug", with_rule())
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_the_rule_finds_the_wrong_side(slug: str, tmp_path: Path) -> None:
    rule = pitfalls()[slug].RULE
    module = rule.replace("-", "_")
    assert (ROOT / f"scripts/validate_models/rules/{module}.py").is_file()
    source = (ROOT / f"examples/pitfalls/{slug}.py").read_text()
    expected = ["no model on the wrong side"] if slug in NO_MODELS else []
    assert faults_of_rule(rule, source, tmp_path) == expected


@parametrize("slug", with_rule())
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_the_page_says_what_must_be_selected(slug: str, tmp_path: Path) -> None:
    """Of the wrong side where it has a class, else of the rule's own sample."""
    name = pitfalls()[slug].RULE
    source = (ROOT / f"examples/pitfalls/{slug}.py").read_text()
    models = models_in(source, "broken")
    if models is None:
        (rule,) = [rule for rules in linter_rules().values() for rule in rules if rule.name == name]
        models = samples.PRELUDE + rule.bad
    assert findings(name, models, tmp_path)
    found = findings(name, models, tmp_path, selected=False)
    assert bool(found) == ("--select" not in marks(pitfalls()[slug]))


def test_what_no_rule_is_shown_is_still_there() -> None:
    assert set(NO_MODELS) <= set(with_rule())


def test_a_rule_that_finds_nothing_is_seen(tmp_path: Path) -> None:
    """With the sides exchanged, and with the right one twice."""
    source = (ROOT / "examples/pitfalls/python_only_hybrid.py").read_text()
    exchanged = source.replace("def broken(", "def kept(").replace("def fixed(", "def broken(")
    swapped = exchanged.replace("def kept(", "def fixed(")
    rule = "python-only-hybrid"
    assert faults_of_rule(rule, source, tmp_path) == []
    assert faults_of_rule(rule, swapped, tmp_path) == [
        "does not find the wrong side",
        "finds the right side",
    ]
    twice = f"{exchanged}\n\ndef fixed():\n    pass\n"
    assert faults_of_rule(rule, twice, tmp_path) == ["does not find the wrong side"]
    assert faults_of_rule("float-money", "def broken(): 1\ndef fixed(): 1\n", tmp_path) == [
        "no model on the wrong side"
    ]


# --- What became of each fact ---------------------------------------------------------------------


def facts() -> list[dict[str, Any]]:
    """Every entry of every file."""
    return [
        entry
        for path in sorted(DATA.glob("*.toml"))
        for entry in tomllib.loads(path.read_text())["fact"]
    ]


def as_list(value: str | list[str]) -> list[str]:
    """One, or many."""
    return [value] if isinstance(value, str) else value


def faults_of(entry: dict[str, Any]) -> list[str]:
    """What is wrong with an entry: it leads to a pitfall or test that exists, or is refused."""
    found = []
    if entry.get("id") not in KNOWN:
        found.append(f"no such fact: {entry.get('id')}")
    if not entry.get("what") or "\n" in entry["what"]:
        found.append("what: one line")
    if unknown := set(entry) - {"id", "what", "pitfall", "test", "refused"}:
        found.append(f"unknown keys: {sorted(unknown)}")
    if not {"pitfall", "test", "refused"} & set(entry):
        found.append("neither pitfall nor test nor refused")
    elif entry.get("id") in TAUGHT and not {"pitfall", "refused"} & set(entry):
        found.append("neither pitfall nor refused")
    found += [f"no pitfall {s}" for s in as_list(entry.get("pitfall", [])) if s not in SLUGS]
    found += [f"no test {node}" for node in as_list(entry.get("test", [])) if not is_test(node)]
    if "refused" in entry and len(entry["refused"]) < 20:
        found.append("refused: say why")
    return found


def is_test(node: str) -> bool:
    """Whether *node* names a test function of a file that exists."""
    path, _, name = node.partition("::")
    name = name.rpartition("::")[2].partition("[")[0]
    if not name.startswith("test_") or not (ROOT / path).is_file():
        return False
    pattern = rf"^\s*(async )?def {re.escape(name)}\("
    return bool(re.search(pattern, (ROOT / path).read_text(), re.MULTILINE))


@parametrize("entry", facts(), ids=lambda entry: str(entry.get("id")))
def test_a_fact_leads_somewhere(entry: dict[str, Any]) -> None:
    assert faults_of(entry) == []


def test_no_fact_is_forgotten_or_told_twice() -> None:
    told = [entry["id"] for entry in facts()]
    assert sorted(KNOWN - set(told)) == []
    assert sorted({name for name in told if told.count(name) > 1}) == []


@parametrize(
    ("changed", "fault"),
    [
        ({"id": "D99"}, "no such fact: D99"),
        ({"pitfall": "gone"}, "no pitfall gone"),
        ({"test": "tests/pages/test_pitfall_pages.py::test_gone"}, "no test "),
        ({"test": "tests/gone.py::test_gone"}, "no test "),
        ({"refused": "no"}, "refused: say why"),
        ({"what": ""}, "what: one line"),
        ({"pitfal": "x"}, "unknown keys: ['pitfal']"),
    ],
)
def test_a_wrong_entry_is_seen(changed: dict[str, str], fault: str) -> None:
    right = {
        "id": "D01",
        "what": "a line",
        "pitfall": "stale_select",
        "test": "tests/pages/test_pitfall_pages.py::test_a_wrong_entry_is_seen",
    }
    assert faults_of(right) == []
    (found,) = faults_of(right | changed)
    assert found.startswith(fault)
    assert faults_of({"id": "D01", "what": "a line"}) == ["neither pitfall nor test nor refused"]
    only_a_test = {key: right[key] for key in ("id", "what", "test")}
    assert faults_of(only_a_test) == ["neither pitfall nor refused"]
    assert faults_of(only_a_test | {"id": "D52"}) == []
