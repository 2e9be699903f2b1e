"""Values that CHECKs accept: candidates out of their own words, and PostgreSQL's answer to each.

Nothing here understands SQL.  The literals and numbers of a condition suggest values; one SELECT
evaluates the condition over all of them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from itertools import chain, islice, pairwise, product, zip_longest
from typing import TypeAlias, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from .literals import identifier, listed, literal, sql
from .patterns import Beyond, of_like, of_regex
from .values import Kind, Style, in_braces, of_length

T = TypeVar("T")
STRING = re.compile(r"(\bE)?'((?:[^']|'')*)'")
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])")
TRIED = (0, 1, 2, 5)  # of each style, before many are made
WINNERS = 3  # styles of which many are made
COMBINATIONS = 1_500
ASKED = 300  # statements for one question
FEW = 20  # values that make a column one of kinds, of states
SMALL = 12  # values of a column that are combined with all sorts of others
Row: TypeAlias = tuple[str | None, ...]


@dataclass(frozen=True)
class Question:
    """Conditions over columns; *name* is the table's, for a condition that speaks of it."""

    connection: Connection
    name: str
    columns: tuple[str, ...]
    sql_types: tuple[str, ...]
    conditions: tuple[str, ...]

    def accepted(self, rows: Sequence[Row]) -> list[Row]:
        """Those of *rows* that break no condition.

        PostgreSQL may refuse to read one, or to evaluate it: then halves are asked, and so on, for
        a while.
        """
        waiting, found = [(0, rows)] if rows else [], list[int]()
        for _ in range(ASKED):
            if not waiting:
                break
            begin, part = waiting.pop()
            try:
                with self.connection.begin_nested():
                    passing = self.connection.execute(sql(self.statement(part))).scalars().all()
                found += [begin + number for number in passing]
            except DBAPIError:
                middle = len(part) // 2
                if middle:
                    waiting += [(begin + middle, part[middle:]), (begin, part[:middle])]
        return [rows[number] for number in sorted(found)]

    def statement(self, rows: Sequence[Row]) -> str:
        """A SELECT of the numbers of the rows that pass."""
        number = identifier("number of the row")
        lines = ", ".join(
            f"({place}, {', '.join(map(literal, row))})" for place, row in enumerate(rows)
        )
        casts = ", ".join(
            f"CAST({identifier(name)} AS {sql_type}) AS {identifier(name)}"
            for name, sql_type in zip(self.columns, self.sql_types, strict=True)
        )
        names = listed(self.columns)
        # What nothing asks for would not be cast, and so not be refused.
        passes = [f"num_nulls({names}) >= 0"]
        passes += [f"coalesce(({each}), true)" for each in self.conditions]
        return (
            f"SELECT {number} FROM (SELECT {number}, {casts} "
            f"FROM (VALUES {lines}) AS literals ({number}, {names})) AS {identifier(self.name)} "
            f"WHERE {' AND '.join(passes)} ORDER BY {number}"
        )


def words(conditions: Iterable[str]) -> tuple[list[str], list[str]]:
    """The strings and the numbers that *conditions* mention, each once."""
    strings: dict[str, None] = {}
    numbers: dict[str, None] = {}
    for condition in conditions:
        for escape, quoted in STRING.findall(condition):
            value = quoted.replace("''", "'")
            if escape:
                value = value.replace("\\\\", "\\")
            strings[value] = None
            if value.startswith("{") and value.endswith("}"):
                strings.update(dict.fromkeys(part.strip('"') for part in value[1:-1].split(",")))
        numbers.update(dict.fromkeys(NUMBER.findall(STRING.sub("''", condition))))
        numbers.update(dict.fromkeys(each for each in strings if NUMBER.fullmatch(each)))
    return list(strings), list(numbers)


def suggestions(kind: Kind, conditions: Sequence[str]) -> tuple[list[Style], list[str]]:
    """What *conditions* suggest for a column of *kind*: styles, and single values."""
    strings, numbers = words(conditions)
    styles: list[Style] = []
    singles: list[str] = []
    if kind.family == "text":
        singles += strings
        styles += [*text_styles(strings), *sized(numbers)]
    elif kind.family == "number":
        singles += list(around(numbers))
    elif kind.family in {"date", "timestamp"}:
        singles += list(days(strings))
    elif kind.family == "json":
        singles += documents(strings)
    elif kind.family == "array" and kind.element is not None:
        inner, single = suggestions(kind.element, conditions)
        singles += [in_braces([each]) for each in single]
        singles += [in_braces(single[:count]) for count in range(2, 4) if len(single) >= count]
        styles += [braced(style) for style in inner]
    elif kind.family in {"time", "interval", "range", "other", "bytes", "unknown"}:
        singles += strings
    return [*styles, *kind.styles], singles


def braced(style: Style) -> Style:
    """An array of one."""
    return lambda number: in_braces([style(number)])


def text_styles(strings: Sequence[str]) -> Iterator[Style]:
    """Texts that fit each of *strings*, were it a pattern."""
    for pattern in strings:
        if "%" in pattern or "_" in pattern:
            yield partial(of_like, pattern)
        if not pattern.isalnum():
            for made in (pattern, pattern.replace("%", ".*").replace("_", ".")):
                with suppress(Beyond, ValueError):
                    of_regex(made, 0)
                    yield partial(of_regex, made)


def sized(numbers: Sequence[str]) -> Iterator[Style]:
    """Texts as long as the conditions may want."""
    for number in numbers:
        if number.isdigit() and 0 < int(number) <= 2_000:
            for alphabet in (
                "abcdefghijklmnopqrstuvwxyz",
                "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                "0123456789",
            ):
                yield of_length(int(number), alphabet)


def around(numbers: Sequence[str]) -> Iterator[str]:
    """Each number, its neighbours, and the middles."""
    for number in numbers:
        whole, point, fraction = number.partition(".")
        yield number
        for step in (1, -1):
            yield f"{int(whole) + step}{point}{fraction}"
    sizes = sorted({int(number.partition(".")[0]) for number in numbers})
    yield from (str((low + high) // 2) for low, high in pairwise(sizes))


def days(strings: Sequence[str]) -> Iterator[str]:
    """Each moment, and the days about it."""
    for each in strings:
        found = re.match(r"\d{4}-\d\d-\d\d", each)
        if not found:
            continue
        yield each
        with suppress(ValueError, OverflowError):
            for step in (1, -1, 7):
                yield str(date.fromisoformat(found[0]) + timedelta(days=step))


def documents(strings: Sequence[str]) -> list[str]:
    """JSON objects with the keys that are asked for."""
    keys = ['"' + each.replace("\\", "\\\\").replace('"', '\\"') + '"' for each in strings]
    made = [
        "{" + ", ".join(f"{key}: {value}" for key in keys) + "}"
        for value in ("1", '"text"', "[]", "{}", "true", *keys[:5])
    ]
    return [*made, *keys]


def search(
    question: Question, kind: Kind, styles: Sequence[Style], singles: Sequence[str], wanted: int
) -> list[str]:
    """Up to *wanted* values of one column that pass; those of the plain style where they do."""
    asked = once(chain(singles, (style(number) for style in styles for number in TRIED)))
    fine = {value for (value,) in question.accepted([(each,) for each in asked if kind.fits(each)])}
    winners = sorted(
        (style for style in styles if any(style(n) in fine for n in TRIED)),
        key=lambda style: (style is not kind.styles[0], -sum(style(n) in fine for n in TRIED)),
    )[:WINNERS]
    made = interleaved(
        [each for each in singles if each in fine],
        *([style(number) for number in range(wanted)] for style in winners),
        [each for each in asked if each in fine],
    )
    many = [(each,) for each in islice(once(made), wanted * 2) if kind.fits(each)]
    return [value for (value,) in question.accepted(many) if value is not None][:wanted]


def once(made: Iterable[str]) -> list[str]:
    """Each once, in order."""
    return list(dict.fromkeys(made))


def interleaved(*lists: Sequence[T]) -> Iterator[T]:
    """The first of each, the second of each …"""
    for each in zip_longest(*lists):
        yield from (value for value in each if value is not None)


Pool: TypeAlias = tuple[Sequence[Row], Sequence[Row]]  # rows, and those with NULL instead


def joint(
    question: Question, pools: Sequence[Pool], wanted: int, seed: str, *, distinct: bool
) -> list[Row]:
    """Rows out of one choice of each of *pools* that pass together, up to *wanted*.

    By turns those that come of all sorts, as often as they come unless *distinct*, and those whose
    parts go in step; the same ones in every run.
    """
    chance = random.Random(seed)  # noqa: S311 - no secret
    in_step, mixed = list(parallel(pools, wanted)), list(one_sided(pools))
    for number in range(COMBINATIONS):
        # By turns out of a few values, which meet often, and out of all.
        size = SMALL if number % 3 else None
        mixed.append(flat(chosen(chance, pool, size) for pool in pools))
    passing = set(question.accepted(list(dict.fromkeys([*in_step, *mixed]))))
    in_step = [row for row in dict.fromkeys(in_step) if row in passing]
    mixed = [row for row in mixed if row in passing]
    if distinct:
        mixed = [row for row in dict.fromkeys(mixed) if row not in in_step]
    chance.shuffle(mixed)
    return list(islice(interleaved(varied(mixed), in_step), wanted))


def varied(rows: Sequence[Row]) -> list[Row]:
    """*rows* in another order: by turns one of each sort, so that a rare one comes soon.

    Of one sort are those that agree in the columns of few values, and in where they have NULL.
    """
    few = [len(set(column)) <= FEW for column in zip(*rows, strict=True)]
    sorts: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        sort = tuple(
            value if of_few else value is None for value, of_few in zip(row, few, strict=True)
        )
        sorts.setdefault(sort, []).append(row)
    return list(interleaved(*sorts.values()))


def parallel(pools: Sequence[Pool], wanted: int) -> Iterator[Row]:
    """The first of each pool, the second of each …; and each pool a little ahead of the last."""
    longest = min(wanted, max(len(rows) for rows, _ in pools))
    for shift, number in product((0, 1, -1), range(longest)):
        yield flat(
            rows[(number + shift * place) % len(rows)] for place, (rows, _) in enumerate(pools)
        )


def one_sided(pools: Sequence[Pool]) -> Iterator[Row]:
    """One pool alone gives NULL, or all but one."""
    for odd, alone in product(range(len(pools)), (True, False)):
        yield flat(
            (nothings or rows)[0] if (place == odd) is alone else rows[0]
            for place, (rows, nothings) in enumerate(pools)
        )


def flat(parts: Iterable[Row]) -> Row:
    """One row out of its parts."""
    return tuple(chain.from_iterable(parts))


def chosen(chance: random.Random, pool: Pool, size: int | None) -> Row:
    """One of the first *size* rows, or of all; NULL, where it may be, half of the times."""
    rows, nothings = pool
    if nothings and chance.random() < 0.5:
        return chance.choice(nothings)
    return rows[chance.randrange(min(size or len(rows), len(rows)))]
