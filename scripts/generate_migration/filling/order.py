"""In which order tables are filled: each after those that it cannot do without."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from .tables import ForeignKey, Table


@dataclass(frozen=True)
class Turn:
    """A table whose turn it is, and its foreign keys by when they can be set."""

    table: Table
    now: tuple[ForeignKey, ...] = ()  # the rows that they refer to are there
    own: tuple[ForeignKey, ...] = ()  # NOT NULL, to the table itself: a row refers to itself
    later: tuple[ForeignKey, ...] = ()  # NULL until all tables are filled
    deferred: tuple[ForeignKey, ...] = ()  # to rows that come, checked at the end


@dataclass
class Line:
    """The tables that wait, and those that are through."""

    waiting: dict[int, Table]
    turns: list[Turn] = field(default_factory=list)

    def ahead(self, table: Table, *, hard: bool) -> list[ForeignKey]:
        """The foreign keys of *table* to tables that wait; with *hard* only those it needs."""
        return [
            key
            for key in table.foreign_keys
            if key.target in self.waiting and key.target != table.oid
            if not (hard and table.is_soft(key))
        ]

    def next(self) -> Table:
        """The table that has to do with least: by name among equals."""

        def missing(table: Table) -> tuple[int, int, int]:
            hard = self.ahead(table, hard=True)
            fixed = [key for key in hard if not key.is_deferrable]
            return len(fixed), len(hard), len(self.ahead(table, hard=False))

        return min(self.waiting.values(), key=missing)

    def take(self, table: Table) -> None:
        """It is the turn of *table*."""
        pending = self.ahead(table, hard=False)
        own = [key for key in table.foreign_keys if key.target == table.oid]
        later = [key for key in [*own, *pending] if table.is_soft(key)]
        deferred = [key for key in pending if key not in later and key.is_deferrable]
        now = [key for key in table.foreign_keys if key not in [*own, *later, *deferred]]
        self.turns.append(
            Turn(
                table,
                tuple(now),
                tuple(key for key in own if key not in later),
                tuple(later),
                tuple(deferred),
            )
        )
        del self.waiting[table.oid]


def ordered(found: Iterable[Table]) -> list[Turn]:
    """The turns of all tables."""
    line = Line({table.oid: table for table in found})
    while line.waiting:
        line.take(line.next())
    return line.turns


def circles(turns: Sequence[Turn]) -> Iterator[Sequence[Turn]]:
    """Each turn alone, or with all up to the last that its deferred keys refer to."""
    numbers = {turn.table.oid: number for number, turn in enumerate(turns)}
    begin = 0
    while begin < len(turns):
        end = number = begin
        while number <= end:
            ahead = [numbers[key.target] for key in turns[number].deferred]
            end = max([end, *ahead])
            number += 1
        yield turns[begin : end + 1]
        begin = end + 1
