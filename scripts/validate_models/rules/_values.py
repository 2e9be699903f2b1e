"""What the rules on defaults share."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Column, DefaultClause, Enum, TextClause
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.elements import False_, True_

from ..core import dialect

LITERAL = re.compile(r"^\s*'((?:[^']|'')*)'\s*(?:::\s*[\w\s.\"]+(?:\([\d,\s]*\))?(?:\[\])?)?\s*$")
NO_VALUE = object()


def client_value(column: Column[Any]) -> Any:
    """The scalar of ``default=``; NO_VALUE where it is a function, SQL, or not there."""
    default = column.default
    if default is None or not default.is_scalar:
        return NO_VALUE
    return default.arg  # type: ignore[attr-defined]


def server_text(column: Column[Any]) -> tuple[str, bool] | None:
    """The server's default and whether it stands in quotes; None where it is an expression."""
    default = column.server_default
    given = default.arg if isinstance(default, DefaultClause) else None
    if isinstance(given, str):
        return str.__str__(given), True
    if isinstance(given, True_ | False_):
        return ("true" if isinstance(given, True_) else "false"), False
    if not isinstance(given, TextClause):
        return None
    match = LITERAL.match(given.text)
    return (match[1].replace("''", "'"), True) if match else (given.text.strip(), False)


def stored_label(kind: Enum, value: Any) -> str | None:
    """What an enumeration sends for *value*; None where it refuses it."""
    process = kind.bind_processor(dialect())  # type: ignore[no-untyped-call]
    try:
        sent = process(value) if process else value
    except LookupError:
        return None
    return str.__str__(sent) if isinstance(sent, str) else None


def is_tracked(mapper: Mapper[Any], key: str) -> bool:
    """Whether ``sqlalchemy.ext.mutable`` listens to what an attribute is set to."""
    listeners = mapper.class_manager[key].impl.dispatch.set
    return any(comes_from_mutable(each) for each in listeners)


def comes_from_mutable(listener: Any) -> bool:
    """Whether the function, or the one that SQLAlchemy has wrapped, is of that module."""
    cells = getattr(listener, "__closure__", None) or ()
    found = [listener, *(cell.cell_contents for cell in cells)]
    return any(getattr(each, "__module__", "") == "sqlalchemy.ext.mutable" for each in found)
