"""What asks to ignore a rule, and ignores nothing: a comment, an ``info``, the configuration."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import Hit, Ignore, Project, Rule, all_rules


def check(project: Project) -> Iterator[Hit]:
    """What names no rule, or one that was asked and found nothing at its place."""
    for ignore in project.ignores():
        faults = {"": ignore.fault} if ignore.fault and not ignore.rules else {}
        faults |= {name: text for name in ignore.rules if (text := fault_of(name, ignore, project))}
        for name, fault in faults.items():
            of_glob = fault == ignore.fault and ignore.where.startswith("per-")
            yield Hit(
                fault,
                fix=GLOB_FIX if of_glob else None,
                url=GLOBS if of_glob else None,
                mapper=ignore.mapper,
                table=ignore.table,
                attribute=ignore.attribute,
                item=f"{ignore.where}: {name}" if ignore.where else name,
                place=ignore.place,
            )


def fault_of(name: str, ignore: Ignore, project: Project) -> str | None:
    """What is wrong with ignoring *name* there; None where it does, or was not asked."""
    rules = all_rules()
    where = f" by {ignore.where}" if ignore.where else " here"
    meant = {name} & rules.keys()
    if ignore.where:  # comments excuse one line of one rule
        meant |= {each for each, rule in rules.items() if name in (rule.family, "all")}
    if not meant:
        return f"{name} is no rule" + (f": {ignore.where}" if ignore.where else "")
    if ignore.fault:  # whatever was asked
        return ignore.fault
    # Of a family, those count that every run asks.
    usual = {
        each
        for each in meant
        if rules[each].default and not rules[each].asyncio and not rules[each].live
    }
    if name in ignore.used or name == RULE.name or not (usual or meant) <= project.asked:
        return None
    return f"{name} is not ignored{where}: it finds nothing"


GLOBS = "https://docs.python.org/3/library/fnmatch.html"
GLOB_FIX = (
    "Remove it, or write the glob as the models have the name: table, schema.table, "
    "Model.attribute or table.column."
)
RULE = Rule(
    name="unused-ignore",
    severity="warning",
    family="names",
    title="An ignore comment, info or setting that ignores nothing",
    why="Its name is misspelt, or what it excused is gone; the next fault there would pass unseen. "
    "Only rules that were asked are judged, only where every model was configured, and the globs "
    "of pyproject.toml only where its own targets ran.",
    fix="Remove it, or write the name that --list-rules shows.",
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
