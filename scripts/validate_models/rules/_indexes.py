"""What the rules on indexes share."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Index, Table, UniqueConstraint
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex

from ..core import Hit, Project, dialect, option, plain_columns

OPTIONS = ("using", "where", "ops", "include", "nulls_not_distinct", "with", "tablespace")


def indexes_of(table: Table) -> tuple[Index, ...]:
    """The indexes of *table* in a fixed order: SQLAlchemy keeps them in a set."""
    return _in_order(frozenset(table.indexes))


@functools.lru_cache(maxsize=16_384)  # many rules ask for those of each table
def _in_order(indexes: frozenset[Index]) -> tuple[Index, ...]:
    """*indexes* by name and, where two share it, by definition."""
    if len({index.name for index in indexes}) == len(indexes):
        return tuple(sorted(indexes, key=lambda index: str(index.name)))
    return tuple(sorted(indexes, key=lambda index: (str(index.name), definition(index))))


def is_btree(index: Index) -> bool:
    """Whether *index* is a B-tree."""
    return str(option(index, "using") or "btree").lower() == "btree"


@functools.lru_cache(maxsize=65_536)
def definition(index: Index) -> str:
    """The DDL of *index* without its name."""
    try:
        text = str(CreateIndex(index).compile(dialect=dialect()))
    except SQLAlchemyError:  # a name that is too long, an expression that has no SQL
        return f"{index.name}"
    return text.partition(" ON ")[2] + (" UNIQUE" if index.unique else "")


@functools.lru_cache(maxsize=65_536)
def simple_columns(index: Index) -> list[Column[Any]] | None:
    """The columns of a B-tree over plain columns, all rows, no options; None for any other."""
    if not is_btree(index) or any(option(index, name) is not None for name in OPTIONS[1:]):
        return None
    return plain_columns(index)


def keys_of(table: Table) -> Iterator[tuple[str, list[Column[Any]]]]:
    """The primary key and the unique constraints, each with what to call it."""
    if table.primary_key.columns:
        yield "the primary key", list(table.primary_key.columns)
    for constraint in sorted(
        (item for item in table.constraints if isinstance(item, UniqueConstraint)),
        key=lambda item: [column.name for column in item.columns],
    ):
        yield (
            f"the unique constraint over {names(list(constraint.columns))}",
            list(constraint.columns),
        )


def names(columns: list[Column[Any]]) -> str:
    """``(a, b)``."""
    return f"({', '.join(column.name for column in columns)})"


def at_index(project: Project, index: Index, message: str, **more: Any) -> Hit:
    """A hit at *index*: where it is named, else at its first column."""
    table = index.table
    assert table is not None
    column = next((item for item in index.expressions if isinstance(item, Column)), None)
    mapper, key = project.owner(table, column) if column is not None else (None, None)
    return Hit(
        message,
        mapper=mapper,
        attribute=key,
        table=table,
        column=column.name if column is not None else None,
        item=str(index.name) if index.name else None,
        **more,
    )
