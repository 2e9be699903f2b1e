"""The columns of a table in units that are chosen together: foreign keys, CHECKs over several."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from sqlalchemy import Connection

from .checks import Question, Row, joint, search, suggestions
from .kinds import Kinds
from .order import Turn
from .tables import Check, Column, ForeignKey, Table

NULL_IN = 4  # one row in so many has NULL where it may be
VARIANTS = 3  # of rows of several columns with NULL in some
UNSURE = {"other", "unknown"}  # families of which a server may not know all
FAVOURITES = 5  # rows that half of all others refer to
JOINS = 4  # partners of each row where two foreign keys share a column

Plans = dict[int, dict[str, list[str]]]


@dataclass(frozen=True)
class Unit:
    """Columns, the rows that they may have, and those of the columns that may be NULL."""

    columns: tuple[str, ...]
    pool: list[Row]
    nullable: frozenset[str] = frozenset()

    def row(self, number: int, place: int) -> dict[str, str | None]:
        """What the *number*-th row has, of the unit at *place*: not all have NULL together.

        The first rows have none: there stands what is worth most.
        """
        chosen = self.pool[number % len(self.pool)]
        return self.named(chosen, hide=number >= NULL_IN and (number + place) % NULL_IN == 0)

    def by_chance(self, chance: random.Random) -> dict[str, str | None]:
        """What some row has."""
        return self.named(chance.choice(self.pool), hide=chance.random() < 1 / NULL_IN)

    def named(self, chosen: Row, *, hide: bool) -> dict[str, str | None]:
        """*chosen* by column; with *hide*, NULL where it may be."""
        return {
            name: None if hide and name in self.nullable else value
            for name, value in zip(self.columns, chosen, strict=True)
        }

    def without(self, names: Set[str]) -> Unit:
        """The same with NULL in those columns."""
        kept = [
            tuple(
                None if name in names else value
                for name, value in zip(self.columns, row, strict=True)
            )
            for row in self.pool
        ]
        return Unit(self.columns, kept, self.nullable) if names & set(self.columns) else self

    def nothings(self) -> list[Row]:
        """A few of its rows with NULL where it may be."""
        if not self.nullable:
            return []
        rows = [tuple(self.named(row, hide=True).values()) for row in self.pool[:VARIANTS]]
        return list(dict.fromkeys(rows))


class Orphan(Exception):
    """A table that must refer to one without rows."""


@dataclass(frozen=True)
class Maker:
    """Makes the units of the table whose *turn* it is."""

    connection: Connection
    kinds: Kinds
    rows: int
    turn: Turn
    plans: Plans

    @property
    def table(self) -> Table:
        """The table."""
        return self.turn.table

    def units(self) -> list[Unit]:
        """All of them.  Raises ``Orphan``."""
        units, empty = self.references()
        referring = {name for unit in units for name in unit.columns}
        for column in self.explicit():
            if column.name in referring:
                continue
            blank = Unit((column.name,), [(None,)])
            units.append(blank if column.name in empty else self.single(column))
        return self.grouped(units)

    def explicit(self) -> list[Column]:
        """The columns that we give values: PostgreSQL makes the others."""
        keys = (*self.turn.now, *self.turn.deferred)
        wanted = {name for key in keys for name in key.columns}
        wanted |= {name for key in self.turn.own for name in (*key.columns, *key.targets)}
        wanted |= set(self.plans.get(self.table.oid, ()))
        return [
            column
            for column in self.table.columns.values()
            if not column.generated and (not column.is_left_out or column.name in wanted)
        ]

    # --- Foreign keys ---

    def references(self) -> tuple[list[Unit], set[str]]:
        """The units of the foreign keys, and the columns that stay NULL.  Raises ``Orphan``."""
        units: list[Unit] = []
        empty = {name for key in self.turn.later for name in self.nullable(key)}
        for key in (*self.turn.now, *self.turn.deferred):
            pool = self.referred(key)
            made = self.joined(units, key, pool) if pool else None
            if made is not None:
                units = made
            elif self.table.is_soft(key):
                empty |= self.nullable(key)
            elif not pool:
                raise Orphan(f"its foreign key {key.name} refers to a table without rows")
        return [self.repeated(unit.without(empty)) for unit in units], empty

    def repeated(self, unit: Unit) -> Unit:
        """*unit* with a few rows that are referred to again and again, as in life.

        Not where they make up a key: what is free in the others is another in each row.
        """
        referring = {name for key in self.table.foreign_keys for name in key.columns}
        if any(key & set(unit.columns) and key <= referring for key in self.table.keys):
            return unit
        pool = [
            unit.pool[(number // 2 % FAVOURITES if number % 2 else number) % len(unit.pool)]
            for number in range(self.rows)
        ]
        return Unit(unit.columns, pool, unit.nullable)

    def nullable(self, key: ForeignKey) -> frozenset[str]:
        """The columns of *key* that may be NULL; of MATCH FULL all or none."""
        names = frozenset(name for name in key.columns if not self.table.columns[name].not_null)
        return frozenset() if key.is_full and len(names) < len(key.columns) else names

    def referred(self, key: ForeignKey) -> list[Row]:
        """Rows to refer to: those that are there, or will be."""
        if key in self.turn.deferred:
            plan = self.plans[key.target]
            return list(zip(*(plan[name] for name in key.targets), strict=True))
        return self.kinds.rows_of(key.target, key.targets, self.rows)

    def joined(self, units: Sequence[Unit], key: ForeignKey, pool: list[Row]) -> list[Unit] | None:
        """*units* with that of *key*, one with those that share a column; None: no row fits."""
        unit = Unit(key.columns, pool, self.nullable(key))
        apart = []
        for other in units:
            if not set(other.columns) & set(unit.columns):
                apart.append(other)
                continue
            both = join(unit, other)
            if not both.pool:
                return None
            unit = both
        return [*apart, unit]

    # --- Columns by themselves ---

    def single(self, column: Column) -> Unit:
        """The unit of one column."""
        name = (column.name,)
        planned = self.plans.get(self.table.oid, {}).get(column.name)
        if planned:
            return Unit(name, [(value,) for value in planned])
        kind = self.kinds.of(column.type, column.typmod)
        related = [
            check.expression
            for check in (*self.table.checks, *self.table.hints)
            if column.name in check.columns
        ]
        mine = tuple(check.expression for check in self.table.checks if check.columns == name)
        question = Question(self.connection, self.table.name, name, (column.sql_type,), mine)
        plain = [kind.styles[0](number) for number in range(self.rows)]
        pool = [*plain[:1], *kind.extremes, *plain[1:]]
        if related:
            pool = search(question, kind, *suggestions(kind, related), self.rows) or pool
        may_be_null = not column.not_null and not self.kinds.refuses_null(column.type)
        if may_be_null and mine:
            may_be_null = bool(question.accepted([(None,)]))
        # A server without libxml reads no XML at all.
        if may_be_null and kind.family in UNSURE and not question.accepted([(pool[0],)]):
            return Unit(name, [(None,)])
        return Unit(name, [(value,) for value in pool], frozenset(name if may_be_null else ()))

    # --- CHECKs over several ---

    def grouped(self, units: list[Unit]) -> list[Unit]:
        """*units*, those that a CHECK speaks of together made one."""
        there = {name for unit in units for name in unit.columns}
        checks = [
            check
            for check in self.table.checks
            if check.columns and set(check.columns) <= there and not self.is_settled(check, units)
        ]
        while checks:
            names, conditions = connected(checks, units)
            checks = [check for check in checks if check.expression not in conditions]
            group = [unit for unit in units if set(unit.columns) & names]
            solved = self.solved(group, conditions)
            if solved:
                units = [unit for unit in units if unit not in group] + [solved]
        return units

    def is_settled(self, check: Check, units: Iterable[Unit]) -> bool:
        """Whether the pool of its only column was made by it."""
        return (
            len(check.columns) == 1
            and any(unit.columns == check.columns for unit in units)
            and not any(check.columns[0] in key.columns for key in self.turn.table.foreign_keys)
        )

    def solved(self, group: Sequence[Unit], conditions: Sequence[str]) -> Unit | None:
        """One unit whose rows break no condition; None where none was found."""
        columns = tuple(name for unit in group for name in unit.columns)
        types = tuple(self.table.columns[name].sql_type for name in columns)
        question = Question(self.connection, self.table.name, columns, types, tuple(conditions))
        pools = [(unit.pool, unit.nothings()) for unit in group]
        unique = any(key & set(columns) for key in self.table.keys)
        seed = f"{self.table.name} {columns}"
        found = joint(question, pools, self.rows, seed, distinct=unique)
        return Unit(columns, found) if found else None


def connected(checks: Sequence[Check], units: Sequence[Unit]) -> tuple[set[str], list[str]]:
    """The columns and conditions that hang together with the first of *checks*."""
    names = set(checks[0].columns)
    while True:
        more = set(names)
        for columns in (*(check.columns for check in checks), *(unit.columns for unit in units)):
            if more & set(columns):
                more |= set(columns)
        if more == names:
            return names, [check.expression for check in checks if set(check.columns) <= names]
        names = more


def join(one: Unit, other: Unit) -> Unit:
    """Rows of both that agree where they share columns; NULL where only one of them may be."""
    shared = [name for name in one.columns if name in other.columns]
    added = [name for name in other.columns if name not in shared]
    partners: dict[Row, list[Row]] = {}
    for row in other.pool:
        values = dict(zip(other.columns, row, strict=True))
        agree = tuple(values[name] for name in shared)
        partners.setdefault(agree, []).append(tuple(values[name] for name in added))
    found: dict[Row, None] = {}
    for turn in range(JOINS):
        for number, row in enumerate(one.pool):
            values = dict(zip(one.columns, row, strict=True))
            match = partners.get(tuple(values[name] for name in shared))
            if match:
                found[(*row, *match[(number + turn) % len(match)])] = None
    nullable = (one.nullable | other.nullable) - set(shared)
    return Unit((*one.columns, *added), list(found), nullable)
