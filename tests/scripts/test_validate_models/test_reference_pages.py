"""Every rule is told on its family's page, and the commands on the pages are right."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from textwrap import dedent
from typing import Any

import pytest

from tests.pages.blocks import anchors_of
from tests.scripts.test_validate_models.samples import ROOT

# isort: split
from validate_models.core import Rule  # the script's folder: see samples.py

from tools.pages import in_markdown, linter_rules, messages_of, rule_in_full, rule_page

REFERENCES = ROOT / "references"
INDEX = (REFERENCES / "validating-models.md").read_text()
CI = (REFERENCES / "validating-models-ci.md").read_text()
FAMILIES = linter_rules()
RULES = [rule for members in FAMILIES.values() for rule in members]


def section(rule: Rule) -> str:
    """What its family's page says of *rule*."""
    page = (REFERENCES / rule_page(rule.family)).read_text()
    return page.partition(f"\n## {rule.name}\n")[2].partition("\n## ")[0]


def row_of(family: str) -> str:
    """The row of the index on *family*."""
    return next(line for line in INDEX.splitlines() if line.startswith(f"| [{family}]("))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_stands_on_its_page(rule: Rule) -> None:
    """With the link that findings carry, and the index leads to it."""
    page = (REFERENCES / rule_page(rule.family)).read_text()
    assert rule.name in anchors_of(page)
    assert f"`{rule.name}`" in row_of(rule.family)
    told = section(rule)
    assert told.lstrip().startswith(f"*{rule.severity}")
    assert ("opt-in" in told.split("*")[1]) is not rule.default
    assert f"({rule.url})" in told
    assert "# found" in told
    assert told.index("**Wrong**: `") < told.index("**Right**")


def test_the_index_names_no_rule_that_is_gone() -> None:
    told = [name for family in FAMILIES for name in re.findall(r"`([\w-]+)`", row_of(family))]
    assert sorted(told) == sorted(rule.name for rule in RULES)


def test_a_page_has_no_rule_that_is_gone() -> None:
    for family, members in FAMILIES.items():
        generated = (REFERENCES / rule_page(family)).read_text().partition("[[[cog rules(")[2]
        assert re.findall(r"^## (.+)$", generated, re.M) == [rule.name for rule in members]


@pytest.mark.parametrize("command", re.findall(r"(?:entry|- run): (python .+)$", CI, re.M))
def test_the_commands_of_the_hook_and_the_workflow_run(command: str) -> None:
    """On the kit's own models, which pass."""
    assert command.count(" app.models") == 1
    words = command.partition(" > ")[0].replace(" app.models", " examples.models").split()
    result = subprocess.run(
        [sys.executable, *words[1:]], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert (result.returncode, "Traceback" in result.stderr) == (0, False)


def shown_in(output_format: str) -> dict[str, Any]:
    """The document that the page shows."""
    text = CI.partition(f"`--output-format {output_format}`:\n\n")[2].partition("\n<!--")[0]
    found: dict[str, Any] = json.loads(dedent(text))
    return found


def test_the_samples_of_the_formats_are_whole() -> None:
    (finding,) = shown_in("json")["findings"]
    (result,) = shown_in("sarif")["runs"][0]["results"]
    assert result["partialFingerprints"] == {"validateModels/v1": finding["fingerprint"]}
    assert finding["url"] in INDEX, "the same finding as there"


# --- Seeded faults --------------------------------------------------------------------------------


def rule_named(name: str) -> Rule:
    """A rule by its name."""
    return next(rule for rule in RULES if rule.name == name)


def test_a_bad_sample_that_is_good_gives_no_page() -> None:
    rule = rule_named("float-money")
    with pytest.raises(LookupError, match="float-money finds nothing"):
        messages_of(dataclasses.replace(rule, bad=rule.good))


def test_what_changes_from_run_to_run_is_left_out() -> None:
    assert messages_of(rule_named("import-time-default")) == [
        "default is the fixed value …, made by the import"
    ]


def test_a_key_is_shown_where_it_is_the_point() -> None:
    key = "id: Mapped[int] = mapped_column(primary_key=True)"
    assert key not in rule_in_full(rule_named("float-money"))
    assert "id: Mapped[int] = mapped_column(Integer" in rule_in_full(rule_named("int4-key"))
    assert key in rule_in_full(rule_named("self-reference-without-remote-side"))


def test_code_and_prose_of_a_fix() -> None:
    assert in_markdown("    a = 1\nor __b__.") == "\n\n    a = 1\n\nor \\_\\_b\\_\\_."
    assert in_markdown("Say:\n    a = 1\n    b = 2") == " Say:\n\n    a = 1\n    b = 2"
