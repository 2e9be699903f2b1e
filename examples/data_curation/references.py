"""Who refers to a row: every foreign key to its table, out of the metadata, held to the database.

Problem: a list of the referring columns is right until somebody adds a table.  Pattern: ask the
metadata, and refuse where the database has a foreign key that the metadata lacks: ON DELETE CASCADE
would take its rows along without a word.  What has no foreign key (``audit_log.user_id``) is not
followed: a trail keeps who it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    PrimaryKeyConstraint,
    Select,
    Table,
    UniqueConstraint,
    and_,
    any_,
    bindparam,
    case,
    delete,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    text,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningDelete, ReturningUpdate

from ..models import Base

SECRET = re.compile(r"passw|secret|token|api_?key|private_?key|credential", re.IGNORECASE)
"""Columns of such names are left out of every image of a row."""

IN_DATABASE = text(
    """
    SELECT CASE WHEN NOT pg_table_is_visible(r.oid) THEN s.nspname END, r.relname, a.attname
    FROM pg_constraint AS c
    JOIN pg_class AS r ON r.oid = c.conrelid
    JOIN pg_namespace AS s ON s.oid = r.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum = ANY (c.conkey)
    WHERE c.contype = 'f' AND c.conparentid = 0 AND c.confrelid = to_regclass(:target)
    """
)


@dataclass
class Moved:
    """What was re-pointed, as keys by column, and what was dropped, as rows by table.

    A row is dropped where the survivor has the same already: one ticket bears a tag once.
    """

    moved: dict[str, list[Any]] = field(default_factory=dict)
    dropped: dict[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class UniqueKey:
    """The rest of a unique key that a column is part of, and the condition of a partial index."""

    others: tuple[ColumnElement[Any], ...]
    where: ColumnElement[bool]


# --- Out of the metadata --------------------------------------------------------------------------


def references_to(target: Table) -> list[Column[Any]]:
    """The columns that hold a key of *target*, tables that others depend on first.

    In that order everybody locks.  Raises ``ValueError`` for a foreign key of several columns, or
    to something else than the key: re-pointing it needs more than a new number.
    """
    found = []
    for table in target.metadata.sorted_tables:
        for constraint in sorted(table.foreign_key_constraints, key=lambda each: str(each.name)):
            if constraint.referred_table is not target:
                continue
            referred = [element.column for element in constraint.elements]
            if referred != list(target.primary_key):
                raise ValueError(
                    f"received {constraint.name}; expected a foreign key to {target.primary_key}"
                )
            found += list(constraint.columns)
            if len(referred) > 1:
                raise ValueError(f"received {constraint.name}; expected one of a single column")
    return found


def unique_keys(column: Column[Any]) -> Iterator[UniqueKey]:
    """The unique keys that *column* is part of: constraints and indexes, partial ones too.

    Raises ``ValueError`` for an index of an expression of the column.
    """
    table = column.table
    assert isinstance(table, Table)
    for constraint in table.constraints:
        if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint):
            columns = list(constraint.columns)
            if column in columns:
                yield unique_key(constraint, [each for each in columns if each is not column])
    for index in table.indexes:
        if index.unique:
            parts = list(index.expressions)
            others = [part for part in parts if sql_of(part) != sql_of(column)]
            if any(re.search(rf"\b{re.escape(column.name)}\b", sql_of(part)) for part in others):
                raise ValueError(f"received {index.name}, of an expression of {column}")
            if len(others) < len(parts):
                yield unique_key(index, others)


def unique_key(source: Any, others: Iterable[Any]) -> UniqueKey:
    """The key that *source*, a constraint or an index, makes of *others* and the column."""
    options = source.dialect_kwargs
    where = options.get("postgresql_where")
    conditions = [text(where) if isinstance(where, str) else where] if where is not None else []
    parts = tuple(
        part if isinstance(part, ColumnElement) else literal_column(sql_of(part)) for part in others
    )
    if not options.get("postgresql_nulls_not_distinct"):
        conditions += [part.is_not(None) for part in parts]
    return UniqueKey(parts, and_(true(), *conditions))


def sql_of(part: Any) -> str:
    """An element of an index as its table would write it."""
    if isinstance(part, Column):
        return part.name
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return str(part.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def version_of(table: Table) -> Column[Any] | None:
    """The column by which the ORM tells that somebody else changed the row."""
    for mapper in Base.registry.mappers:
        if mapper.local_table is table and isinstance(mapper.version_id_col, Column):
            return mapper.version_id_col
    return None


def image_of(table: Table) -> ColumnElement[Any]:
    """A row as jsonb, without secrets and what is computed."""
    hidden = [c.name for c in table.c if SECRET.search(c.name) or c.computed is not None]
    row = func.to_jsonb(table.table_valued(), type_=postgresql.JSONB)
    names = literal(hidden, ARRAY(postgresql.TEXT))
    return row.op("-", return_type=postgresql.JSONB())(names)


# --- Statements -----------------------------------------------------------------------------------


def one_of(column: Column[Any], keys: Iterable[Any]) -> ColumnElement[bool]:
    """Whether *column* is one of *keys*: one parameter, however many."""
    return column == any_(literal(list(keys), ARRAY(column.type)))


def lock_rows(
    columns: Sequence[Column[Any]], keeper: Any, losers: Iterable[Any]
) -> Select[*tuple[Any, ...]]:
    """Lock the rows of a table that one of *columns* connects with the losers, by key.

    All columns in one statement: locked one after the other, two mergers could cross.  Where a
    unique key decides, the survivor's rows too, and against those who refer to them: some will go.
    """
    conditions, some_go = [], False
    for column in columns:
        decided = next(unique_keys(column), None) is not None
        conditions.append(one_of(column, [keeper, *losers] if decided else losers))
        some_go = some_go or decided
    table = columns[0].table
    return (
        select(*table.primary_key)
        .where(or_(*conditions))
        .order_by(*table.primary_key)
        .with_for_update(key_share=not some_go)
    )


def collisions(
    column: Column[Any], key: UniqueKey, keeper: Any, losers: Iterable[Any]
) -> Select[*tuple[Any, ...]]:
    """``(key of the row that stays, …, key of the row too many, …)`` once all were one.

    The survivor's own row stays; among the losers' the one with the lowest key.
    """
    primary = list(column.table.primary_key)
    window: dict[str, Any] = {"order_by": [(column == keeper).desc(), *primary]}
    if key.others:
        window["partition_by"] = list(key.others)
    ranked = (
        select(
            *(func.first_value(each).over(**window).label(f"kept_{each.name}") for each in primary),
            *(each.label(f"dropped_{each.name}") for each in primary),
            func.row_number().over(**window).label("rank"),
        )
        .where(one_of(column, [keeper, *losers]), key.where)
        .subquery()
    )
    shown = [each for each in ranked.c if each.name != "rank"]
    return select(*shown).where(ranked.c["rank"] > 1)


def move(
    column: Column[Any], keeper: Any, losers: Iterable[Any]
) -> ReturningUpdate[*tuple[Any, ...]]:
    """Re-point *column*; ``updated_at`` and the version follow.  RETURNING the keys.

    The survivor itself must not refer to itself in the end: it refers to nobody.
    """
    table = column.table
    assert isinstance(table, Table)
    value: Any = literal(keeper, column.type)
    if any(fk.column.table is table for fk in column.foreign_keys) and column.nullable:
        (primary,) = table.primary_key
        value = case((primary == keeper, null()), else_=value)
    values: dict[Any, Any] = {column: value}
    if (version := version_of(table)) is not None:
        values[version] = version + 1
    statement = update(table).where(one_of(column, losers)).values(values)
    return statement.returning(*table.primary_key)


def drop(twins: Select[*tuple[Any, ...]], table: Table) -> ReturningDelete[Any]:
    """Delete the rows too many of ``collisions``; RETURNING what they were."""
    listed = twins.subquery("twins")
    dropped = [listed.c[f"dropped_{each.name}"] for each in table.primary_key]
    too_many = tuple_(*table.primary_key).in_(select(*dropped))
    return delete(table).where(too_many).returning(image_of(table))


# --- At the edge ----------------------------------------------------------------------------------


def refuse_unknown(session: Session, target: Table) -> None:
    """Raise ``ValueError`` where the database refers to *target* by what the metadata lacks."""
    known = {(each.table.schema, each.table.name, each.name) for each in references_to(target)}
    name = session.connection().dialect.identifier_preparer.format_table(target)
    rows = session.execute(IN_DATABASE.bindparams(bindparam("target", name)))
    unknown = {(row[0], row[1], row[2]) for row in rows} - known
    if unknown:
        names = sorted(".".join(filter(None, each)) for each in unknown)
        raise ValueError(f"received a database in which also {names} refer to {target.name}")


def repoint(
    session: Session, target: Table, keeper: Any, losers: list[Any], *, stay: Any = ()
) -> Moved:
    """Let all that refers to *losers* refer to *keeper*; the caller has locked these rows.

    *stay*: names (``table.column``) that are left alone.  What collides with a unique key is merged
    in its turn: what refers to the row too many refers to the one that stays, then it is deleted.
    """
    refuse_unknown(session, target)
    done = Moved()
    by_table: dict[Table, list[Column[Any]]] = {}
    for column in references_to(target):
        if f"{column.table.name}.{column.name}" not in stay:
            by_table.setdefault(column.table, []).append(column)
    for table, columns in by_table.items():
        if not session.execute(lock_rows(columns, keeper, losers)).all():
            continue
        for column in columns:
            for key in unique_keys(column):
                refuse_unknown(session, table)
                fold(session, table, collisions(column, key, keeper, losers), done)
            keys = session.execute(move(column, keeper, losers)).all()
            if keys:
                plain = [row[0] if len(row) == 1 else list(row) for row in keys]
                done.moved.setdefault(f"{table.name}.{column.name}", []).extend(sorted(plain))
    return done


def fold(session: Session, table: Table, twins: Select[*tuple[Any, ...]], done: Moved) -> None:
    """Drop the rows that others stand for, after what refers to them; tell *done*."""
    if references_to(table):
        for kept, dropped in session.execute(twins).all():
            inner = repoint(session, table, kept, [dropped])
            for told, more in ((done.moved, inner.moved), (done.dropped, inner.dropped)):
                for name, keys in more.items():
                    told.setdefault(name, []).extend(keys)
    if gone := session.execute(drop(twins, table)).scalars().all():
        done.dropped.setdefault(table.name, []).extend(gone)
