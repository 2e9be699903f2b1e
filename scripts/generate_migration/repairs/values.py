"""Stopgaps for a downgrade that brings back a column without its values."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Column
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import (
    ARRAY,
    JSON,
    Boolean,
    Date,
    DateTime,
    Enum,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Time,
    Uuid,
)

from .catalogue import Key
from .models import Models, item_of, type_sql
from .operations import PREPARE, literal
from .probe import undone

LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+\b")
NEUTRAL: list[tuple[Any, str]] = [
    (Boolean, "false"),
    (Integer, "0"),
    (Numeric, "0"),
    (String, "''"),
    (DateTime, "'epoch'"),
    (Date, "'epoch'"),
    (Time, "'00:00'"),
    (Interval, "'0'"),
    (postgresql.INTERVAL, "'0'"),
    (Uuid, "'00000000-0000-0000-0000-000000000000'"),
    (JSON, "'null'"),
    (LargeBinary, "''"),
]


def stopgap(models: Models, key: Key, column: Column[Any]) -> str | None:
    """The SQL of a value for *column* of the table *key* that its CHECKs accept."""
    found = models.catalogue.tables.get(key)
    checks = [
        item.condition
        for item in (found.checks.values() if found else ())
        if item.columns == (column.name,)
    ]
    first = neutral(column)
    words = [word for item in checks for word in LITERAL.findall(item)]
    candidates = [item for item in (first, *words) if item is not None]
    return next((item for item in candidates if fits(models, column, item, checks)), first)


def fits(models: Models, column: Column[Any], value: str, checks: list[str]) -> bool:
    """Whether *value* is one of the column's, and all *checks* are true of it."""
    name = PREPARE.quote(column.name)
    sql = (
        f"SELECT {' AND '.join(f'({item})' for item in checks) or 'true'} "
        f"FROM (SELECT CAST({value} AS {type_sql(column.type)}) AS {name}) AS candidate"
    )
    options = {"no_parameters": True}
    try:
        with undone(models.connection):
            return bool(
                models.connection.exec_driver_sql(sql, execution_options=options).scalar_one()
            )
    except SQLAlchemyError:
        return False


def neutral(column: Column[Any]) -> str | None:
    """The SQL of a value that says nothing; None for a type that has none we know."""
    if isinstance(column.type, ARRAY):
        return "'{}'"
    kind = item_of(column.type)
    if isinstance(kind, Enum):
        return literal(kind.enums[0]) if kind.enums else None
    return next((sql for family, sql in NEUTRAL if isinstance(kind, family)), None)
