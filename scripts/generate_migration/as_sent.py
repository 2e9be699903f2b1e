"""A statement as it was sent, each parameter as a literal."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

PYFORMAT = re.compile(r"%(?:(%)|\((\w+)\)s|(s))")
ROW = (Mapping, list, tuple)
NUMERIC = re.compile(r"\$(\d+)")


def as_sent(statement: str, parameters: Any, style: str, *, many: bool = False) -> str:
    """*statement* with its parameters; *style* is the driver's paramstyle, "" for none.

    Of *many* rows the first is shown, and how many follow.
    """
    # insertmanyvalues says "many" as well, and has all rows in one statement.
    if many and isinstance(parameters, list | tuple) and isinstance(parameters[0], ROW):
        rest = len(parameters) - 1
        tail = f" /* and {rest} more like it */" if rest else ""
        return as_sent(statement, parameters[0], style) + tail
    if style in {"pyformat", "format"}:
        values = iter(parameters if isinstance(parameters, Sequence) else ())

        def replace(found: re.Match[str]) -> str:
            percent, name, positional = found.groups()
            if percent:
                return "%"
            if name and isinstance(parameters, Mapping) and name in parameters:
                return literal(parameters[name])
            return literal(next(values)) if positional and parameters else found[0]

        return PYFORMAT.sub(replace, statement)
    if style == "numeric_dollar" and parameters:
        # Without parameters a $1 is one of a function's body.
        return NUMERIC.sub(
            lambda found: (
                literal(parameters[int(found[1]) - 1])
                if int(found[1]) <= len(parameters)
                else found[0]
            ),
            statement,
        )
    return statement


def literal(value: Any) -> str:
    """*value* as PostgreSQL reads it."""
    if value is None or isinstance(value, bool):
        return {None: "NULL", True: "true", False: "false"}[value]
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, list | tuple):
        return f"ARRAY[{', '.join(map(literal, value))}]"
    return quoted(words(value))


def words(value: Any) -> str:
    """*value* as the text of a string constant."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"\\x{bytes(value).hex()}"
    if type(value).__name__ in {"Json", "Jsonb"}:  # the wrappers of the drivers
        value = getattr(value, "obj", getattr(value, "adapted", None))
        return json.dumps(value, default=str)
    return json.dumps(value, default=str) if isinstance(value, dict) else str(value)


def quoted(text: str) -> str:
    """A string constant."""
    return "'" + text.replace("'", "''") + "'"
