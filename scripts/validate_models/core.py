"""What a rule is, what it is given, and what comes out."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Column, ForeignKeyConstraint, MetaData, Table
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import ColumnProperty, Mapper, RelationshipProperty

SEVERITIES = ("info", "warning", "error")
DOCS = "https://docs.sqlalchemy.org/en/21"
POSTGRES = "https://www.postgresql.org/docs/18"
# What compiling raises for a type or an expression that has no SQL on PostgreSQL: SQLAlchemy's own,
# and whatever the user's type may.
NO_SQL = (SQLAlchemyError, NotImplementedError, AttributeError, TypeError)
EMPTY = (str, tuple, list, dict)


@dataclass(frozen=True, eq=False, repr=False)
class Hit:
    """One place where a rule found its fault; the engine finds the file and the line.

    Give *mapper* and *attribute* for what is mapped, *table* and *column* for what is not,
    *item* for the name of an index or a constraint, *place* for what is none of these,
    *unknown_table* for the name of a table that only the database has.  *why*, *fix* and
    *url* stand instead of the rule's.
    """

    message: str
    mapper: Mapper[Any] | None = None
    attribute: str | None = None
    table: Table | None = None
    column: str | None = None
    item: str | None = None
    metadata: MetaData | None = None
    severity: str | None = None
    why: str | None = None
    fix: str | None = None
    url: str | None = None
    place: Place | None = None
    unknown_table: str | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Rule:
    """A rule with its texts and samples.

    In a bad sample the line of each finding ends with ``# found``; good and near-miss samples have
    none.  A near miss looks like the fault and is none.
    """

    name: str
    severity: str
    family: str
    title: str
    why: str
    fix: str
    url: str
    check: Callable[[Project], Iterable[Hit]]
    bad: str
    good: str
    near_miss: str = ""
    default: bool = True
    asyncio: bool = False
    last: bool = False  # it asks what the other rules did
    drift: str = ""  # SQL after which a database made by the bad sample is at fault
    mend: str = ""  # and SQL after which it is not
    versions: str = "2.0, 2.1"

    @property
    def live(self) -> bool:
        """Whether it needs a database."""
        return bool(self.drift)


@dataclass(eq=False, repr=False)
class Live:
    """What a look at the database brought: hits by rule, and what else there is to say."""

    hits: dict[str, list[Hit]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, rule: str, hit: Hit) -> None:
        """Keep *hit* for *rule*."""
        self.hits.setdefault(rule, []).append(hit)


@dataclass(frozen=True)
class Place:
    """Where: a file, 1-based line and column, the end of the name on that line."""

    path: Path
    line: int
    column: int = 1
    end_column: int = 1


@dataclass(frozen=True, eq=False, repr=False)
class Ignore:
    """A comment that ignores *rules*: where, in which class, and which of them it ignored.

    *where* names what else does so, an ``info`` or a line of the configuration.
    """

    place: Place | None
    rules: tuple[str, ...]
    mapper: Mapper[Any] | None
    used: frozenset[str]
    where: str = ""
    fault: str | None = None
    table: Table | None = None
    attribute: str | None = None


@dataclass(frozen=True)
class Finding:
    """A fault, with all that a report needs.  *path* is relative to the project where it can be."""

    rule: str
    severity: str
    message: str
    why: str
    fix: str
    path: str | None
    line: int | None
    column: int | None
    model: str | None
    table: str | None
    attribute: str | None
    fingerprint: str
    url: str
    end_column: int | None = field(default=None, compare=False)
    frame: str | None = field(default=None, compare=False, repr=False)
    file: Path | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        """``path:line:column: severity: rule: message``."""
        where = f"{self.path}:{self.line}:{self.column}" if self.path else self.table or "?"
        return f"{where}: {self.severity}: {self.rule}: {self.message}"


@dataclass(eq=False, repr=False)
class Project:
    """What the imports made: configured mappers, tables, what failed and what was warned of."""

    mappers: list[Mapper[Any]]
    tables: list[Table]
    metadatas: list[MetaData]
    broken: list[tuple[Mapper[Any], Exception]]
    warnings: list[str]
    asyncio: bool
    source_of: Callable[[Mapper[Any], str], str | None]
    ignores: Callable[[], Iterable[Ignore]] = tuple
    asked: set[str] = field(default_factory=set)
    partial: bool = False  # some of it could not be imported
    live: Live | None = None  # where a database was given

    def relationships(self) -> Iterator[tuple[Mapper[Any], RelationshipProperty[Any]]]:
        """Every relationship once, at the mapper that has it first; none that failed."""
        return iter(self._relationships)

    def columns(self) -> Iterator[tuple[Table, Column[Any]]]:
        """Every column of every table."""
        return iter(self._columns)

    def foreign_keys(self) -> Iterator[tuple[Table, ForeignKeyConstraint]]:
        """Every foreign key whose target is known, in a fixed order."""
        return iter(self._foreign_keys)

    # Walked once: a score of rules asks for each.
    @functools.cached_property
    def _relationships(self) -> list[tuple[Mapper[Any], RelationshipProperty[Any]]]:
        return [
            (mapper, prop)
            for mapper in self.mappers
            for prop in mapper.relationships
            if prop.parent is mapper
        ]

    @functools.cached_property
    def _columns(self) -> list[tuple[Table, Column[Any]]]:
        return [(table, column) for table in self.tables for column in table.columns]

    @functools.cached_property
    def _foreign_keys(self) -> list[tuple[Table, ForeignKeyConstraint]]:
        def place(key: ForeignKeyConstraint) -> tuple[list[str], str, list[str]]:
            # Two over the same columns come out of a set: by name, then by target.
            targets = [element.target_fullname for element in key.elements]
            return list(key.column_keys), str(key.name or ""), targets

        return [
            (table, key)
            for table in self.tables
            for key in sorted(table.foreign_key_constraints, key=place)
            if all(resolved(element) is not None for element in key.elements)
        ]

    @functools.cached_property
    def owners(self) -> dict[Table, Mapper[Any]]:
        """The first mapper of each table."""
        found: dict[Table, Mapper[Any]] = {}
        for mapper in self.mappers:
            if isinstance(mapper.local_table, Table) and not mapper.single:
                found.setdefault(mapper.local_table, mapper)
        return found

    def owner(self, table: Table, column: Column[Any]) -> tuple[Mapper[Any] | None, str | None]:
        """The mapper and the attribute of *column*, where it has one.

        Of single-table inheritance, that is the subclass which brings the column.
        """
        first = self.owners.get(table)
        if first is None:
            return None, None
        for mapper in (first, *(sub for sub in first.self_and_descendants if sub is not first)):
            if mapper not in self._known:
                continue
            try:
                return mapper, mapper.get_property_by_column(column).key
            except SQLAlchemyError:
                continue
        return first, None

    @functools.cached_property
    def _known(self) -> set[Mapper[Any]]:
        return set(self.mappers)

    def at(self, column: Column[Any], message: str, **more: Any) -> Hit:
        """A hit at *column*."""
        table: Table = column.table
        mapper, key = self.owner(table, column)
        return Hit(message, mapper=mapper, attribute=key, table=table, column=column.name, **more)


@functools.cache
def dialect() -> Dialect:
    """PostgreSQL's; imported when it is needed, since that takes a while."""
    from sqlalchemy.dialects import postgresql

    return postgresql.dialect()  # type: ignore[no-untyped-call]


@functools.lru_cache(maxsize=65_536)  # two dozen rules ask for the type of each column
def _compiled(kind: Any) -> str:
    try:
        return str(kind.compile(dialect=dialect())).upper()
    except NO_SQL:
        return ""


def sql_type(column: Column[Any]) -> str:
    """The type that PostgreSQL is told, in upper case: TypeDecorators and variants unwrapped."""
    try:
        return _compiled(column.type)
    except TypeError:  # a type of the user's that cannot be hashed
        return _compiled.__wrapped__(column.type)


def resolved(element: Any) -> Column[Any] | None:
    """The column that a foreign key points at, or None where its table is not there."""
    try:
        found: Column[Any] = element.column
    except SQLAlchemyError:
        return None
    return found


def column_names(columns: Iterable[Column[Any]]) -> str:
    """``a, b``."""
    return ", ".join(column.name for column in columns)


def label(mapper: Mapper[Any], key: str | None = None) -> str:
    """``Ticket.title``."""
    return f"{mapper.class_.__name__}.{key}" if key else str(mapper.class_.__name__)


def unique_sets(table: Table) -> list[set[Column[Any]]]:
    """The sets of columns that some key, constraint or whole unique index keeps unique."""
    from sqlalchemy import UniqueConstraint

    found = [set(table.primary_key.columns)] if table.primary_key.columns else []
    found += [set(item.columns) for item in table.constraints if isinstance(item, UniqueConstraint)]
    found += [
        set(plain)
        for index in table.indexes
        if index.unique and (plain := plain_columns(index)) is not None
    ]
    return found


def plain_columns(index: Any) -> list[Column[Any]] | None:
    """The columns of an index over plain columns and all rows; None for any other."""
    if option(index, "where") is not None:
        return None
    if not all(isinstance(item, Column) for item in index.expressions):
        return None
    return list(index.expressions)


def option(item: Any, name: str) -> Any:
    """PostgreSQL's option *name* of an index or a constraint; None where it is not given."""
    found = item.dialect_options["postgresql"].get(name)
    # By identity: SQL that is compared with something is a comparison, and has no truth.
    empty = found is None or found is False or (isinstance(found, EMPTY) and not found)
    return None if empty else found


def is_column_property(prop: Any) -> bool:
    """Whether *prop* maps a column."""
    return isinstance(prop, ColumnProperty)


@functools.cache
def all_rules() -> dict[str, Rule]:
    """Every rule by its name, in the order of the names."""
    folder = Path(__file__).resolve().parent / "rules"
    paths = sorted(path for path in folder.glob("*.py") if not path.stem.startswith("_"))
    rules = [module_at(f"{__package__}.rules.{path.stem}", path).RULE for path in paths]
    return {rule.name: rule for rule in sorted(rules, key=lambda rule: str(rule.name))}


def module_at(name: str, path: Path) -> Any:
    """The module in that file: ``import`` would look for each of a hundred in several places."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
