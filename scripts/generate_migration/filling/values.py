"""Values of each type of PostgreSQL as text, in its own input syntax, the same in every run."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from string import ascii_lowercase, ascii_uppercase
from typing import TypeAlias

# The value of a number: different ones for different numbers, where the type has so many.
Style: TypeAlias = Callable[[int], str]
DAY, NOON = date(2024, 1, 1), datetime(2024, 1, 1, 12)
CODE = "0123456789" + ascii_lowercase


@dataclass(frozen=True)
class Kind:
    """How values of a type are made: the first style is the plain one, the rest are tried."""

    family: str  # text, number, date, timestamp, json, array …: what a CHECK may ask of it
    styles: tuple[Style, ...]
    extremes: tuple[str, ...] = ()  # what a narrower type would not hold
    longest: int | None = None  # characters
    element: Kind | None = None

    def fits(self, value: str | None) -> bool:
        """Whether it is short enough: a cast would cut it, an INSERT refuse it."""
        return value is None or self.longest is None or len(value) <= self.longest


def cycle(values: Sequence[str]) -> Style:
    """*values* one after another, again and again."""
    return lambda number: values[number % len(values)]


def of_length(length: int, alphabet: str) -> Style:
    """Texts of exactly *length* out of *alphabet*, another for each number while there are any."""

    def style(number: int) -> str:
        made = ""
        while number and len(made) < length:
            number, digit = divmod(number, len(alphabet))
            made = alphabet[digit] + made
        return made.rjust(length, alphabet[0])

    return style


def day(number: int) -> str:
    """A day each."""
    return str(DAY + timedelta(days=number))


def hour(number: int) -> str:
    """An hour each."""
    return f"{NOON + timedelta(hours=number)}"


def minute(number: int) -> str:
    """A time of the day each."""
    return f"{number // 60 % 24:02}:{number % 60:02}"


def key(number: int) -> str:
    """A UUID of version 4, as PostgreSQL's own are."""
    return str(uuid.UUID(int=number + 1, version=4))


def octets(number: int) -> tuple[int, int]:
    """The last two bytes."""
    return number // 256 % 256, number % 256


TEXTS: tuple[Style, ...] = (
    lambda n: f"text {n}",
    lambda n: f"text-{n}",
    lambda n: f"text_{n}",
    lambda n: f"text{n}@example.org",
    lambda n: f"https://example.org/{n}",
    lambda n: f"{n + 1}",
    cycle(ascii_lowercase),
    cycle(ascii_uppercase),
    of_length(2, ascii_uppercase),
    of_length(3, ascii_uppercase),
    of_length(2, ascii_lowercase),
    of_length(3, ascii_lowercase),
    lambda n: f"{n:032x}",
    lambda n: f"{n:040x}",
    lambda n: f"{n:064x}",
    lambda n: f"#{n:06x}",
    lambda n: f"+4930{n:07}",
    lambda n: f"/path/{n}",
    lambda n: f"1.0.{n}",
    lambda n: f"file{n}.txt",
    lambda n: f"Text {n}",
    lambda n: f"TEXT{n}",
    lambda n: f"text{n}",
    lambda n: "10.0.{}.{}".format(*octets(n)),
    lambda n: f'{{"n": {n}}}',
    key,
    day,
    hour,
    lambda n: "x" * (n + 1),
    lambda n: "",
)
NUMBERS: tuple[Style, ...] = (
    lambda n: f"{n + 1}",
    lambda n: f"{-n - 1}",
    lambda n: f"{n % 100}",
    lambda n: f"{2 * n}",
    lambda n: f"{100 + n}",
    lambda n: f"{1000 * (n + 1)}",
    lambda n: f"{2000 + n % 30}",
    lambda n: "0",
)
FRACTIONS: tuple[Style, ...] = (
    *NUMBERS,
    lambda n: f"0.{n % 100:02}",
    lambda n: f"{n % 90}.{n % 10}",
)
DAYS: tuple[Style, ...] = (
    day,
    lambda n: str(DAY - timedelta(days=n)),
    lambda n: str(date(2100, 1, 1) + timedelta(days=n)),
    lambda n: str(date(1990 + n // 12 % 100, n % 12 + 1, 1)),
    lambda n: str(date(1950, 1, 1) + timedelta(days=31 * n)),
)
HOURS: tuple[Style, ...] = (
    hour,
    lambda n: f"{NOON - timedelta(hours=n)}",
    lambda n: f"{datetime(2100, 1, 1) + timedelta(hours=n)}",
    lambda n: f"{datetime(1990, 1, 1) + timedelta(days=n)}",
    lambda n: f"{date(1990 + n // 12 % 100, n % 12 + 1, 1)} 00:00",
)
SPANS: tuple[Style, ...] = (
    lambda n: f"{n + 1} hours",
    lambda n: f"{n + 1} days",
    lambda n: f"{n + 1} minutes",
    lambda n: f"{n + 1} months",
    lambda n: f"{-n - 1} hours",
)
DOCUMENTS: tuple[Style, ...] = (
    lambda n: f'{{"n": {n}}}',
    lambda n: f"[{n}]",
    lambda n: f'"text {n}"',
    lambda n: f"{n}",
    lambda n: "{}",
    lambda n: "[]",
    cycle(("true", "false")),
    lambda n: "null",
)
BYTES: tuple[Style, ...] = (
    lambda n: f"\\x{n:08x}",
    lambda n: f"\\x{n:032x}",
    lambda n: f"\\x{n:040x}",
    lambda n: f"\\x{n:064x}",
)
# By the names of pg_type: those of one family, and what they share.
FAMILIES: tuple[tuple[str, str, tuple[Style, ...]], ...] = (
    ("number", "int2 int4 int8 oid xid xid8", NUMBERS),
    ("number", "numeric float4 float8 money", FRACTIONS),
    ("text", "text varchar bpchar name citext", TEXTS),
    ("text", "char", (cycle(ascii_lowercase),)),
    ("bool", "bool", (cycle(("true", "false")),)),
    ("date", "date", DAYS),
    ("timestamp", "timestamp timestamptz", HOURS),
    ("time", "time", (minute,)),
    ("time", "timetz", (lambda n: f"{minute(n)}+00",)),
    ("interval", "interval", SPANS),
    ("json", "json jsonb", DOCUMENTS),
    ("bytes", "bytea", BYTES),
)
# One style is enough; figures lie apart, so that none overlaps the next.
OTHERS: Mapping[str, Style] = {
    "uuid": key,
    "jsonpath": lambda n: f"$.a{n}",
    "inet": lambda n: "10.0.{}.{}".format(*octets(n)),
    "cidr": lambda n: "10.{}.{}.0/24".format(*octets(n)),
    "macaddr": lambda n: "02:00:00:00:{:02x}:{:02x}".format(*octets(n)),
    "macaddr8": lambda n: "02:00:00:00:00:00:{:02x}:{:02x}".format(*octets(n)),
    "tsvector": lambda n: f"word{n}",
    "tsquery": lambda n: f"word{n}",
    "xml": lambda n: f"<n>{n}</n>",
    "pg_lsn": lambda n: f"0/{n + 1:X}",
    "hstore": lambda n: f'"n"=>"{n}"',
    "ltree": lambda n: f"a.b{n}",
    "point": lambda n: f"({2 * n},{2 * n})",
    "line": lambda n: f"{{1,-1,{n}}}",
    "lseg": lambda n: f"[({2 * n},0),({2 * n + 1},1)]",
    "box": lambda n: f"({2 * n + 1},{2 * n + 1}),({2 * n},{2 * n})",
    "path": lambda n: f"[({n},0),({n + 1},1)]",
    "polygon": lambda n: f"(({2 * n},0),({2 * n},1),({2 * n + 1},1))",
    "circle": lambda n: f"<({2 * n},0),0.5>",
}
PLAIN: Mapping[str, Kind] = {
    **{name: Kind("other", (style,)) for name, style in OTHERS.items()},
    **{name: Kind(family, styles) for family, all_, styles in FAMILIES for name in all_.split()},
}
EXTREMES = {"int8": "9007199254740993", "text": "long " * 60, "varchar": "long " * 60}
# What is tried of a type that nobody here knows: an extension's, a user's own.
PROBES = (
    *(style(number) for style in (TEXTS[5], TEXTS[22]) for number in range(3)),
    *("2024-01-01", "true", "(1,2)", "(1,2,3)", "[1]", "[1,2]", "[1,2,3]", "{}", "{1}", "a.b"),
    *("1.2.3", "0", "", "POINT(0 0)", "LINESTRING(0 0,1 1)", "POLYGON((0 0,0 1,1 1,0 0))"),
    *("10.0.0.1", "a", "1/1", "<a>", "9780306406157", "DE", "EUR", "$.a", "1 m", "\\x00"),
)


def plain(name: str, typmod: int) -> Kind | None:
    """The base type of that name, with its modifier; None for one that is not known here."""
    if name in {"bit", "varbit"}:
        length = typmod if typmod > 0 else 8
        return Kind("other", (of_length(length, "01"),))
    if name not in PLAIN:
        return None
    found = PLAIN[name]
    if typmod >= 4 and name == "numeric":
        return numeric(typmod)
    if typmod >= 4 and name in {"varchar", "bpchar"}:
        # The modifier of a text is its length and 4, those of its header.
        return short(found, typmod - 4)
    if name in {"name", "char"}:
        return short(found, 63 if name == "name" else 1)
    extreme = EXTREMES.get(name)
    return Kind(found.family, found.styles, (extreme,)) if extreme else found


def short(kind: Kind, length: int) -> Kind:
    """Texts of at most *length* characters; where they are too few, the plain ones are codes."""
    few = length < len("text 1000")
    styles = (of_length(min(length, 3), CODE), *kind.styles) if few else kind.styles
    extremes = () if few else ("l" + "o" * (min(length, 2_000) - 3) + "ng",)
    return Kind(kind.family, styles, extremes, length)


def numeric(typmod: int) -> Kind:
    """``numeric(precision, scale)``; the modifier holds both, the scale with its sign."""
    packed = typmod - 4
    precision, scale = packed >> 16 & 0xFFFF, ((packed & 0x7FF) ^ 0x400) - 0x400
    whole = precision - scale
    if whole <= 0:
        return Kind("number", (lambda n: f"0.{'0' * -whole}{n % 10**precision:0{precision}}",))
    unit = 10 ** max(-scale, 0)
    most = 10 ** min(precision, whole, 9)
    largest = "9" * whole + (f".{'9' * scale}" if scale > 0 else "")
    extremes = (largest,) if scale >= 0 else ()
    return Kind("number", (lambda n: str((n + 1) % most * unit), *FRACTIONS), extremes)


def array_of(element: Kind, delimiter: str) -> Kind:
    """One element, two, none, three."""

    def style(make: Style, count: int) -> Style:
        def made(number: int) -> str:
            return in_braces([make(count * number + each) for each in range(count)], delimiter)

        return made

    styles = tuple(style(make, count) for make in element.styles[:3] for count in (1, 2, 0, 3))
    return Kind("array", styles, element=element)


def in_braces(values: Sequence[str], delimiter: str = ",") -> str:
    """An array's literal."""
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + delimiter.join(f'"{value}"' for value in escaped) + "}"


def quoted(value: str) -> str:
    """A part of a range's or a composite's literal."""
    return '"' + value.replace("\\", "\\\\").replace('"', '""') + '"'


def range_of(bound: Kind) -> Kind:
    """Ranges that do not overlap, where the plain style of *bound* ascends."""
    make = bound.styles[0]
    styles: tuple[Style, ...] = (
        lambda n: f"[{quoted(make(2 * n))},{quoted(make(2 * n + 1))})",
        lambda n: f"[{quoted(make(n))},)",
        lambda n: "empty",
    )
    return Kind("range", styles, element=bound)


def multirange_of(part: Kind) -> Kind:
    """One range each."""
    make = part.styles[0]
    return Kind("other", (lambda n: "{" + make(n) + "}",))


def composite_of(parts: Sequence[Kind]) -> Kind:
    """A row, each attribute by its own kind."""
    return Kind(
        "other", (lambda n: "(" + ",".join(quoted(part.styles[0](n)) for part in parts) + ")",)
    )


def one_of(values: Sequence[str], family: str = "other") -> Kind:
    """Nothing but *values*."""
    return Kind(family, (cycle(values),))
