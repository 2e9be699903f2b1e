"""Everything of the user's schemas as sorted lines, in PostgreSQL's own spelling.

Two databases have the same lines when ``pg_dump --schema-only`` prints the same of both; only the
order of the columns is left out, since a column that comes back stands last.  Names are always
qualified.  Each line belongs to an object, ``table public.tickets``, and says that it exists or,
after a colon, one thing about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, text

from .schema_queries import QUERIES

LONG, BEFORE = 300, 60  # characters
NAME = r'(?:"(?:[^"]|"")+"|\w+)'
TEXT = re.compile(r"'(?:[^']|'')*'::character varying")
TEXTS = re.compile(rf"\(ARRAY\[({TEXT.pattern}(?:, {TEXT.pattern})*)\]\)::text\[\]")
VALUE = r"E?'(?:[^']|'')*'"
ENUM = re.compile(rf"(type (?:{NAME})\.(?:{NAME}): enum )((?:{VALUE}(?:, )?)*)", re.DOTALL)
NOT_NULL = re.compile(rf"(table .*: constraint ){NAME}( NOT NULL .*)", re.DOTALL)


def schema_of(connection: Connection, *, version_table: str = "alembic_version") -> list[str]:
    """All lines, sorted; Alembic's *version_table* is left out in whatever schema it is.

    What belongs to an extension is its own: the extension is one line.
    """
    found: set[str] = set()
    for query in QUERIES:
        # No plan and no text of these is worth keeping.
        rows = connection.execute(text(query), {"version_table": version_table})
        found.update(line.replace("\n", "\\n") for line in rows.scalars() if line)
    return sorted(found)


def differences(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """What *after* has left over and what it has lost, a line each.

    Of an object that is wholly new or gone, the one line that says so.
    """
    came, went = set(after) - set(before), set(before) - set(after)
    return [
        *(f"left {line}" for line in sorted(without_details(came))),
        *(f"lost {line}" for line in sorted(without_details(went))),
    ]


def readable(lines: Sequence[str]) -> list[str]:
    """*lines* of ``differences``; of a long one that changed, what changed and what is about it."""
    heads: dict[str, list[str]] = {}
    for line in lines:
        heads.setdefault(line.partition(" ")[2].partition(": ")[0], []).append(line)
    return [shortened(line, heads[line.partition(" ")[2].partition(": ")[0]]) for line in lines]


def shortened(line: str, alike: Sequence[str]) -> str:
    """*line*, from a little before the place where it leaves the other of two *alike*."""
    others = [each for each in alike if each[:4] != line[:4]]
    if len(line) <= LONG or len(others) != 1:
        return line
    # Past "left " and "lost ".
    pairs = enumerate(zip(line[5:], others[0][5:], strict=False), 5)
    begin = next((place for place, (one, other) in pairs if one != other), len(line)) - BEFORE
    head = line.partition(": ")[0]
    return f"{head}: …{line[begin:]}" if begin > len(head) else line


def without_details(lines: set[str]) -> Iterator[str]:
    """*lines* but for those of an object that is among them itself."""
    objects = {line for line in lines if ": " not in line or is_name(line)}
    for line in lines:
        if line in objects or not any(line.startswith(f"{each}: ") for each in objects):
            yield line


def is_name(line: str) -> bool:
    """Whether the colons of *line* are all within quoted names."""
    return ": " not in re.sub(r'"(?:[^"]|"")*"', "", line)


def excused(before: Sequence[str], after: Sequence[str]) -> tuple[list[str], list[str]]:
    """What a downgrade must answer for, as ``differences``, and what it need not, in words.

    A constraint that was validated stays so: PostgreSQL has no way back, and needs none.  The name
    of a NOT NULL constraint is PostgreSQL's own choice where nobody gave one (18 and up).  A list
    of checked texts is spelled otherwise when it is made from what PostgreSQL prints of it.  A
    value of an enumeration stays: there is no DROP VALUE, and one more is in nobody's way.
    """
    came, went = set(after) - set(before), set(before) - set(after)
    notes: list[str] = []
    for spelled, word in ((str, "spelled otherwise"), (validated, "stays validated")):
        equal = {plain(line): line for line in came}
        for line in sorted(went):
            other = equal.get(plain(spelled(line)))
            if other in came:
                came.remove(other)
                went.remove(line)
                notes.append(f"{word}: {other}")
    for line in sorted(went):
        more = next((other for other in sorted(came) if only_added(line, other)), None)
        if more is not None:
            came.remove(more)
            went.remove(line)
            notes.append(f"more values than before: {more}")
    kept = set(before) & set(after)
    return differences(sorted(kept | went), sorted(kept | came)), notes


def only_added(line: str, other: str) -> bool:
    """Whether *other* is the enumeration of *line* with more values between the old ones."""
    old, new = ENUM.fullmatch(line), ENUM.fullmatch(other)
    if old is None or new is None or old[1] != new[1]:
        return False
    values = iter(re.findall(VALUE, new[2]))
    return all(value in values for value in re.findall(VALUE, old[2]))


def validated(line: str) -> str:
    """*line* without the mark of a constraint that not all rows were looked at for."""
    return line.removesuffix(" NOT VALID") if ": constraint " in line else line


def plain(line: str) -> str:
    """*line* in the one spelling of all that mean the same."""
    line = NOT_NULL.sub(r"\1\2", line)
    return TEXTS.sub(lambda found: "ARRAY[" + TEXT.sub(r"(\g<0>)::text", found[1]) + "]", line)
