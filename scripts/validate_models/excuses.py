"""What a project says it lives with: in comments, in ``info`` and in its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sqlalchemy import Table
from sqlalchemy.orm import ColumnProperty, MapperProperty
from sqlalchemy.schema import SchemaItem

from .core import Hit, Ignore, Place, Project, Rule, all_rules, label
from .places import Places, mapped_property

KEY = "validate-models"  # in the ``info`` of a column, a table, an index, a relationship …
NOTHING: Mapping[Any, Any] = {}
SHAPE = "{'validate-models': {'ignore': ['a-rule']}}"


@dataclass(frozen=True)
class Entry:
    """One rule or family that the configuration ignores at what a glob matches."""

    of_table: bool
    glob: str
    name: str
    rules: frozenset[str]
    path: Path
    line: int

    @property
    def exact(self) -> bool:
        """Whether the glob is a name."""
        return not set(self.glob) & set("*?[")

    def matches(self, names: Set[str]) -> bool:
        """Whether the glob is one of *names*."""
        if self.exact:
            return self.glob in names
        return any(fnmatchcase(name, self.glob) for name in names)


class Excuses:
    """Tells whether a hit is excused, and remembers by what."""

    def __init__(self, places: Places, project: Project, entries: Iterable[Entry] = ()) -> None:
        """*entries* are those of the configuration."""
        self.places, self.entries = places, tuple(entries)
        self._bearers = list(all_bearers(project))  # most projects have none
        self._used: set[tuple[int, str]] = set()
        self._seen: dict[bool, set[str]] = {}

    def excused(self, rule: Rule, hit: Hit, place: Place | None, ignored: dict[str, int]) -> bool:
        """Whether anything excuses *hit*.  All that do are used, so that none seems idle."""
        found = False
        if rule.name in ignored and place is not None:
            self.places.used.add((place.path, ignored[rule.name], rule.name))
            found = True
        for item in bearers(hit) if self._bearers else ():
            for name in told_by(item)[0]:
                if rule.name in meaning(name):
                    self._used.add((id(item), name))
                    found = True
        asked = [entry for entry in self.entries if rule.name in entry.rules]
        tables, attributes = names_of(hit) if asked else (set(), set())
        for entry in asked:
            if entry.matches(tables if entry.of_table else attributes):
                self._used.add((id(entry), entry.name))
                found = True
        return found

    def unused(self, project: Project, whole: bool) -> Iterator[Ignore]:
        """What ``info`` and the configuration ignore; *whole*: the latter's own targets ran."""
        yield from self._infos()
        faults: set[str] = set()
        for entry in self.entries:
            found = self._entry(entry, project, whole)
            if found is not None and found.where not in faults:
                faults |= {found.where} if found.fault else set()  # a glob once, not for each rule
                yield found

    def _infos(self) -> Iterator[Ignore]:
        """Those of ``info``; of a mixin's columns, which are copied, one for all."""
        found: dict[object, Ignore] = {}
        for item, hit in self._bearers:
            names, fault = told_by(item)
            place = self.places.locate(replace(hit, item=item_name(item)))[0]
            used = {name for name in names if (id(item), name) in self._used}
            key = (place, names) if place else id(item)
            if key in found:
                used |= found[key].used
            found[key] = Ignore(place, names, hit.mapper, frozenset(used), shown(item, hit), fault)
            found[key] = replace(found[key], table=hit.table, attribute=hit.attribute or hit.column)
        yield from found.values()

    def _entry(self, entry: Entry, project: Project, whole: bool) -> Ignore | None:
        """One of the configuration; None where what it speaks of may lie outside this run."""
        if (id(entry), entry.name) in self._used:
            return None
        there = entry.matches(self._names(project, entry.of_table))
        live = all(all_rules()[name].live for name in entry.rules)
        if not there and live and not entry.rules <= project.asked:
            return None  # it may speak of what only the database has
        if not whole and not (entry.exact and there):
            return None
        kind = "per-table-ignores" if entry.of_table else "per-attribute-ignores"
        where = f"{kind} {entry.glob!r}"
        fault = None if there else f"{where} matches nothing"
        place = Place(entry.path, entry.line)
        return Ignore(place, (entry.name,), None, frozenset(), where, fault)

    def _names(self, project: Project, of_tables: bool) -> set[str]:
        """The names of all tables, or of all attributes."""
        if of_tables not in self._seen:
            self._seen[of_tables] = set(all_names(project, of_tables))
        return self._seen[of_tables]


def meaning(name: str) -> frozenset[str]:
    """The rules that *name* means: a rule, a family or ``all``; none where it is unknown."""
    rules = all_rules()
    if name == "all":
        return frozenset(rules)
    return frozenset(rule.name for rule in rules.values() if name in (rule.name, rule.family))


def names_of(hit: Hit) -> tuple[set[str], set[str]]:
    """How the configuration may call the table and the attribute of *hit*."""
    table = table_of(hit)
    tables = {table.key, table.name} if table is not None else set[str]()
    if hit.unknown_table:
        tables |= {hit.unknown_table, hit.unknown_table.rpartition(".")[2]}
    owners = set(tables)
    if hit.mapper is not None:
        owners.add(hit.mapper.class_.__name__)
    attributes = {name for name in (hit.attribute, hit.column, hit.item) if name}
    return tables, {f"{owner}.{name}" for owner in owners for name in attributes}


def table_of(hit: Hit) -> Table | None:
    """The table that *hit* is about."""
    if hit.table is None and hit.mapper is not None and isinstance(hit.mapper.local_table, Table):
        return hit.mapper.local_table
    return hit.table


def told_by(item: Any) -> tuple[tuple[str, ...], str | None]:
    """The names that the ``info`` of *item* ignores, and what is wrong with it."""
    told = info_of(item).get(KEY)
    if told is None:
        return (), None
    names = told.get("ignore") if isinstance(told, Mapping) else None
    if isinstance(names, str) or not isinstance(names, list | tuple | set | frozenset):
        return (), f"info is not {SHAPE}"
    if not all(isinstance(name, str) for name in names):
        return (), f"info is not {SHAPE}"
    return tuple(sorted(names)), None


def info_of(item: Any) -> Mapping[Any, Any]:
    """The ``info`` of *item*, without making one for each of thousands of columns."""
    try:
        if isinstance(item, SchemaItem):
            found = item.__dict__.get("info")
        elif isinstance(item, MapperProperty):
            found = object.__getattribute__(item, "info")  # its __getattr__ would make one
        else:
            found = getattr(item, "info", None)
    except AttributeError:
        return NOTHING
    return found if isinstance(found, Mapping) else NOTHING


def bearers(hit: Hit) -> Iterator[Any]:
    """Whose ``info`` may excuse *hit*."""
    if hit.metadata is not None:
        yield hit.metadata
    table = table_of(hit)
    columns: list[Any] = []
    if table is not None:
        yield table
        columns += [each for each in table.columns if each.name == hit.column]
        if hit.item is not None:
            parts = [*table.indexes, *table.constraints]
            yield from (each for each in parts if item_name(each) == hit.item)
    mapper, key = hit.mapper, hit.attribute
    if mapper is not None and key is not None and mapper.configured:
        prop = mapped_property(mapper, key)
        if isinstance(prop, ColumnProperty):
            columns += [each for each in prop.columns if each not in set(columns)]
        described = prop if prop is not None else mapper.all_orm_descriptors.get(key)
        if described is not None:
            yield described
    for column in columns:
        yield column
        yield from getattr(column, "foreign_keys", ())


def item_name(item: Any) -> str | None:
    """The name of an index or a constraint."""
    name = getattr(item, "name", None)
    columns = getattr(item, "columns", None)
    return str(name) if name and columns is not None and not isinstance(item, Table) else None


def all_bearers(project: Project) -> Iterator[tuple[Any, Hit]]:
    """All that has an ``info`` of ours, each with a hit that stands for it."""
    for metadata in project.metadatas:
        if KEY in info_of(metadata):
            yield metadata, Hit("", metadata=metadata)
    for table in project.tables:
        for item in (table, *table.indexes, *table.constraints):
            if KEY in info_of(item):
                yield item, Hit("", mapper=project.owners.get(table), table=table)
        for column in table.columns:
            for item in (column, *column.foreign_keys) if column.foreign_keys else (column,):
                if KEY in info_of(item):
                    yield item, project.at(column, "")
    for mapper in project.mappers:
        for key, descriptor in mapper.all_orm_descriptors.items():
            prop = mapped_property(mapper, key)
            described = descriptor if prop is None else prop
            if KEY not in info_of(described):
                continue
            own = prop is None or prop.parent is mapper
            of_column = isinstance(prop, ColumnProperty) and KEY in info_of(prop.columns[0])
            if own and not of_column:
                yield described, Hit("", mapper=mapper, attribute=key)


def all_names(project: Project, of_tables: bool) -> Iterator[str]:
    """What ``names_of`` would say of every table, or of every column and attribute."""
    for table in project.tables:
        names = {table.key, table.name}
        if of_tables:
            yield from names
            continue
        for item in (*table.columns, *table.indexes, *table.constraints):
            if item.name:
                yield from (f"{name}.{item.name}" for name in names)
    for mapper in project.mappers if not of_tables else ():
        mapped = mapper.local_table
        owners = {mapped.key, mapped.name} if isinstance(mapped, Table) else set[str]()
        for owner in (*owners, mapper.class_.__name__):
            # It is no dictionary.
            yield from (f"{owner}.{key}" for key in mapper.all_orm_descriptors.keys())  # noqa: SIM118


def shown(item: Any, hit: Hit) -> str:
    """How the report calls what has an ``info``."""
    name = item_name(item)
    if name:
        return f"the info of {name}"
    if hit.metadata is not None:
        return "the info of the MetaData"
    if isinstance(item, Table):
        return f"the info of the table {item.key}"
    if hit.mapper is not None and hit.attribute:
        return f"the info of {label(hit.mapper, hit.attribute)}"
    return f"the info of {hit.table.key if hit.table is not None else '?'}.{hit.column}"
