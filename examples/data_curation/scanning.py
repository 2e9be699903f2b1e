"""Does the database still say this anywhere?  Every text of every table and view is asked.

Problem: a list of the places where a name may stand forgets the audit trail, a partition, a JSON
document, a materialized view.  Pattern: ask the catalog for every column that can hold text, and
look into each with one pattern that knows the ways in which a term is written.
Run it as owner of the tables: where row-level security would hide rows it fails.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    ColumnElement,
    Select,
    TableClause,
    Text,
    cast,
    column,
    func,
    literal_column,
    or_,
    select,
    table,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

# Everything but numbers, booleans, times, geometry, addresses, bits and other things without words.
COLUMNS = text(
    """
    SELECT c.oid::bigint, s.nspname, c.relname, c.relkind::text, a.attname,
           CASE WHEN b.typname IN ('json', 'jsonb', 'tsvector') THEN b.typname
                WHEN t.typcategory = 'S' THEN 'text' ELSE 'other' END,
           format_type(a.atttypid, a.atttypmod), a.attgenerated <> ''
    FROM pg_class AS c
    JOIN pg_namespace AS s ON s.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type AS t ON t.oid = a.atttypid
    JOIN pg_type AS b ON b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
    WHERE c.relkind IN ('r', 'm', 'v', 'f') AND c.relpersistence <> 't'
      AND s.nspname <> 'information_schema' AND s.nspname NOT LIKE 'pg\\_%'
      AND t.typcategory NOT IN ('N', 'B', 'D', 'T', 'G', 'I', 'V', 'Z')
      AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass
                      AND d.objid = c.oid AND d.deptype = 'e')  -- an extension's own
    ORDER BY c.oid, a.attnum
    """
)


@dataclass(frozen=True)
class Place:
    """A column that can hold text; ``relkind`` r: table or partition, m: materialized view."""

    oid: int
    schema: str
    relation: str
    relkind: str
    name: str
    kind: str
    """text, json, jsonb, tsvector, or other: arrays, enumerations, composite types …"""
    type_name: str
    generated: bool

    @property
    def column(self) -> ColumnElement[Any]:
        """The column, for a statement of this relation alone."""
        return column(self.name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.relation}.{self.name}"


@dataclass(frozen=True)
class Finding:
    """A column, and in how many rows it says one of the terms."""

    place: Place
    rows: int


def relation_of(places: Sequence[Place], *more: str) -> TableClause:
    """The relation of *places*, with these columns and *more*."""
    names = [*(place.name for place in places), *more]
    first = places[0]
    return table(first.relation, *(column(name) for name in names), schema=first.schema)


# --- Patterns -------------------------------------------------------------------------------------


def pattern(terms: Iterable[str], *, escaped: bool) -> str:
    """A regular expression of PostgreSQL for *terms*; to be matched regardless of case.

    Found in "Ann Lee", "ann.lee", "ANN-LEE", "ann.lee%40x.org"; not within a longer word: "Annual".
    *escaped*: for the text of JSON and arrays, where a line break is ``\\n`` and a quote ``\\"``.
    """
    begin = r"(?<![[:alnum:]])|(?<=%[0-9a-fA-F]{2})"
    if escaped:
        begin += r"|(?<=\\[bfnrt])|(?<=\\u[0-9a-fA-F]{4})"
    each = "|".join(term_pattern(term, escaped=escaped) for term in sorted(set(terms)))
    return f"(?:{begin})(?:{each})(?![[:alnum:]])"


def term_pattern(term: str, *, escaped: bool) -> str:
    """An address sign by sign; else its words, with one to three other signs between, or more.

    Never none: "Li Ke" is not "like".  And jo.ann@x.org is another address than ann@x.org.
    """
    term = unicodedata.normalize("NFC", term)
    if "@" in term:
        return "(?<![[:alnum:]][.+_-])" + "".join(character(each) for each in term)
    most = max(3, *map(len, re.findall(r"[\W_]+", term)), 0)
    words = re.findall(r"[^\W_]+", term)
    between = f"{gap(blank=len(term.split()) > 1, escaped=escaped)}{{1,{most}}}"
    return between.join("".join(character(each) for each in word) for word in words)


def gap(*, blank: bool, escaped: bool) -> str:
    """One sign between two words, as it may be written; a *blank* only in a term that has one.

    Else the "a.price" of an address would be found in "for a price".
    """
    none_of = ("" if blank else "[:space:]") + (r'"\\' if escaped else "")
    ways = [f"[^[:alnum:]{none_of}]", "%[0-9a-fA-F]{2}"]
    if escaped:
        # A no-break space, a long dash, an apostrophe of ASCII alone.
        ways += [r"\\.", r"\\u(?:00[ab]|20[0-6]|300)[0-9a-fA-F]"] if blank else [r'\\["\\/]']
    return f"(?:{'|'.join(ways)})"


def character(sign: str) -> str:
    """One sign as it may be written: in URLs, in JSON of ASCII alone, in two parts, in capitals.

    In some collations PostgreSQL folds the case of ASCII only.
    """
    if sign in "@+":
        return rf"(?:\{sign}|%{ord(sign):X})"
    if sign.isascii():
        return re.escape(sign)
    forms = {sign, sign.lower(), sign.upper()}
    forms |= {unicodedata.normalize("NFD", form) for form in forms}
    forms |= {how for form in forms for how in (quote(form), json.dumps(form)[1:-1])}
    return f"(?:{'|'.join(re.escape(form) for form in sorted(forms))})"


def says(place: Place, terms: Sequence[str]) -> ColumnElement[bool]:
    """Whether a column says one of *terms*.

    A tsvector has words, cut to their stems, and not the name: it is asked for the phrase too.
    """
    escaped = place.kind not in {"text", "tsvector"}
    shown = cast(place.column, Text)
    found = shown.regexp_match(pattern(terms, escaped=escaped), flags="i")
    if place.kind != "tsvector":
        return found
    phrases = [
        place.column.bool_op("@@")(func.phraseto_tsquery(literal_column(f"'{how}'"), term))
        for how in ("simple", "english")
        for term in terms
    ]
    return or_(found, *phrases)


# --- At the edge ----------------------------------------------------------------------------------


def count_rows(places: Sequence[Place], terms: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """For each of *places*, columns of one relation, the rows that say it: one pass."""
    counts: list[ColumnElement[int]] = [
        func.count().filter(says(place, terms)).label(f"n{number}")
        for number, place in enumerate(places)
    ]
    return select(*counts).select_from(relation_of(places))


def text_places(session: Session) -> list[Place]:
    """Every column that can hold text: tables, partitions, views, in the order they were made."""
    return [Place(*row) for row in session.execute(COLUMNS)]


def row_security(value: str) -> Select[str]:
    """Set it for this transaction.  Off: a policy that would hide rows is an error (42501)."""
    return select(func.set_config("row_security", value, True))


def scan(session: Session, terms: Iterable[str]) -> list[Finding]:
    """Where the database says one of *terms*: a statement for each table and view, and four more.

    It reads everything.  Raises ``ValueError`` for no term, or one without a letter or digit.
    """
    wanted = sorted(set(terms))
    if not wanted or not all(re.search(r"[^\W_]", term) for term in wanted):
        raise ValueError(f"received {wanted}; expected words to look for")
    session.flush()
    before = session.execute(select(func.current_setting("row_security"))).scalar_one()
    session.execute(row_security("off"))
    found = []
    for _, group in groupby(text_places(session), key=lambda place: place.oid):
        places = list(group)
        counts = session.execute(count_rows(places, wanted)).one()
        found += [Finding(*pair) for pair in zip(places, counts, strict=True) if pair[1]]
    session.execute(row_security(before))
    return found


async def async_scan(session: AsyncSession, terms: Iterable[str]) -> list[Finding]:
    """The same for asyncio."""
    return await session.run_sync(scan, terms)
