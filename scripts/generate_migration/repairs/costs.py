"""Findings on what a change costs a table that holds rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column

from ..core import POSTGRES, Finding


def needs_value(name: str, column: Column[Any]) -> Finding:
    """The finding of a NOT NULL column without a default."""
    value: Any = getattr(column.default, "arg", None)
    known = isinstance(value, (str, int, float, bool)) and not callable(value)
    example = repr(str(value)) if known else '"…"'
    return Finding(
        "not-null-without-default",
        "error",
        f"{name} is NOT NULL and has no server_default: ADD COLUMN fails while the table has rows",
        why="PostgreSQL has no value for the rows that exist; a default of Python's it never sees.",
        fix=f"Give it server_default={example} in the models, which costs nothing to add; or add "
        "it nullable, fill it in batches, and make it NOT NULL in a later revision.",
        url=f"{POSTGRES}/sql-altertable.html",
    )


def needs_filling(name: str) -> Finding:
    """The finding of a column that becomes NOT NULL."""
    return Finding(
        "not-null-needs-values",
        "warning",
        f"{name} becomes NOT NULL: the revision fails while a row holds NULL",
        why="It proves that with a CHECK first, so nobody is blocked, but it fills nothing in.",
        fix="Ship code that writes the column always, fill the old rows in batches, then run this.",
        url=f"{POSTGRES}/sql-altertable.html",
    )


def rewriting(name: str) -> Finding:
    """The finding of a column whose value PostgreSQL computes row by row."""
    return Finding(
        "column-rewrites-table",
        "error",
        f"adding {name} rewrites the table",
        why="Its value is another in each row: a stored computed column, an identity, a volatile "
        "default. ACCESS EXCLUSIVE is held until the last row is copied.",
        fix="For a large table: add the column without it, set the default for new rows, and fill "
        "the old ones in batches; a computed column can be virtual from PostgreSQL 18 on.",
        url=f"{POSTGRES}/sql-altertable.html",
    )


def partitioned(what: str, table: str) -> Finding:
    """The finding of a table on which PostgreSQL knows no way that blocks nobody."""
    return Finding(
        "partitioned-table",
        "warning",
        f"{what}: {table} is partitioned",
        why="PostgreSQL takes neither CONCURRENTLY nor, below 18, NOT VALID there.",
        fix="Do it for each partition first, then for the table: CREATE INDEX ON ONLY, and ATTACH "
        "each.",
        url=f"{POSTGRES}/ddl-partitioning.html",
    )
