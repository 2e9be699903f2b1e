"""What to write into a downgrade so that it leaves nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from .schema import NAME, is_name

PLAIN = (
    *("materialized view", "foreign table", "view", "sequence", "function", "procedure"),
    *("aggregate", "extension", "schema"),
)
TYPE = re.compile(r"type (.*): (enum|domain|range|composite)\b.*", re.DOTALL)
PART = re.compile(rf"(left|lost) table (.*?): (column|index|constraint) ({NAME}) (.*)", re.DOTALL)
# No column of the table: texts, what stands before an index's columns, what a key refers to.
ELSEWHERE = re.compile(
    rf"'(?:[^']|'')*'|CREATE .*? USING {NAME}|REFERENCES (?:{NAME}\.)?{NAME}\([^)]*\)", re.DOTALL
)
# Nor a type or a function.
COLUMN = re.compile(rf"(?<![:\w])({NAME})(?![\w(])")
OWNER = re.compile(rf"(.*)\.({NAME})", re.DOTALL)


def mend(difference: str, differences: Collection[str], schema: Collection[str]) -> str:
    """The operation that takes away what *difference* says is left; "" where none is known.

    *differences* are all of them: what is lost as well, under the same name, was changed.
    *schema* is what the downgrade left behind, whole.
    """
    line = difference.removeprefix("left ")
    if line == difference:
        return ""
    part = PART.fullmatch(difference)
    if part:
        place = part.groups()[1:4]
        return "" if ("lost", *place) in places(differences) else dropped(*place)
    if not is_name(line):
        return ""
    if line.startswith("table "):
        return f"op.drop_table({arguments(line.removeprefix('table '))})"
    if line.startswith("type "):
        return dropped_type(line.removeprefix("type "), schema)
    found = [kind for kind in PLAIN if line.startswith(f"{kind} ")]
    return (
        f"op.execute({f'DROP {found[0].upper()} {line[len(found[0]) + 1 :]}'!r})" if found else ""
    )


def places(differences: Collection[str]) -> set[tuple[str, ...]]:
    """What is left or lost of tables: word, table, kind and name."""
    return {part.groups()[:4] for each in differences if (part := PART.fullmatch(each))}


def without_parts(differences: Sequence[str], schema: Collection[str]) -> list[str]:
    """*differences* but for what is left with a column, or with a table, and goes with it.

    DROP COLUMN takes along the constraints and indexes that speak of the column, and the sequence
    that it owns; to drop them by name then fails.  *schema* is what the downgrade left, whole.
    """
    known = places(differences)
    new = {place[1:] for place in known if place[0] == "left" and ("lost", *place[1:]) not in known}
    columns = {(table, name) for table, kind, name in new if kind == "column"}

    def goes(line: str) -> bool:
        part = PART.fullmatch(line)
        if part:
            words = COLUMN.findall(ELSEWHERE.sub(" ", part[5])) if part[3] != "column" else []
            return part.groups()[1:4] in new and any((part[2], word) in columns for word in words)
        begin = f"{line.removeprefix('left ')}: owned by "
        owners = (OWNER.fullmatch(each, len(begin)) for each in schema if each.startswith(begin))
        return any(
            owner and (owner.groups() in columns or f"left table {owner[1]}" in differences)
            for owner in owners
        )

    return [line for line in differences if not goes(line)]


def dropped(table: str, kind: str, name: str) -> str:
    """The operation for a part of *table*."""
    schema, bare = split(table)
    place = "" if schema == "public" else f", schema={schema!r}"
    first, second = (bare, unquoted(name)) if kind == "column" else (unquoted(name), bare)
    return f"op.drop_{kind}({first!r}, {second!r}{place})"


def dropped_type(name: str, schema: Collection[str]) -> str:
    """The operation for a type."""
    sorts = [found[2] for line in schema if (found := TYPE.fullmatch(line)) and found[1] == name]
    if sorts == ["enum"]:
        return f"sa.Enum({arguments(name, 'name=')}).drop(op.get_bind())"
    word = "DOMAIN" if sorts == ["domain"] else "TYPE"
    return f"op.execute({f'DROP {word} {name}'!r})"


def arguments(qualified: str, keyword: str = "") -> str:
    """A name as Alembic takes it, with its schema where that is not ``public``."""
    schema, bare = split(qualified)
    place = "" if schema == "public" else f", schema={schema!r}"
    return f"{keyword}{bare!r}{place}"


def split(qualified: str) -> tuple[str, str]:
    """Schema and name of ``schema.name``, without quotes."""
    schema, name = re.findall(NAME, qualified)[:2]
    return unquoted(schema), unquoted(name)


def unquoted(name: str) -> str:
    """*name* as the catalogue holds it."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
