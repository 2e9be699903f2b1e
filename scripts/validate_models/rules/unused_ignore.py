"""An ignore comment that ignores nothing."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import Hit, Project, Rule, all_rules


def check(project: Project) -> Iterator[Hit]:
    """Comments that name no rule, or one that was asked and found nothing at their place."""
    known = all_rules()
    for ignore in project.ignores():
        for name in ignore.rules:
            if name not in known:
                fault = f"{name} is no rule"
            elif name in project.asked and name not in ignore.used and name != RULE.name:
                fault = f"{name} is not ignored here: it finds nothing, or the reason is missing"
            else:
                continue
            yield Hit(fault, mapper=ignore.mapper, item=name, place=ignore.place)


RULE = Rule(
    name="unused-ignore",
    severity="warning",
    family="names",
    title="An ignore comment that ignores nothing",
    why="Its name is misspelt, or what it excused is gone; the next fault on that line would pass "
    "unseen. Only rules that were asked are judged, and only where every model was configured.",
    fix="Remove the comment, or write the name that --list-rules shows.",
    url="https://docs.python.org/3/reference/lexical_analysis.html#comments",
    check=check,
    last=True,
    bad="""
class Reading(Base):
    __tablename__ = "readings"

    id: Mapped[int] = mapped_column(primary_key=True)
    fee: Mapped[Decimal]  # validate-models: ignore[flaot-money] the bank speaks floats  # found
""",
    good="""
class Reading(Base):
    __tablename__ = "readings"

    id: Mapped[int] = mapped_column(primary_key=True)
    fee: Mapped[float]  # validate-models: ignore[float-money] the bank speaks floats
""",
    near_miss="""
class Reading(Base):
    __tablename__ = "readings"

    id: Mapped[int] = mapped_column(primary_key=True)
    # A string is no comment.
    note: Mapped[str] = mapped_column(default="# validate-models: ignore[nothing] at all")
""",
)
