"""Every rule finds its bad sample at the right line, and leaves every good one alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.scripts.test_validate_models.samples import forget, marked_lines, write_sample

# isort: split
from validate_models.api import Outcome, run  # the script's folder: see samples.py
from validate_models.core import SEVERITIES, Rule, all_rules

RULES = list(all_rules().values())
OFFLINE = [rule for rule in RULES if not rule.live]  # the others: test_live.py
# Habits of a house: well-kept models, and our samples, may have others.
TASTE = {
    "all-nullable-table",
    "client-only-default",
    "column-padding",
    "missing-comment",
    "missing-ondelete",
    "missing-timestamps",
    "natural-key",
    "serial-key",
    "single-column-table",
    "untracked-mutable",
}


def ask(
    folder: Path, sample: str, select: str, ignore: Iterable[str] = ()
) -> tuple[Outcome, list[int]]:
    """What *select* finds in *sample*, as of an asyncio project; and the lines that are marked."""
    path = write_sample(folder, sample)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what SQLAlchemy says of bad samples by itself
            outcome = run([str(path)], select=[select], ignore=ignore, asyncio=True, root=folder)
    finally:
        forget(path.stem)
    return outcome, marked_lines(path.read_text())


@pytest.mark.parametrize("rule", OFFLINE, ids=lambda rule: rule.name)
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
    """Every rule is silent on it, the opt-in ones and those of asyncio too; not those of taste."""
    outcome, _ = ask(tmp_path, sample, "all", TASTE - {rule.name})
    assert outcome.problems == []
    assert [str(item) for item in outcome.findings] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_is_told_in_full(rule: Rule) -> None:
    assert rule.severity in SEVERITIES
    assert rule.url.startswith("https://")
    for text in (rule.title, rule.why, rule.fix):
        assert text.strip()
    assert "# found" not in rule.good + rule.near_miss


TICKET = """
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
"""
# What the near misses of the rules have no room for.
ALONE = {
    "a foreign key to what could not be imported": (
        TICKET
        + """    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)


raise RuntimeError("after it")
""",
        "unresolved-foreign-key",
    ),
    "a class that could not be made": (
        TICKET
        + """    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_abstract": True}


class Incident(Ticket):
    cause: Mapped[str] = mapped_column(use_existing_column=True)
    __mapper_args__ = {"polymorphic_identity": "incident"}


class Question(Ticket):
    __tablename__ = "questions"

    id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), primary_key=True)
    cause: Mapped[str] = mapped_column(use_existing_column=True)
    __mapper_args__ = {"polymorphic_identity": "question"}
""",
        "broken-mapper",
    ),
    "one index for each of two servers": (
        TICKET
        + """    title: Mapped[str]

    __table_args__ = (
        Index("ix_title", "title", postgresql_using="hash").ddl_if(dialect="postgresql"),
        Index("ix_title", "title").ddl_if(dialect="sqlite"),
    )
""",
        "duplicate-name",
    ),
    "an enumeration that is made elsewhere": (
        """
from sqlalchemy.dialects.postgresql import ENUM

"""
        + TICKET
        + """    kind: Mapped[str] = mapped_column(Enum("a", "b", name="kind"))
    some: Mapped[str] = mapped_column(ENUM("a", name="kind", create_type=False))
""",
        "duplicate-name",
    ),
    "a proxy over what the subclasses have": (
        """
from sqlalchemy.ext.associationproxy import association_proxy

"""
        + TICKET
        + """    kind: Mapped[str]
    names = association_proxy("files", "id")
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_abstract": True}


class Incident(Ticket):
    files: Mapped[list["File"]] = relationship(viewonly=True)
    __mapper_args__ = {"polymorphic_identity": "incident"}


class File(Base):
    __tablename__ = "files"

    id: Mapped[int] = mapped_column(primary_key=True)
    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"), index=True)
""",
        "broken-association-proxy",
    ),
}


@pytest.mark.parametrize("name", ALONE)
def test_what_cannot_be_told_is_left_alone(name: str, tmp_path: Path) -> None:
    sample, rule = ALONE[name]
    outcome, _ = ask(tmp_path, sample, rule)
    assert [str(item) for item in outcome.findings] == []
    assert len(outcome.problems) == ("could not" in name)


@pytest.mark.parametrize("name", list(ALONE)[2:])
def test_a_change_to_it_is_found(name: str, tmp_path: Path) -> None:
    sample, rule = ALONE[name]
    for old, new in (
        ('.ddl_if(dialect="sqlite")', ""),
        ('.ddl_if(dialect="postgresql")', ""),
        (", create_type=False", ""),
        ("    files: Mapped", "    papers: Mapped"),
    ):
        sample = sample.replace(old, new)
    outcome, _ = ask(tmp_path, sample, rule)
    assert [item.rule for item in outcome.findings] == [rule]


def test_what_is_a_matter_of_taste_must_be_asked_for() -> None:
    told = {rule.name: (rule.default, rule.severity) for rule in RULES if rule.name in TASTE}
    assert told == dict.fromkeys(TASTE, (False, "info"))


def test_there_are_the_rules_of_the_issue() -> None:
    assert len(RULES) >= 40
