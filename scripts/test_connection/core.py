"""What fails, and what is said of it; what is seen, and whether that is fine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus, unquote

FINE, CHECKS, USAGE, UNREACHABLE, AUTHENTICATION, TLS, NOT_READY = range(7)
LAYERS = (
    "URL",
    "driver",
    "DNS",
    "TCP",
    "TLS",
    "server",
    "authentication",
    "connections",
    "statement",
)
DRIVERS = ("psycopg", "psycopg2", "asyncpg")
LEVELS = ("ok", "note", "warning", "failure")
HIDDEN = "***"
SURE = 6  # characters; a shorter one may be part of a word


@dataclass(frozen=True)
class Failure:
    """The layer at which it ends: what was seen, likely causes and what to try, likeliest first."""

    layer: str
    exit_code: int
    seen: str
    causes: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    passing: bool = False  # it may be over in a moment: --wait tries again
    slow: bool = False  # seen by waiting in vain; a driver would wait again
    said: str = ""  # what the driver says of it
    again: bool = False  # libpq tries once more with TLS, or without it


class Failed(Exception):
    """Ends the walk."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.seen)
        self.failure = failure


def failed(layer: str, exit_code: int, seen: str, *causes: str, **more: Any) -> Failed:
    """A failure to raise; *commands* and *passing* by name."""
    commands = tuple(more.pop("commands", ()))
    return Failed(Failure(layer, exit_code, seen, causes, commands, **more))


@dataclass(frozen=True)
class Step:
    """A layer that was passed, and what was seen there; a note where not all went well."""

    layer: str
    seen: str
    level: str = "ok"


@dataclass(frozen=True)
class Check:
    """One fact of a server that answers.  *level*: ok, note, warning, failure."""

    name: str
    level: str
    seen: str
    fix: str = ""


@dataclass
class Report:
    """What one run saw."""

    target: str
    driver: str = ""
    version: str = ""
    steps: list[Step] = field(default_factory=list)
    failure: Failure | None = None
    checks: list[Check] = field(default_factory=list)

    def exit_code(self) -> int:
        """Of this run alone."""
        if self.failure is not None:
            return self.failure.exit_code
        return CHECKS if any(check.level == "failure" for check in self.checks) else FINE


class Secrets:
    """What must not be shown, in whatever text it turns up."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.public: set[str] = set()

    def add(self, *texts: str | None) -> None:
        """Hide these from now on, and how a URL or Python would write them."""
        for text in filter(None, texts):
            for form in {text, unquote(text)}:
                self.known |= {
                    form,
                    quote(form, safe="", errors="surrogatepass"),
                    quote_plus(form, errors="surrogatepass"),
                    quote(form, errors="surrogatepass"),
                    re.sub(r"[:@/]", lambda found: quote(found[0], safe=""), form),
                    repr(form)[1:-1],
                    " ".join(form.split()),
                }
        self.known.discard("")

    def show(self, *names: str) -> None:
        """These are no secrets, though a password is the same: the role, the database, the host."""
        self.public.update(names)

    def hide(self, text: str) -> str:
        """*text* without them, and without what would steer a terminal."""
        return printable(self.masked(text))

    def told(self, text: str) -> str:
        """What a driver says, on one line: hidden first, since a secret may have line ends."""
        return printable(one_line(self.masked(text)))

    def masked(self, text: str) -> str:
        """*text* without them."""
        for secret in sorted(self.known - self.public, key=len, reverse=True):
            text = re.sub(pattern_of(secret), HIDDEN, text)
        return text


def printable(text: str) -> str:
    """*text* without what would steer a terminal."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def one_line(text: str) -> str:
    """The lines of *text* as one, a repeated one once: libpq's second try says the same again."""
    told = ""
    for line in (" ".join(each.split()) for each in text.splitlines()):
        if line and line not in told:
            told += ("" if not told else " " if told[-1] in ".:;," else "; ") + line
    return told


def pattern_of(secret: str) -> str:
    """Where *secret* is the secret, and not a piece of our own words.

    A password may be "a", or "password": hidden in every sentence, it would be told by the holes.
    """
    found = re.escape(secret)
    if re.fullmatch(r"[a-z]+", secret):  # between the marks of a quotation, a URL, a setting
        return rf"""(?<=[:='"]){found}(?=['"@,;/?&\s]|$)"""
    if len(secret) >= SURE:
        return found
    before = r"(?<!\w)" if re.match(r"\w", secret) else ""
    after = r"(?!\w)" if re.search(r"\w$", secret) else ""
    return before + found + after
