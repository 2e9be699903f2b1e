"""Texts that fit a pattern: made to be tried, for PostgreSQL itself has the last word."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from functools import cache

CLASSES = {
    "d": string.digits,
    "w": string.ascii_lowercase + string.digits + "_" + string.ascii_uppercase,
    "s": " ",
    "D": string.ascii_lowercase,
    "W": "-",
    "S": string.ascii_lowercase,
}
NAMED = {
    "alpha": string.ascii_lowercase + string.ascii_uppercase,
    "digit": string.digits,
    "alnum": string.ascii_lowercase + string.digits + string.ascii_uppercase,
    "lower": string.ascii_lowercase,
    "upper": string.ascii_uppercase,
    "space": " ",
    "xdigit": string.digits + "abcdef",
    "punct": "-.,",
    "word": CLASSES["w"],
}
ANY = string.ascii_lowercase + string.digits
MORE = 4  # repeats beyond the least, where there is no end
LONGEST = 2_000
QUANTIFIER = re.compile(r"([*+?]|\{(\d+)(,?)(\d*)\})\??")
CLASS = re.compile(r"(\^?)(\]?(?:\[:\w+:\]|\\.|[^\]\\])*)\]")
MEMBER = re.compile(r"\[:(\w+):\]|(?:\\(.)|(.))(?:-(?:\\(.)|([^\]])))?", re.DOTALL)
PRINTED = "".join(chr(code) for code in range(33, 127))


class Beyond(Exception):
    """The pattern holds what is not made here: look-around, back references."""


def of_like(pattern: str, number: int) -> str:
    """The *number*-th text that ``LIKE pattern`` accepts."""
    made = re.sub(
        r"\\(.)|(%)|(_)", lambda found: found[1] or (f"v{number}" if found[2] else "x"), pattern
    )
    return made[:LONGEST]


def of_regex(pattern: str, number: int) -> str:
    """The *number*-th text that the regular expression accepts.  Raises ``Beyond``."""
    maker = Maker(pattern, number)
    made = maker.alternatives()
    if maker.place < len(pattern):
        raise Beyond(pattern)
    return made


@dataclass
class Maker:
    """Reads *pattern* once, and writes as it reads; *number* is spent on its choices.

    Different numbers give different texts as long as there are choices to make.
    """

    pattern: str
    number: int
    place: int = 0

    def choose(self, count: int) -> int:
        """One of so many, by what is left of the number."""
        self.number, chosen = divmod(self.number, max(count, 1))
        return chosen

    def ahead(self) -> str:
        """The next character; "" at the end."""
        return self.pattern[self.place : self.place + 1]

    def take(self) -> str:
        """The next character, consumed.  Raises ``Beyond`` at the end."""
        if self.place >= len(self.pattern):
            raise Beyond(self.pattern)
        self.place += 1
        return self.pattern[self.place - 1]

    def alternatives(self) -> str:
        """One of those between the bars."""
        made = [self.sequence()]
        while self.ahead() == "|":
            self.take()
            made.append(self.sequence())
        return made[self.choose(len(made))]

    def sequence(self) -> str:
        """Pieces one after another."""
        made = ""
        while self.ahead() and self.ahead() not in "|)":
            made += self.piece()
            if len(made) > LONGEST:
                raise Beyond(self.pattern)
        return made

    def piece(self) -> str:
        """An atom, as often as its quantifier wants."""
        begin, number = self.place, self.number
        first = self.atom()
        least, most = self.quantifier()
        if (least, most) == (1, 1):
            return first
        after, self.number = self.place, number
        made = ""
        for _ in range(least + self.choose(most - least + 1)):
            # Read again: each repeat makes its own choices.
            self.place = begin
            made += self.atom()
            if len(made) > LONGEST:
                raise Beyond(self.pattern)
        self.place = after
        return made

    def quantifier(self) -> tuple[int, int]:
        """How often, at least and at most."""
        found = QUANTIFIER.match(self.pattern, self.place)
        if not found:
            return 1, 1
        self.place = found.end()
        if found[2] is None:
            return {"*": (0, MORE), "+": (1, 1 + MORE), "?": (0, 1)}[found[1]]
        least = int(found[2])
        if not found[3]:
            return least, least
        return least, min(int(found[4]), least + MORE) if found[4] else least + MORE

    def atom(self) -> str:
        """A character, a class, a group, or an anchor, which is nothing."""
        char = self.take()
        if char == "(":
            if self.pattern.startswith("?:", self.place):
                self.place += 2
            elif self.ahead() == "?":
                raise Beyond(self.pattern)
            made = self.alternatives()
            if self.take() != ")":
                raise Beyond(self.pattern)
            return made
        if char == "[":
            options, self.place = members(self.pattern, self.place)
            return options[self.choose(len(options))]
        if char in "^$":
            return ""
        if char == ".":
            return ANY[self.choose(len(ANY))]
        return self.escaped() if char == "\\" else char

    def escaped(self) -> str:
        """What a backslash begins."""
        char = self.take()
        if char in CLASSES:
            return CLASSES[char][self.choose(len(CLASSES[char]))]
        if char in "AZmMyY":
            return ""
        if char.isalnum():
            raise Beyond(self.pattern)
        return char


@cache
def members(pattern: str, place: int) -> tuple[str, int]:
    """The characters of the class that begins at *place*, and where it ends.  Raises ``Beyond``."""
    found = CLASS.match(pattern, place)
    if not found:
        raise Beyond(pattern)
    options = ""
    for each in MEMBER.finditer(found[2]):
        named, escape, char, escape_end, end = each.groups()
        last = escape_end or end
        if named:
            options += NAMED.get(named, "")
        elif last:
            options += "".join(map(chr, range(ord(escape or char), ord(last) + 1)))
        else:
            options += CLASSES.get(escape, escape) if escape else char
    if found[1]:
        options = "".join(char for char in ANY + PRINTED if char not in options)
    if not options:
        raise Beyond(pattern)
    return options, found.end()
