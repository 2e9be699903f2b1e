"""Every finding in real projects was judged by a reader, and at least 95 of 100 are right.

``python -m tests.real_projects`` finds them again.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.real_projects import PROJECTS, VERDICTS, verdicts_of
from tests.real_projects import SCRIPT as RUN
from tests.scripts.test_validate_models.samples import SCRIPT

# isort: split
from validate_models.core import SEVERITIES, all_rules

SHARE = 0.95
FIRST = ("prefect", "argilla-server", "aiida-core")  # the others came later, and are larger
FIELDS = {
    "fingerprint",
    "rule",
    "severity",
    "table",
    "attribute",
    "place",
    "message",
    "verdict",
    "reason",
}


def judged(name: str) -> dict[str, Any]:
    """The committed file of *name*."""
    found: dict[str, Any] = json.loads((VERDICTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def test_the_projects_are_those_of_the_script() -> None:
    assert RUN == SCRIPT
    assert {path.stem for path in VERDICTS.glob("*.json")} == set(PROJECTS)
    assert len(PROJECTS) >= 5
    for name, project in PROJECTS.items():
        data = judged(name)
        assert data["project"] == name
        assert project.requirements == (
            f"{name}=={data['version']}",
            f"sqlalchemy=={data['sqlalchemy']}",
        )


@pytest.mark.parametrize("name", PROJECTS)
def test_every_finding_has_its_verdict(name: str) -> None:
    data = judged(name)
    assert data["findings"]
    for item in data["findings"]:
        assert set(item) == FIELDS
        assert item["verdict"] in {"right", "debatable"}, item  # what is wrong is mended
        assert item["severity"] in SEVERITIES
        assert item["place"].rpartition(":")[0].startswith(PROJECTS[name].package + "/")
        if item["reason"] == "by the criterion of the rule":
            assert len(data["criteria"][item["rule"]]) > 40
        else:
            assert len(item["reason"]) > 20
    assert len(verdicts_of(name)) == len(data["findings"])  # fingerprints are unique


def test_the_rules_are_still_there() -> None:
    rules = all_rules()
    for name in PROJECTS:
        for item in judged(name)["findings"]:
            assert rules[item["rule"]].default, item


@pytest.mark.parametrize(("names", "least"), [(tuple(PROJECTS), 400), (FIRST, 140)])
def test_at_least_95_of_100_are_right(names: tuple[str, ...], least: int) -> None:
    verdicts = [item["verdict"] for name in names for item in judged(name)["findings"]]
    assert len(verdicts) >= least
    assert verdicts.count("right") / len(verdicts) >= SHARE
