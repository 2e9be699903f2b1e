"""Every rule finds its bad sample at the right line, and leaves every good one alone."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from tests.scripts.test_validate_models.samples import forget, marked_lines, write_sample

# isort: split
from validate_models.api import Outcome, run  # the script's folder: see samples.py
from validate_models.core import SEVERITIES, Rule, all_rules

RULES = list(all_rules().values())


def ask(folder: Path, sample: str, select: str) -> tuple[Outcome, list[int]]:
    """What *select* finds in *sample*, as of an asyncio project; and the lines that are marked."""
    path = write_sample(folder, sample)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what SQLAlchemy says of bad samples by itself
            outcome = run([str(path)], select=[select], asyncio=True, root=folder)
    finally:
        forget(path.stem)
    return outcome, marked_lines(path.read_text())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_bad_sample_is_found_at_its_lines(rule: Rule, tmp_path: Path) -> None:
    """All rules are asked; what the others find there as well is theirs."""
    outcome, expected = ask(tmp_path, rule.bad, "all")
    assert outcome.problems == []
    assert expected
    findings = [item for item in outcome.findings if item.rule == rule.name]
    assert sorted(item.line or 0 for item in findings) == expected
    assert len({item.fingerprint for item in outcome.findings}) == len(outcome.findings)
    for item in findings:
        assert item.column
        assert item.table or item.model
        assert (item.why, item.url) == (rule.why, rule.url)


@pytest.mark.parametrize(
    ("rule", "sample"),
    [
        pytest.param(rule, sample, id=f"{rule.name}-{kind}")
        for rule in RULES
        for kind, sample in (("good", rule.good), ("near-miss", rule.near_miss))
        if sample
    ],
)
def test_a_good_sample_is_good_for_all_rules(rule: Rule, sample: str, tmp_path: Path) -> None:
    """Every rule is silent on it, the opt-in ones and those of asyncio too."""
    outcome, _ = ask(tmp_path, sample, "all")
    assert outcome.problems == []
    assert [str(item) for item in outcome.findings] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_is_told_in_full(rule: Rule) -> None:
    assert rule.severity in SEVERITIES
    assert rule.url.startswith("https://")
    for text in (rule.title, rule.why, rule.fix):
        assert text.strip()
    assert "# found" not in rule.good + rule.near_miss


def test_there_are_the_rules_of_the_issue() -> None:
    assert len(RULES) >= 40
