"""SQL that is made here: identifiers, literals, and statements without parameters.

Every value is a quoted literal in PostgreSQL's input syntax, so that PostgreSQL itself reads it by
the type of its column, and no driver has a say in it.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import TextClause, text


def sql(statement: str) -> TextClause:
    """*statement* as it stands: its colons name no parameters."""
    return text(statement.replace(":", "\\:"))


def identifier(name: str) -> str:
    """*name*, quoted."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str | None) -> str:
    """*value*, quoted; right whatever ``standard_conforming_strings`` says."""
    if value is None:
        return "NULL"
    quoted = value.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in value else f"'{quoted}'"


def listed(names: Iterable[str]) -> str:
    """*names*, quoted, with commas."""
    return ", ".join(identifier(name) for name in names)
