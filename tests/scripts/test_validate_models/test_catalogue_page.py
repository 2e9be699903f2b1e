"""The catalogue names every rule, with its marks, and none that is not there."""

from __future__ import annotations

import re

import pytest

from tests.scripts.test_validate_models.samples import ROOT

# isort: split
from validate_models.core import Rule, all_rules  # the script's folder: see samples.py

PAGE = (ROOT / "references" / "validating-models-catalogue.md").read_text()
NAMED = re.compile(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`(?: \(([a-z, -]+)\))?")


def cells(page: str) -> list[str]:
    """The right-hand column of every table."""
    return re.findall(r"^\| (?!elsewhere|fault|change)[^|]+ \| (.+) \|$", page, re.M)


def marks(rule: Rule) -> str:
    """What stands behind the name of *rule*."""
    told = (("live", rule.live), ("opt-in", not rule.default))
    return ", ".join(word for word, holds in told if holds)


def faults(page: str) -> list[str]:
    """What is wrong with the tables."""
    named = [match for cell in cells(page) for match in NAMED.findall(cell)]
    rules = all_rules()
    found = [f"no rule {name}" for name, _ in named if name not in rules]
    found += [f"no row of {name}" for name in rules if name not in dict(named)]
    found += [
        f"{name} is marked ({mark})"
        for name, mark in named
        if name in rules and mark != marks(rules[name])
    ]
    empty = (cell for cell in cells(page) if not NAMED.search(cell) and "refused: " not in cell)
    return found + [f"neither a rule nor a reason: {cell}" for cell in empty]


def test_every_rule_has_its_row_and_every_row_its_rule_or_reason() -> None:
    assert len(cells(PAGE)) > 60
    assert faults(PAGE) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("`float-money`", "`floating-money`", "no rule floating-money"),
        ("`float-money`", "", "no row of float-money"),
        ("`char-type` (opt-in)", "`char-type`", "char-type is marked ()"),
        ("`three-state-boolean`", "yes", "neither a rule nor a reason: yes"),
    ],
)
def test_what_is_wrong_is_seen(old: str, new: str, fault: str) -> None:
    assert PAGE.count(old) >= 1
    assert fault in faults(PAGE.replace(old, new))
