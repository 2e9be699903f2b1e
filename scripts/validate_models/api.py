"""Validate from a test: ``assert not validate(Base)``."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Table
from sqlalchemy.orm import Mapper

from .core import SEVERITIES, Finding, Hit, Project, Rule, all_rules
from .excuses import Entry, Excuses, table_of
from .places import Places
from .scope import Scope, real_path, scope_of
from .targets import (
    Loaded,
    Recorder,
    TargetError,
    is_library,
    is_ready,
    load,
    one_line,
    project_root,
    speaks_asyncio,
)


@dataclass(eq=False, repr=False)
class Outcome:
    """Findings in the order of their places; what could not be proved; what was looked at."""

    findings: list[Finding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    mappers: int = 0
    tables: int = 0
    asked: frozenset[str] = frozenset()
    table_keys: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)
    elsewhere: int = 0


def validate(
    *targets: object,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    severity: str = "warning",
    asyncio: bool | None = None,
    config: str | Path | None = None,
    baseline: str | Path | None = None,
    database_url: str | None = None,
) -> list[Finding]:
    """What is wrong with *targets*: bases, registries, metadata, mapped classes, or names.

    *severity* is the lowest that counts.  *asyncio* says whether the project uses SQLAlchemy's;
    None looks.  *config* is a ``pyproject.toml`` whose rules, ignores and baseline count,
    *baseline* a file of findings that do not.  *database_url* names a PostgreSQL to compare with.
    Raises ``TargetError`` for a target that cannot be imported, an unknown rule, or no such
    database.
    """
    from .baseline import read as known_by
    from .config import read

    if not targets:
        raise TargetError(
            "received validate() without a target.\nexpected: a declarative base, registry, "
            "MetaData, table, mapped class, module, or the name of one\ntry: validate(Base)"
        )

    found = read(Path(config)) if config is not None else None
    settings = found.options if found else {}
    outcome = run(
        targets,
        select=list(select) or settings.get("select", ()),
        ignore=list(ignore) or settings.get("ignore", ()),
        asyncio=settings.get("asyncio") if asyncio is None else asyncio,
        entries=found.entries if found else (),
        database_url=database_url,
    )
    if outcome.problems:
        raise TargetError(outcome.problems[0])
    lowest, path = rank(severity), baseline or settings.get("baseline")
    known = known_by(Path(path)).entries if path else {}
    return [
        item
        for item in outcome.findings
        if SEVERITIES.index(item.severity) >= lowest and item.fingerprint not in known
    ]


def rank(severity: str) -> int:
    """0 for info.  Raises ``TargetError`` for what is no severity."""
    if severity not in SEVERITIES:
        raise TargetError(
            f"received the severity {severity!r}.\nexpected: one of {', '.join(SEVERITIES)}\n"
            "try: warning"
        )
    return SEVERITIES.index(severity)


def chosen(select: Iterable[str], ignore: Iterable[str]) -> list[Rule]:
    """The rules to run.  A name is a rule, a family or ``all``.  Raises ``TargetError``."""
    rules = all_rules()
    wanted = set().union(*(expand(name, rules) for name in select))
    unwanted = set().union(*(expand(name, rules) for name in ignore))
    picked = wanted or {name for name, rule in rules.items() if rule.default}
    return [rule for name, rule in rules.items() if name in picked - unwanted]


def expand(name: str, rules: dict[str, Rule]) -> set[str]:
    """The names of the rules that *name* means."""
    if name == "all":
        return set(rules)
    found = {rule.name for rule in rules.values() if name in {rule.name, rule.family}}
    if not found:
        import difflib

        known = {*rules, *(rule.family for rule in rules.values())}
        near = difflib.get_close_matches(name, sorted(known), 3)
        raise TargetError(
            f"received the rule {name!r}.\nexpected: a rule, a family or all\n"
            f"try: {', '.join(near) or '--list-rules'}"
        )
    return found


def run(
    targets: Sequence[object],
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    asyncio: bool | None = None,
    root: Path | None = None,
    entries: Iterable[Entry] = (),
    whole_config: bool = False,
    database_url: str | None = None,
) -> Outcome:
    """Import, configure, ask every rule.  Raises ``TargetError``.

    *entries* are what the configuration excuses; *whole_config*: its own targets are asked.
    """
    rules = chosen(select, ignore)
    if database_url is None and rules and all(rule.live for rule in rules):
        raise TargetError(
            f"received the rules {', '.join(rule.name for rule in rules[:3])} … and no database.\n"
            "expected: --database-url with rules of the family database\n"
            "try: --database-url env:DATABASE_URL"
        )
    recorder, outcome = Recorder(), Outcome()
    with recorder.listening():
        names = [target for target in targets if isinstance(target, str)]
        loaded = load(names, recorder, root) if names else Loaded(root or project_root(Path.cwd()))
        outcome.problems += loaded.failures
        for target in targets:
            if not isinstance(target, str) and not add_object(target, recorder, loaded):
                raise TargetError(
                    f"received {target!r}.\nexpected: a declarative base, registry, MetaData, "
                    "table, mapped class, module, or the name of one\ntry: validate(Base)"
                )
        caught = recorder.configure()
        project, places = survey(recorder, loaded, caught, asyncio)
        loaded.is_wide = loaded.is_wide or len(names) < len(targets)
        scope = scope_of(project, loaded, recorder.made_at)
        outcome.mappers = len(scope.mappers if scope else [*project.mappers, *project.broken])
        outcome.tables = len(scope.tables if scope else project.tables)
        if not outcome.mappers and not outcome.tables and not outcome.problems:
            raise TargetError(
                f"received {', '.join(map(str, targets))}: it imports, but makes no mapped class "
                "and no table.\nexpected: models\ntry: the module that defines them"
            )
        if loaded.failures:
            # What is missing may be what could not be imported.
            project.broken, project.partial = [], True
        # Where a part was left out, what a comment ignores may be there.
        judged = not project.broken and not loaded.failures
        whole = all(isinstance(target, str) and ":" not in target for target in targets)
        excuses = Excuses(places, project, entries)
        if database_url is not None:
            from .live import look

            project.live = look(project, database_url, frozenset(rule.name for rule in rules))
            outcome.notes += project.live.notes
        project.ignores = lambda: (
            [*places.ignores(project.mappers, whole), *excuses.unused(project, whole_config)]
            if judged
            else ()
        )
        for rule in sorted(rules, key=lambda rule: rule.last):
            outcome.findings += ask(rule, project, excuses, loaded.root, outcome, scope=scope)
        outcome.asked = frozenset(project.asked)
        outcome.table_keys = frozenset(
            table.key for table in (scope.tables if scope else project.tables)
        )
    if outcome.elsewhere:
        outcome.notes.append(
            f"{outcome.elsewhere} findings left out: at models of other modules, which the import "
            "brought; name those, or the package"
        )
    outcome.findings = distinct(outcome.findings)
    return outcome


def add_object(target: object, recorder: Recorder, loaded: Loaded) -> bool:
    """Take an object of the caller's; a module by what it holds."""
    from types import ModuleType

    if isinstance(target, ModuleType):
        loaded.modules.append(target)
        return bool([value for value in vars(target).values() if recorder.add(value)])
    return recorder.add(target)


def survey(
    recorder: Recorder, loaded: Loaded, caught: list[str], asyncio: bool | None
) -> tuple[Project, Places]:
    """What the rules may ask: our user's own mappers and tables, in a fixed order."""
    # A class whose making failed leaves a mapper that knows no table.
    whole = [mapper for mapper in recorder.mappers if hasattr(mapper, "tables")]
    mappers = [mapper for mapper in whole if is_own(mapper)]
    mappers.sort(key=lambda mapper: (mapper.class_.__module__, mapper.class_.__qualname__))
    ready = [mapper for mapper in mappers if mapper not in recorder.broken and is_ready(mapper)]
    # A base before what inherits from it: a rule tells of a thing where it begins.
    ready.sort(key=lambda mapper: len(list(mapper.iterate_to_root())))
    mapped = {table for mapper in mappers for table in mapper.tables}
    tables = [
        table
        for metadata in recorder.metadatas
        for table in metadata.tables.values()
        if (table in mapped or not made_by_library(table, recorder)) and not is_view(table)
    ]
    tables.sort(key=lambda table: table.key)
    places = Places(recorder.made_at)
    places.knows(ready)
    project = Project(
        mappers=ready,
        tables=tables,
        metadatas=list(dict.fromkeys(table.metadata for table in tables)),
        broken=[(mapper, error) for mapper, error in recorder.broken.items() if is_own(mapper)],
        warnings=caught,
        asyncio=speaks_asyncio(loaded, ready) if asyncio is None else asyncio,
        source_of=places.text_of,
    )
    return project, places


def is_own(mapper: Mapper[Any]) -> bool:
    """Whether the class is the user's, not a library's."""
    import sys

    module = sys.modules.get(mapper.class_.__module__)
    return not is_library(getattr(module, "__file__", "") or "")


def made_by_library(table: Table, recorder: Recorder) -> bool:
    """Whether installed code made *table*."""
    made = recorder.made_at.get(table)
    return made is not None and is_library(made[0])


def is_view(table: Table) -> bool:
    """Whether *table* stands for a view: by the ``info`` that Alembic's cookbook has."""
    return bool(table.info.get("is_view")) or bool(getattr(table, "is_view", False))


def ask(
    rule: Rule,
    project: Project,
    excuses: Excuses,
    root: Path,
    outcome: Outcome,
    *,
    scope: Scope | None = None,
) -> list[Finding]:
    """The findings of one rule in *scope*; its own failure is a problem, never a clean bill."""
    if (rule.asyncio and not project.asyncio) or (rule.live and project.live is None):
        return []
    project.asked.add(rule.name)
    try:
        found = [
            (hit, item)
            for hit in rule.check(project)
            if (item := finding(rule, hit, excuses, root)) is not None
        ]
    except Exception as error:
        outcome.problems.append(
            f"the rule {rule.name} could not be proved: {type(error).__name__}: {one_line(error)}\n"
            f"expected: that a rule holds for every model\ntry: --ignore {rule.name}, and report it"
        )
        return []
    kept = [item for hit, item in found if not scope or scope.holds(rule.name, hit, item.file)]
    outcome.elsewhere += len(found) - len(kept)
    return kept


def finding(rule: Rule, hit: Hit, excuses: Excuses, root: Path) -> Finding | None:
    """The finding of *hit*; None where a comment, an ``info`` or the configuration excuses it."""
    places = excuses.places
    place, ignored, bare = places.locate(hit)
    if excuses.excused(rule, hit, place, ignored):
        return None
    if rule.name in bare and place is not None:
        places.told.add((place.path, bare[rule.name], rule.name))
    table = table_of(hit)
    model = hit.mapper.class_.__name__ if hit.mapper is not None else None
    attribute = hit.attribute or hit.column
    # The column first: of two classes of one table, either may be asked for its attribute.
    marks = [rule.name, table.key if table is not None else model or ""]
    marks.append(hit.column or attribute or "")
    return Finding(
        rule=rule.name,
        severity=hit.severity or rule.severity,
        message=hit.message + (" (an ignore comment needs a reason)" if rule.name in bare else ""),
        why=hit.why or rule.why,
        fix=hit.fix or rule.fix,
        path=relative(place.path, root) if place else None,
        line=place.line if place else None,
        column=place.column if place else None,
        model=model,
        table=table.key if table is not None else hit.unknown_table,
        attribute=attribute,
        fingerprint=digest("|".join([*marks, hit.item or ""])),
        url=hit.url or rule.url,
        end_column=place.end_column if place else None,
        frame=frame_line(places, place.path, place.line) if place else None,
        file=real_path(place.path) if place else None,
    )


def frame_line(places: Places, path: Path, line: int) -> str | None:
    """The text of that line."""
    source = places.source(str(path))
    return source.lines[line - 1] if source else None


@functools.lru_cache(maxsize=16_384)
def relative(path: Path, root: Path) -> str:
    """*path* seen from the project's root, with slashes; the whole path where it is elsewhere."""
    path = real_path(path)
    for base in (root.resolve(), Path.cwd()):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return path.as_posix()


def digest(text: str) -> str:
    """Sixteen hexadecimal digits that stay the same while *text* does."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def distinct(findings: list[Finding]) -> list[Finding]:
    """In the order of their places; equal ones once; no two with one fingerprint.

    Equal fingerprints are numbered by what is said, and by places only where all else is equal:
    those change when lines move.
    """
    from dataclasses import replace

    def place(item: Finding) -> tuple[Any, ...]:
        where = (item.path or "~", item.line or 0, item.column or 0)
        return (*where, item.rule, item.table or "", item.attribute or "", item.message)

    found: list[Finding] = []
    seen: dict[str, int] = {}
    for item in sorted(
        dict.fromkeys(findings), key=lambda item: (item.model or "", item.message, *place(item))
    ):
        number = seen[item.fingerprint] = seen.get(item.fingerprint, 0) + 1
        if number > 1:
            item = replace(item, fingerprint=digest(f"{item.fingerprint}#{number}"))  # noqa: PLW2901
        found.append(item)
    return sorted(found, key=place)
