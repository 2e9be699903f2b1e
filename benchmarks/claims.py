"""What is claimed beside what was measured: ``python -m benchmarks.claims``.

``claims.toml`` names each claim, its goal, and where in ``results/`` its figure stands.  Nothing is
measured here: ``make prove`` does that.
"""

from __future__ import annotations

import argparse
import json
import operator
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CLAIMS = HERE / "claims.toml"
RESULTS = HERE / "results"
RUNS = "long_forms"  # the result that says how each long form ended
HOLDS, SHORT, UNMEASURED, FAILED = "holds", "falls short", "not measured", "its run failed"
# In the count of the claims: of one, and of several.
COUNTED = {
    HOLDS: (HOLDS, "hold"),
    SHORT: (SHORT, "fall short"),
    UNMEASURED: (UNMEASURED, UNMEASURED),
    FAILED: ("whose run failed", "whose run failed"),
}
SCALES = {"": 1.0, "×": 1.0, "%": 100.0, "ms": 1000.0, "MiB": 1.0}
BOUND = re.compile(r"(<=|>=|=) (\d+(?:\.\d+)?)")
RELATIONS = {
    "<=": (operator.le, "at most"),
    ">=": (operator.ge, "at least"),
    "=": (operator.eq, ""),
}
HELP = """\
examples:
  python -m benchmarks.claims                         every claim, those that do not hold last
  python -m benchmarks.claims --output-format json    the same for a program

exit codes:
  0  all hold, but for those that say why they do not     1  others do not     2  wrong usage
"""


class ClaimError(ValueError):
    """A claim that cannot be looked up: an unknown field, goal or place in a result."""


@dataclass(frozen=True)
class Claim:
    """One entry of ``claims.toml``; what its fields mean stands there."""

    claim: str
    page: str
    by: str
    goal: str
    unit: str = ""
    result: str | tuple[str, ...] = ""
    case: str = ""
    to: str = ""
    figure: str = "median_s"
    at: tuple[Any, ...] = ()
    over: tuple[Any, ...] = ()
    take: str = "only"
    open: str = ""
    held: str = ""


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.  *value* is in its unit; *accepted*: it holds, or says why not."""

    claim: Claim
    status: str
    value: float | None
    told: str
    accepted: bool


# --- Reading --------------------------------------------------------------------------------------


def load(path: Path) -> tuple[list[Claim], dict[str, dict[str, Any]]]:
    """The claims, and by result what it must have to be the long form's.

    Raises ``ClaimError`` for an entry that is not understood.
    """
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    known = {field.name for field in fields(Claim)}
    needed = {field.name for field in fields(Claim) if field.default is MISSING}
    claims = []
    for entry in data["claim"]:
        if wrong := (entry.keys() - known) | (needed - entry.keys()):
            raise ClaimError(f"received {entry}; unknown or missing: {', '.join(sorted(wrong))}")
        lists = {key: tuple(value) for key, value in entry.items() if isinstance(value, list)}
        claim = Claim(**entry | lists)
        check(claim)
        claims.append(claim)
    return claims, data["full"]


def check(claim: Claim) -> None:
    """Raise ``ClaimError`` where *claim* contradicts itself."""
    bound_of(claim.goal)
    if claim.unit not in SCALES:
        raise ClaimError(f"received the unit {claim.unit!r}; expected one of {list(SCALES)}")
    if bool(claim.case) == bool(claim.at):
        raise ClaimError(f"received {claim.claim!r}; expected case or at, and not both")
    if bool(claim.open) != bool(claim.held):
        raise ClaimError(f"received {claim.claim!r}; expected open and held together")
    if claim.held:
        bound_of(claim.held)


def bound_of(goal: str) -> tuple[str, float]:
    """The relation and the number of a goal.  Raises ``ClaimError``."""
    if not (match := BOUND.fullmatch(goal)):
        raise ClaimError(f"received the goal {goal!r}; expected one like '<= 1.2'")
    return match[1], float(match[2])


def document_of(result: str | Sequence[str], results: Path) -> Any:
    """A result by its name, or the documents of several files of the repository; None for none.

    Raises ``ClaimError`` for a file that is no JSON or cannot be read.
    """
    if not isinstance(result, str):
        found = [document_of(path, results) for path in result]
        return None if None in found else found
    path = HERE.parent / result if "/" in result else results / f"{result}.json"
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ClaimError(f"received {path}, which cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ClaimError(f"received {path}, which is no JSON: {error}") from error


# --- Looking up -----------------------------------------------------------------------------------


def place_of(claim: Claim, case: str) -> tuple[Any, ...]:
    """Where the figure of a suite's *case* stands."""
    return ("cases", {"case": case}, claim.figure)


def look_up(document: Any, path: Sequence[Any], take: str = "only") -> float:
    """The figure at *path*: a key, ``*`` for each, a table that chooses among the items of a list.

    Raises ``ClaimError`` where there is none.
    """
    found = [document]
    for part in path:
        found = list(chain.from_iterable(within(value, part) for value in found))
        if isinstance(part, dict) and not found:
            raise ClaimError(f"received nothing with {part}, of the path {list(path)}")
    if take == "count":
        return len(found)
    if wrong := [each for each in found if isinstance(each, bool | str | list | dict | None)]:
        raise ClaimError(f"received {wrong[0]!r} at {list(path)}; expected a number")
    if take == "sum":
        return float(sum(found))
    if take in {"min", "max"} and found:
        return float(min(found) if take == "min" else max(found))
    if take == "only" and len(found) == 1:
        return float(found[0])
    raise ClaimError(f"received {len(found)} figures at {list(path)}; expected {take} of them")


def within(value: Any, part: Any) -> Iterator[Any]:
    """What one *part* of a path leads to.  Raises ``ClaimError`` for an unknown key."""
    if isinstance(part, dict):
        for item in value if isinstance(value, list) else ():
            if all((item if key == "is" else item.get(key)) == part[key] for key in part):
                yield item
    elif part == "*" and isinstance(value, dict | list):
        yield from value.values() if isinstance(value, dict) else value
    elif isinstance(value, dict) and part.removesuffix("?") in value:
        yield value[part.removesuffix("?")]
    elif not (isinstance(value, dict) and part.endswith("?")):
        known = list(value) if isinstance(value, dict) else type(value).__name__
        raise ClaimError(f"received {part!r}; expected one of {known}")


def told_ratio(document: Any, case: str, to: str) -> float | None:
    """*case* in times of *to* as the suite itself has told it, before it rounded the medians."""
    found = {each["case"]: each for each in document["cases"]}
    if found.get(case, {}).get("baseline") == to:
        return float(found[case]["ratio"])
    if found.get(to, {}).get("baseline") == case:
        return 1 / float(found[to]["ratio"])
    return None


def measured(claim: Claim, document: Any) -> float:
    """The figure of *claim* in its unit.  Raises ``ClaimError``."""
    scale = SCALES[claim.unit]
    if claim.to and claim.figure == "median_s":
        ratio = told_ratio(document, claim.case, claim.to)
        if ratio is not None:
            return ratio * scale
    path, over = claim.at or place_of(claim, claim.case), claim.over
    if claim.to:
        over = place_of(claim, claim.to)
    figure = look_up(document, path, claim.take)
    if over:
        whole = look_up(document, over, claim.take)
        if not whole:
            raise ClaimError(f"received 0 at {list(over)}; expected what {figure} is a part of")
        figure /= whole
    return figure * scale


# --- Judging --------------------------------------------------------------------------------------


def holds(value: float, goal: str) -> bool:
    """Whether *value* is within *goal*."""
    relation, bound = bound_of(goal)
    return bool(RELATIONS[relation][0](value, bound))


def shown(value: float, unit: str) -> str:
    """A figure for a reader, to three digits; what is counted in full."""
    number = f"{value:,.0f}" if float(value).is_integer() or value >= 999.5 else f"{value:.3g}"
    return f"{number} {unit}".rstrip()


def goal_told(claim: Claim) -> str:
    """The goal in words."""
    relation, bound = bound_of(claim.goal)
    return f"{RELATIONS[relation][1]} {shown(bound, claim.unit)}".lstrip()


def smaller(document: Any, least: dict[str, Any]) -> str:
    """In which field *document* is less than the long form's, and how much; empty where it is not.

    Raises ``ClaimError`` for a field that it lacks.
    """
    for field, full in least.items():
        if not isinstance(document, dict) or field not in document:
            raise ClaimError(f"received a result without {field!r}")
        if full is True and not document[field]:
            return "a small run"
        if document[field] < full:
            return f"{field} {document[field]:,} instead of {full:,}"
    return ""


def ending(run: dict[str, Any]) -> str:
    """How a long form ended."""
    told = f"exit code {run['code']}"
    return f"{told}, {run['failures']:,} of {run['tests']:,} tests" if "tests" in run else told


def judge(claim: Claim, results: Path, full: dict[str, dict[str, Any]]) -> Verdict:
    """Hold *claim* against its result in the folder *results*.  Raises ``ClaimError``."""
    name = claim.result or claim.by
    runs = document_of(RUNS, results) or {"steps": {}}
    run = runs["steps"].get(claim.by)
    document = document_of(name, results)
    why = ""
    if document is None or (name == RUNS and run is None):
        why = "not run" if name == RUNS else "no result"
    elif isinstance(name, str):
        why = smaller(document, full.get(name, {}))
    if why:
        return Verdict(claim, UNMEASURED, None, f"{UNMEASURED}: {why}", accepted=False)
    if run and run["code"]:
        return Verdict(claim, FAILED, None, f"{FAILED}: {ending(run)}", accepted=False)
    value = measured(claim, document)
    if holds(value, claim.goal):
        return Verdict(claim, HOLDS, value, HOLDS, accepted=True)
    distance = abs(value - bound_of(claim.goal)[1])
    missing = shown(float(f"{distance:.2g}"), claim.unit)
    told = f"{SHORT} by {missing}" + (f": {claim.open}" if claim.open else "")
    accepted = bool(claim.held) and holds(value, claim.held)
    return Verdict(claim, SHORT, value, told, accepted)


def verdicts(results: Path = RESULTS) -> list[Verdict]:
    """Every claim, held against *results*.  Raises ``ClaimError``."""
    entries, full = load(CLAIMS)
    found = []
    for claim in entries:
        try:
            found.append(judge(claim, results, full))
        except ClaimError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            told = f"received results in which {claim.claim!r} cannot be looked up"
            raise ClaimError(f"{told}: {type(error).__name__}: {error}") from error
    return found


# --- Printing -------------------------------------------------------------------------------------


def value_told(verdict: Verdict) -> str:
    """What was measured, for a reader."""
    return "" if verdict.value is None else shown(verdict.value, verdict.claim.unit)


def counted(found: Sequence[Verdict]) -> str:
    """How many claims there are, and how they stand, in a line."""
    number = Counter(each.status for each in found)
    told = (f"{number[each]} {COUNTED[each][number[each] > 1]}" for each in COUNTED if number[each])
    return f"{len(found)} claim{'s' * (len(found) != 1)}: {', '.join(told)}"


def lines(found: Sequence[Verdict]) -> Iterator[str]:
    """A line a claim for a terminal: those that do not hold at the end, above the counts."""
    for each in sorted(found, key=lambda each: (each.status != HOLDS, not each.accepted)):
        sign = " " if each.status == HOLDS else "!"
        figure, goal = value_told(each) or "–", goal_told(each.claim)
        yield f"{sign} {figure:>10}  {goal:20} {each.claim.claim}"
        if each.status != HOLDS:
            yield f"{'':35}{each.told} ({each.claim.by})"
    yield counted(found)


def claims_table() -> None:
    """Print every claim as a table for a page of ``references/``.  For cog."""
    found = verdicts()
    print(f"{counted(found)}.\n\n| Claim | Goal | Measured | | By |\n|---|---|--:|---|---|")
    for each in found:
        claim = each.claim
        told = each.told if each.status == HOLDS else f"**{each.told}**"
        print(
            f"| [{claim.claim}]({claim.page}) | {goal_told(claim)} | {value_told(each)} "
            f"| {told} | `{claim.by}` |"
        )


def as_json(found: Sequence[Verdict]) -> str:
    """The same for a program."""
    entries = [
        {
            **{key: value for key, value in asdict(each.claim).items() if value},
            **{"status": each.status, "value": each.value, "told": each.told},
            "accepted": each.accepted,
        }
        for each in found
    ]
    document = {"version": 1, "claims": entries, "summary": counted(found)}
    return json.dumps(document, indent=2, ensure_ascii=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print how the claims stand.  Exit codes as in ``--help``."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.claims",
        description=(__doc__ or "").partition("\n")[0],
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--output-format", choices=["full", "json"], default="full")
    options = parser.parse_args(arguments)
    if not options.results.is_dir():
        print(f"error: received --results {options.results}; expected a folder", file=sys.stderr)
        return 2
    try:
        found = verdicts(options.results)
    except ClaimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    told = as_json(found) if options.output_format == "json" else "\n".join(lines(found))
    print(told)
    return 0 if all(each.accepted for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
