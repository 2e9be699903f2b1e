"""Rows for every table, made from what PostgreSQL's catalogue says and from nothing else.

Each table after those that it refers to; what PostgreSQL refuses is tried in smaller parts.  The
same schema gets the same rows in every run, identities and clocks aside.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from .core import Unfilled
from .filling.kinds import Kinds
from .filling.literals import identifier, listed, literal, sql
from .filling.order import Turn, circles, ordered
from .filling.tables import ForeignKey, Table, tables
from .filling.units import Maker, Orphan, Plans, Unit
from .refusal import reason

ROWS = 200
VERSION_TABLE = "alembic_version"
ATTEMPTS = 40  # statements for a table of which PostgreSQL refuses something
LUCK = 30  # single rows for a table that takes none of the planned ones
NO_ROW = "no row stayed: a trigger or a rule took it, or each met one that was there"

# No column is likely to be called so.
NUMBER, PART, PLACE = '"number of the row"', '"part of the row"', '"place of the row"'

Values = Mapping[str, str | None]


def fill(
    connection: Connection, *, rows: int = ROWS, version_table: str = VERSION_TABLE
) -> tuple[dict[str, int], list[Unfilled]]:
    """How many rows each table has now, and the tables that have none, with PostgreSQL's reason.

    Views and foreign tables get none; a partition counts with its whole.  All is done within the
    caller's transaction, each statement in a savepoint.
    """
    turns = ordered(tables(connection, version_table=version_table))
    filler = Filler(connection, rows, Kinds(connection, rows))
    connection.execute(sql("SET CONSTRAINTS ALL IMMEDIATE"))
    by_oid = {turn.table.oid: turn.table for turn in turns}
    for circle in circles(turns):
        if len(circle) == 1:
            filler.fill(circle[0])
        else:
            filler.circle(circle, by_oid)
    for turn in turns:
        for key in turn.later:
            filler.refer(turn.table, key)
    counts = {f"{turn.table.schema}.{turn.table.name}": filler.count(turn.table) for turn in turns}
    unfilled = [
        Unfilled(name, filler.reasons.get(name, NO_ROW))
        for name, count in counts.items()
        if not count
    ]
    return dict(sorted(counts.items())), sorted(unfilled, key=lambda each: each.table)


@dataclass
class Filler:
    """Fills one table after another; *reasons* are PostgreSQL's, by table."""

    connection: Connection
    rows: int
    kinds: Kinds
    plans: Plans = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def circle(self, turns: Sequence[Turn], by_oid: Mapping[int, Table]) -> None:
        """Tables that refer to each other: the keys are planned before the rows are there."""
        for key in (key for turn in turns for key in turn.deferred):
            columns = by_oid[key.target].columns
            plan = self.plans.setdefault(key.target, {})
            for name in key.targets:
                make = self.kinds.of(columns[name].type, columns[name].typmod).styles[0]
                plan[name] = [make(number) for number in range(self.rows)]
        try:
            with self.connection.begin_nested():
                self.connection.execute(sql("SET CONSTRAINTS ALL DEFERRED"))
                for turn in turns:
                    self.fill(turn)
                self.connection.execute(sql("SET CONSTRAINTS ALL IMMEDIATE"))
        except DBAPIError as error:
            for turn in turns:
                self.reasons.setdefault(name_of(turn.table), reason(error))
            self.connection.execute(sql("SET CONSTRAINTS ALL IMMEDIATE"))

    def fill(self, turn: Turn) -> None:
        """Insert what PostgreSQL takes of one table."""
        table = turn.table
        maker = Maker(self.connection, self.kinds, self.rows, turn, self.plans)
        try:
            units = maker.units()
        except Orphan as orphan:
            self.reasons[name_of(table)] = str(orphan)
            return
        for rows in self.trials(turn, units):
            self.insert(table, rows)
            if self.count(table):
                return

    def trials(self, turn: Turn, units: Sequence[Unit]) -> Iterator[Sequence[Values]]:
        """What to try until something stays: the plan, nothing but what must be, luck."""
        plan = [
            whole(turn, (unit.row(number, place) for place, unit in enumerate(units)))
            for number in range(self.rows)
        ]
        yield plan
        columns = turn.table.columns
        tied = {name for key in turn.table.foreign_keys for name in (*key.columns, *key.targets)}
        needed = [
            name
            for name in plan[0]
            if name in tied or (columns[name].not_null and columns[name].default is None)
        ]
        if len(needed) < len(plan[0]):
            yield [{name: row[name] for name in needed} for row in plan]
        chance = random.Random(name_of(turn.table))  # noqa: S311 - no secret
        for _ in range(LUCK):
            yield [whole(turn, (unit.by_chance(chance) for unit in units))]

    def insert(self, table: Table, rows: Sequence[Values]) -> None:
        """Insert *rows*; where PostgreSQL refuses, halves of them, and so on for a while."""
        waiting = [rows]
        for _ in range(ATTEMPTS):
            if not waiting:
                return
            part = waiting.pop()
            try:
                with self.connection.begin_nested():
                    self.connection.execute(sql(insertion(table, part)))
            except DBAPIError as error:
                self.reasons.setdefault(name_of(table), reason(error))
                if len(part) > 1:
                    middle = len(part) // 2
                    waiting += [part[middle:], part[:middle]]

    def refer(self, table: Table, key: ForeignKey) -> None:
        """Let every other row refer, now that there is something to refer to; what can, does."""
        statement = reference(table, key, self.kinds.name_of(key.target))
        try:
            with self.connection.begin_nested():
                self.connection.execute(sql(statement))
        except DBAPIError:
            return  # the table has its rows, with NULL in this column

    def count(self, table: Table) -> int:
        """How many rows there are."""
        return int(self.connection.scalar(sql(f"SELECT count(*) FROM {table.own}")) or 0)


def name_of(table: Table) -> str:
    """``schema.name``."""
    return f"{table.schema}.{table.name}"


def whole(turn: Turn, parts: Iterator[dict[str, str | None]]) -> dict[str, str | None]:
    """One row out of its *parts*; a key that must refer to its own table refers to the row."""
    row = {name: value for part in parts for name, value in part.items()}
    for key in turn.own:
        row.update(
            {name: row.get(target) for name, target in zip(key.columns, key.targets, strict=True)}
        )
    return row


def insertion(table: Table, rows: Sequence[Values]) -> str:
    """The INSERT; a row that meets another's key is passed over."""
    names = list(rows[0])
    always = any(table.columns[name].identity == "a" for name in names)
    # A table whose values are all made by PostgreSQL.
    some = names or list(table.columns)[:1]
    if not some:
        return f"INSERT INTO {table.sql} DEFAULT VALUES"
    lines = (
        f"({', '.join(literal(row[name]) for name in names) if names else 'DEFAULT'})"
        for row in rows
    )
    conflict = " ON CONFLICT DO NOTHING" if table.takes_on_conflict else ""
    overriding = "OVERRIDING SYSTEM VALUE " if always else ""
    return (
        f"INSERT INTO {table.sql} ({listed(some)}) {overriding}VALUES {', '.join(lines)}{conflict}"
    )


def reference(table: Table, key: ForeignKey, target: str) -> str:
    """An UPDATE that lets every other row of *table* refer by *key* to a row of *target*.

    Within the table itself to the row before; where other columns of the key are set already, to a
    row that agrees with them.
    """
    pairs = list(zip(key.columns, key.targets, strict=True))
    free = [pair for pair in pairs if not table.columns[pair[0]].not_null]
    fixed = [pair for pair in pairs if pair not in free]
    child = "".join(f"{identifier(name)}, " for name, _ in fixed)
    parent = listed(name for _, name in fixed)
    agree = "".join(f" AND p.{identifier(theirs)} = k.{identifier(ours)}" for ours, theirs in fixed)
    sets = ", ".join(f"{identifier(ours)} = p.{identifier(theirs)}" for ours, theirs in free)
    present = " AND ".join(f"{identifier(name)} IS NOT NULL" for _, name in pairs)
    number = f"row_number() OVER ({{}}ORDER BY ctid) AS {NUMBER}"
    shift = " - 1" if key.target == table.oid else ""
    return f"""
        UPDATE {table.own} AS c SET {sets}
        FROM (
            SELECT {child}tableoid AS {PART}, ctid AS {PLACE},
                {number.format(f"PARTITION BY {child[:-2]} " if fixed else "")}
            FROM {table.own}
        ) AS k
        JOIN (
            SELECT {listed(name for _, name in pairs)},
                {number.format(f"PARTITION BY {parent} " if fixed else "")}
            FROM {target} WHERE {present}
        ) AS p ON p.{NUMBER} = k.{NUMBER}{shift}{agree}
        WHERE c.ctid = k.{PLACE} AND c.tableoid = k.{PART} AND k.{NUMBER} % 2 = 0
    """
