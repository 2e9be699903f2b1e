"""The generated parts of the pages on pitfalls: the pitfalls themselves, and their index.

``python -m tools.pages`` fills them in: its pages may use what stands here.
"""

from __future__ import annotations

import functools
import importlib
import re
from types import ModuleType
from typing import Any

from examples.pitfalls._symptom import ALL, ASYNC
from tools.pages import ROOT, linter_rules, source_of

# In the order of the index: what a reader of each looks for.
FAMILIES = {
    "connecting": "URLs, drivers, roles, pools, event loops",
    "mapping": "mappers, relationships, cascades",
    "models": "constraints, generated columns, defaults, `onupdate`, hybrids, validators",
    "enums": "enumerations: stored, compared, ordered, extended",
    "types": "JSON, times, numbers",
    "sessions": "flush, expire, identity map, transactions, FastAPI",
    "asyncio": "greenlets, concurrency, cancellation",
    "queries": "joins, filters, paging, counts",
    "writing": "bulk, upsert, UPDATE and DELETE",
    "keeping": "soft delete and restore",
    "audit": "what changed: audit, history, events",
    "testing": "fixtures, isolation, event loops",
    "migrations": "Alembic, locks, enumerations",
}


@functools.cache
def pitfalls() -> dict[str, ModuleType]:
    """Every pitfall by its slug."""
    folder = ROOT / "examples" / "pitfalls"
    return {
        path.stem: importlib.import_module(f"examples.pitfalls.{path.stem}")
        for path in sorted(folder.glob("[!_]*.py"))
    }


def as_tuple(symptom: Any) -> tuple[Any, ...]:
    """More than one where the drivers differ."""
    return symptom if isinstance(symptom, tuple) else (symptom,)


def symptoms(module: ModuleType) -> tuple[Any, ...]:
    """What a pitfall shows, and what its second wrong way does."""
    return (*as_tuple(module.SYMPTOM), *as_tuple(getattr(module, "ALSO", ())))


def told(module: ModuleType) -> str:
    """What is seen of a pitfall, for a reader."""
    also = as_tuple(getattr(module, "ALSO", ()))
    shown = told_of(as_tuple(module.SYMPTOM))
    return f"{shown}; also {told_of(also)}" if also and also != as_tuple(module.SYMPTOM) else shown


def told_of(found: tuple[Any, ...]) -> str:
    """What is seen of one wrong way."""
    common, *others = found
    rest = [symptom for symptom in others if symptom.shown() != common.shown()]
    if len(rest) < len(others) and everywhere(found):
        # The first is shown wherever no other is named: no need to say where.
        return ", ".join([common.shown(), *(f"but {symptom.told()}" for symptom in rest)])
    return "; ".join(symptom.told() for symptom in found)


def everywhere(found: tuple[Any, ...]) -> bool:
    """Whether *found* leaves no line and no asynchronous driver without a symptom."""
    named = {(line, driver) for each in found for line in each.lines for driver in each.drivers}
    return named == {(line, driver) for line in ALL for driver in ASYNC}


def sides(slug: str) -> str:
    """Why, the wrong code with its symptom, the right one."""
    module = pitfalls()[slug]
    path = f"examples/pitfalls/{slug}.py"
    why = (module.__doc__ or "").strip().partition("\n\n")[2].strip()
    why = re.sub(r"`references/([\w-]+)\.md`", r"[\1](\1.md)", why)
    return "\n\n".join(
        [
            why,
            f"**Wrong**: {told(module)}.",
            f"```python\n{source_of(path, 'broken')}\n```",
            "**Right**",
            f"```python\n{source_of(path, 'fixed')}\n```",
        ]
    )


def marks(module: ModuleType) -> str:
    """What else there is to say: the linter's rule, the version of PostgreSQL."""
    rule, least = getattr(module, "RULE", None), getattr(module, "REQUIRES", None)
    said = [found_by(rule)] if rule else []
    said += [f"PostgreSQL {least} or newer."] if least else []
    return "".join(f" {words}" for words in said)


def found_by(name: str) -> str:
    """How the linter finds it: what is off by default must be selected."""
    default = {rule.name: rule.default for rules in linter_rules().values() for rule in rules}
    if default[name]:
        return f"`validate-models` finds it: `{name}`."
    return f"`validate-models --select {name}` finds it."


def pitfall(slug: str) -> None:
    """Print one pitfall with its title and source.  For cog."""
    module = pitfalls()[slug]
    title = (module.__doc__ or "").strip().partition("\n")[0].strip()
    link = f"[Code](../examples/pitfalls/{slug}.py)"
    print(f"## {title}\n\n{sides(slug)}\n")
    print(f"{link}; see [{module.SOURCE[0]}]({module.SOURCE[1]}).{marks(module)}")


def pitfall_sides(slug: str) -> None:
    """Print a pitfall within another page, which has the title.  For cog."""
    path = f"examples/pitfalls/{slug}.py"
    print(f"{sides(slug)}\n\nFrom [`{path}`](../{path}).")


def family_of(slug: str) -> str:
    """The family of a pitfall."""
    return str(pitfalls()[slug].FAMILY)


def pitfalls_of(family: str) -> None:
    """Print the pitfalls of *family*.  For cog."""
    for number, slug in enumerate(filter(lambda slug: family_of(slug) == family, pitfalls())):
        print("\n" * bool(number), end="")
        pitfall(slug)


def in_index(symptom: Any) -> str:
    """A symptom as the index has it, without its versions and drivers."""
    if hasattr(symptom, "wrong"):
        shown = f"{symptom.meaning}: `{symptom.wrong!r}`, not `{symptom.right!r}`"
    else:
        kinds = [getattr(symptom, name, None) for name in ("exception", "on_asyncpg", "category")]
        names = ", ".join(f"`{kind.__name__}`" for kind in kinds if kind)
        shown = f"`{symptom.fragment}` ({names})"
    return shown.replace("|", r"\|")


def pitfall_index() -> None:
    """Print the families, then the symptoms: error messages, and wrong results without one."""
    print("| Family | On |\n|---|---|")
    for family, what in FAMILIES.items():
        print(f"| [{family}] | {what} |")
    said: dict[str, set[str]] = {}
    silent: dict[str, list[str]] = {family: [] for family in FAMILIES}
    for slug, module in pitfalls().items():
        for symptom in symptoms(module):
            if hasattr(symptom, "wrong"):
                silent[family_of(slug)].append(in_index(symptom))
            else:
                said.setdefault(in_index(symptom), set()).add(family_of(slug))
        for words in getattr(module, "SAYS", ()):
            said.setdefault(f"`{words}`", set()).add(family_of(slug))
    print("\n## By error message\n\n| Symptom | Family |\n|---|---|")
    for shown, where in sorted(said.items()):
        print(f"| {shown} | {', '.join(f'[{name}]' for name in FAMILIES if name in where)} |")
    print("\n## By wrong result, without an error\n\n| Result | Family |\n|---|---|")
    for family, results in silent.items():
        for shown in results:
            print(f"| {shown} | [{family}] |")
    print()
    for family in FAMILIES:
        print(f"[{family}]: pitfalls-{family}.md")
