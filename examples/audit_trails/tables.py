"""What of a table is audited: its columns, how each becomes JSON, which are secret.

One description serves the triggers and the session events: a secret that one of them hides cannot
come out by the other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Integer,
    Numeric,
    String,
    Table,
    Time,
    TypeDecorator,
    Uuid,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

LIMIT = 2_000
"""Characters of one value that are kept; a file pasted into a ticket must not be stored thrice."""

SECRET = re.compile(r"passw|secret|token|api_?key|private_?key|credential", re.IGNORECASE)
"""A column of such a name is never recorded, whoever forgot to say so."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,56}")
"""Names that need no escaping in any of the places where they stand."""

DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]

Kind = Literal["exact", "text", "json", "cast"]
"""How a value becomes JSON.

``exact``: short, and equal means the same.  ``text``: cut at ``LIMIT``.  ``json``: by ``to_json``.
``cast``: by its text, for types whose JSON would not lead back (json, bytea, ranges, intervals …).
A ``json`` or ``cast`` beyond ``LIMIT`` is left out as NULL: cut, it could not be read.
The null of JSON and NULL look alike in the trail; that one became the other is told.
"""


@dataclass(frozen=True)
class AuditedTable:
    """A table's name, its recorded columns, and the secret ones, of which only changes are told.

    ``key`` is the primary key, and its first column the ``record_id``: a whole number.
    Raises ``ValueError`` for a name that looks secret among the recorded ones.
    """

    name: str
    columns: Mapping[str, Kind]
    _: KW_ONLY
    secrets: tuple[str, ...] = ()
    key: tuple[str, ...] = ("id",)
    schema: str = "public"

    def __post_init__(self) -> None:
        for name in (self.schema, self.name, *self.columns, *self.secrets):
            if not NAME.fullmatch(name):
                raise ValueError(f"received the name {name!r}; expected letters, digits and _")
        shown = [name for name in self.columns if SECRET.search(name) or name in self.secrets]
        if shown:
            raise ValueError(f"received {shown} among the recorded columns; try secrets=")
        if missing := set(self.key) - set(self.columns):
            raise ValueError(f"received no column {sorted(missing)}, which is in the key")

    @property
    def changing(self) -> dict[str, Kind]:
        """The columns that an UPDATE is compared by."""
        return {name: kind for name, kind in self.columns.items() if name not in self.key}


def audited(
    table: Table, *, leave_out: Collection[str] = (), secrets: Collection[str] = ()
) -> AuditedTable:
    """All columns of *table* but computed ones, which follow from the others, and *leave_out*.

    Secret are *secrets* and whatever is named like one.  Raises ``ValueError`` where the key does
    not begin with a whole number.
    """
    key = tuple(column.name for column in table.primary_key)
    if not key or not isinstance(table.c[key[0]].type, Integer):
        raise ValueError(f"received {table.name}; expected a key that begins with a whole number")
    kept = [c for c in table.columns if c.computed is None and c.name not in leave_out]
    hidden = {c.name for c in kept if c.name in secrets or SECRET.search(c.name)}
    return AuditedTable(
        table.name,
        {column.name: kind_of(column) for column in kept if column.name not in hidden},
        secrets=tuple(sorted(hidden)),
        key=key,
        schema=table.schema or "public",
    )


def kind_of(column: Column[Any]) -> Kind:
    """The kind of *column*; a type that we do not know is kept as its text."""
    return kind_of_type(column.type)


def kind_of_type(type_: TypeEngine[Any]) -> Kind:
    """The kind of a type."""
    found = plain_type(type_)
    if isinstance(found, postgresql.ARRAY):
        return "json" if kind_of_type(found.item_type) in {"exact", "text"} else "cast"
    # Not floats, which 2.0 takes for Numeric too: jsonb has no -0.
    if isinstance(found, postgresql.JSONB) or (
        isinstance(found, Numeric) and type_.compile(DIALECT).startswith(("NUMERIC", "DECIMAL"))
    ):
        return "json"
    if is_json(type_):  # it may hold \u0000, which jsonb refuses, and so would the trail
        return "cast"
    if isinstance(found, Boolean | Integer | Date | DateTime | Time | Uuid):
        return "exact"
    return "text" if isinstance(found, String) else "cast"


def plain_type(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """What PostgreSQL has for *type_*, decorators and variants seen through."""
    found = type_.dialect_impl(DIALECT)
    while isinstance(found, TypeDecorator):
        found = found.impl_instance
    return found


def is_json(type_: TypeEngine[Any]) -> bool:
    """Whether it is ``json``, which keeps the text as it was written; not ``jsonb``."""
    found = plain_type(type_)
    return isinstance(found, JSON) and not isinstance(found, postgresql.JSONB)


# --- As SQL ---------------------------------------------------------------------------------------


def quoted(name: str) -> str:
    """*name* as an identifier."""
    return DIALECT.identifier_preparer.quote(name)


def json_sql(row: str, name: str, kind: Kind) -> str:
    """The JSON text of column *name* of *row*, which is an alias; NULL for NULL."""
    value = f"{row}.{quoted(name)}"
    if kind == "text":
        value = f"to_json(left({value}::text, {LIMIT}))"
    elif kind == "exact":
        value = f"to_json({value})"
    else:
        shown = value if kind == "json" else f"{value}::text"
        value = f"CASE WHEN length({value}::text) <= {LIMIT} THEN to_json({shown}) END"
    return f"({value})::text"


def value_sql(row: str, name: str, kind: Kind) -> str:
    """The same, for the inside of a JSON text: ``null`` for NULL."""
    return f"coalesce({json_sql(row, name, kind)}, 'null')"


def member_sql(row: str, name: str, kind: Kind) -> str:
    """``"name":value``."""
    return f"'\"{name}\":' || {value_sql(row, name, kind)}"


def object_sql(row: str, columns: Mapping[str, Kind]) -> str:
    """The JSON text of *columns* of *row*: ``{…}``."""
    return f"'{{' || {joined(member_sql(row, *item) for item in columns.items())} || '}}'"


def joined(parts: Iterable[str]) -> str:
    """*parts* with commas between; ``concat_ws`` passes over NULL, which is a column unchanged."""
    return "concat_ws(',',\n        " + ",\n        ".join(parts) + ")"


def long_sql(row: str, name: str) -> str:
    """Whether the value is longer than ``LIMIT``."""
    return f"length({row}.{quoted(name)}::text) > {LIMIT}"
