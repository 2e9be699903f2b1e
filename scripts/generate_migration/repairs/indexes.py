"""Indexes and unique constraints on tables in use: built while everybody writes."""

from __future__ import annotations

from typing import Any

from alembic.operations import ops
from sqlalchemy.schema import conv

from .catalogue import Catalogue, Key
from .names import free_name
from .operations import PREPARE, Place, SqlOp, name_of

Op = ops.MigrateOperation


def by_itself(op: ops.DropIndexOp) -> ops.DropIndexOp:
    """*op* without a lock that blocks; a second time, it finds nothing to do."""
    return dropping(op.index_name, str(op.table_name), op.schema)


def dropping(name: Any, table: str, schema: str | None) -> ops.DropIndexOp:
    """DROP INDEX CONCURRENTLY IF EXISTS."""
    return ops.DropIndexOp(name, table, schema=schema, if_exists=True, postgresql_concurrently=True)


def built(
    catalogue: Catalogue, key: Key, op: ops.CreateIndexOp, replaced: bool
) -> tuple[list[Op], SqlOp | None]:
    """The build of an index, and what gives it its name where that is taken until then.

    What is left of a build that failed is dropped first.  *replaced*: an index of that name stands
    there; it serves queries, and keeps what it keeps unique, until this one can.
    """
    final = str(op.index_name)
    name: Any = conv(free_name(catalogue, key[0], final, "", "new")) if replaced else op.index_name
    made = ops.CreateIndexOp(
        name,
        str(op.table_name),
        op.columns,
        schema=op.schema,
        unique=op.unique,
        **{**op.kw, "postgresql_concurrently": True},
    )
    found: list[Op] = [dropping(name, str(op.table_name), op.schema), made]
    if not replaced:
        return found, None
    new = name_of((key[0], str(name)), catalogue.default_schema)
    sql = f"ALTER INDEX {new} RENAME TO {PREPARE.quote(final)}"
    return found, SqlOp([sql], rank=Place.RENAME_INDEX, back=Place.RENAME_INDEX, table=key)


def unique_by_index(
    catalogue: Catalogue, key: Key, op: ops.CreateUniqueConstraintOp, replaced: bool
) -> tuple[list[Op], SqlOp]:
    """The unique index, and the moment in which it becomes the constraint.

    *replaced*: a constraint, or an index, of that name stands there until then.
    """
    final = str(op.constraint_name)
    name = free_name(catalogue, key[0], final, "", "new") if replaced else final
    options = {
        option: value
        for option, value in op.kw.items()
        if option.startswith("postgresql_") and value
    }
    made = ops.CreateIndexOp(
        conv(name),
        op.table_name,
        list(op.columns),
        schema=op.schema,
        unique=True,
        **{**options, "postgresql_concurrently": True},
    )
    table = name_of(key, catalogue.default_schema)
    sql = (
        f"ALTER TABLE {table} ADD CONSTRAINT {PREPARE.quote(final)} "
        f"UNIQUE USING INDEX {PREPARE.quote(name)}"
    )
    if op.kw.get("deferrable"):
        sql += " DEFERRABLE"
    if op.kw.get("initially"):
        sql += f" INITIALLY {op.kw['initially']}"
    finish = SqlOp([sql], rank=Place.FINISH, back=Place.FINISH, table=key)
    return [dropping(conv(name), op.table_name, op.schema), made], finish
