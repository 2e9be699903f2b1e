"""Types of columns: those that differ, the USING that a change asks for, and what it rewrites."""

from __future__ import annotations

import re
from typing import Any

from alembic.operations import ops
from sqlalchemy import Column, DefaultClause, Enum, String, TextClause, text
from sqlalchemy.types import ARRAY

from ..core import POSTGRES, Finding
from .catalogue import Catalogue
from .models import Models, default_sql, is_serial, item_of, native_enum, type_sql
from .operations import PREPARE, SqlOp, UsingOp, executed
from .probe import rewrites

Flat = list[ops.MigrateOperation]


def compare(models: Models, flat: Flat) -> Flat:
    """What brings the types of the database to those of the models, beside *flat*.

    Takes out of *flat* what Alembic believes to differ and does not.
    """
    altered = models.altered(flat, lambda op: op.modify_type is not None)
    found: Flat = []
    for table, standing in models.pairs:
        pairs = [
            (column, standing.columns[name]) for column, name in models.columns(table, standing)
        ]
        written = {column.name: type_sql(column.type) for column, _ in pairs}
        asked = [sql for sql in written.values() if sql] + [theirs.type for _, theirs in pairs]
        spelt = models.spelling.types(asked)
        for column, theirs in pairs:
            mine = written[column.name]
            if mine is None or is_serial(column):
                continue
            own = altered.get((standing.key, column.name))
            if spelt[mine] is not None and spelt[mine] == spelt[theirs.type]:
                if own is not None:
                    own.modify_type = None
            elif own is None:
                found.append(change(models, column))
    return found


def change(models: Models, column: Column[Any]) -> ops.AlterColumnOp:
    """The operation that gives *column* its type."""
    key = models.catalogue.key(column.table.schema, column.table.name)
    existing = models.reflected(key).columns[column.name]
    return ops.AlterColumnOp(
        column.table.name,
        column.name,
        schema=column.table.schema,
        existing_type=existing.type,
        existing_nullable=existing.nullable,
        existing_server_default=existing.server_default,
        modify_type=column.type,
    )


def without_check(kind: Any) -> Any:
    """A checked text without its CHECK, which is compared and added by itself."""
    found = item_of(kind)
    if isinstance(found, Enum) and not isinstance(kind, ARRAY) and not found.native_enum:
        return String(found.length)
    return kind


def steps(models: Models, op: ops.AlterColumnOp, standing: list[SqlOp]) -> tuple[Flat, bool | None]:
    """The change of type of *op* as PostgreSQL takes it, and whether it rewrites the table.

    *standing* creates the types that the database does not have yet.  The second is None where
    PostgreSQL has no way from one to the other.
    """
    old, new = type_sql(op.existing_type), type_sql(op.modify_type)
    plain = ops.AlterColumnOp(
        op.table_name,
        op.column_name,
        schema=op.schema,
        existing_type=without_check(op.existing_type),
        existing_nullable=op.existing_nullable,
        modify_type=without_check(op.modify_type),
    )
    if old is None or new is None:
        return [plain], None
    column = PREPARE.quote(op.column_name)
    default = default_before(op)
    given = f"{column} {old}" + (f" DEFAULT {default}" if default else "")
    typed = f"ALTER COLUMN {column} TYPE {new}"
    before = [
        sql for item in standing for sql in (*item.up, *item.down) if sql.startswith("CREATE TYPE")
    ]
    usings = ["", f"{column}::{new}"]
    if native_enum(op.modify_type) is not None:
        usings.append(f"{column}::text::{new}")  # from one enumeration to another
    for using in usings:
        action = f"{typed} USING {using}" if using else typed
        flat: Flat = [UsingOp.of(plain, using) if using else plain]
        rewritten = rewrites(models.connection, given, action, before)
        if rewritten is False or (rewritten and not default):
            return flat, rewritten
        if default:
            # Without it, what stands as the default would be the old value with a cast.
            ends, restored = without_default(op, default)
            drop = f"ALTER COLUMN {column} DROP DEFAULT"
            whole = f"{drop}, {action}, ALTER COLUMN {column} SET DEFAULT {default}"
            rewritten = rewrites(models.connection, given, whole, before)
            if rewritten is not None:
                return [ends, *flat, restored], rewritten
    return [plain], None


def default_before(op: ops.AlterColumnOp) -> str | None:
    """The default that stands while the type changes, without a cast to either type."""
    existing: Any = op.existing_server_default
    if not existing or not isinstance(existing, (DefaultClause, TextClause, str)):
        return None
    found = default_sql(Column("x", op.existing_type, server_default=existing))
    cast = re.fullmatch(r"('(?:[^']|'')*')::.*", found or "", re.DOTALL)
    return cast[1] if cast else found


def without_default(
    op: ops.AlterColumnOp, default: str
) -> tuple[ops.AlterColumnOp, ops.AlterColumnOp]:
    """Takes the default away, and gives it back."""
    standing = DefaultClause(text(executed(default)))
    pairs = [(op.existing_type, standing, None), (op.modify_type, None, standing)]
    ends, restored = (
        ops.AlterColumnOp(
            op.table_name,
            op.column_name,
            schema=op.schema,
            existing_type=without_check(kind),
            existing_nullable=op.existing_nullable,
            existing_server_default=before,
            modify_server_default=after,
        )
        for kind, before, after in pairs
    )
    return ends, restored


def finding(catalogue: Catalogue, op: ops.AlterColumnOp, rewritten: bool | None) -> Finding | None:
    """What a change of type costs; None where it is instant."""
    if rewritten is False:
        return None
    name = ".".join(catalogue.key(op.schema, op.table_name)) + f".{op.column_name}"
    change_ = f"{name} from {type_sql(op.existing_type)} to {type_sql(op.modify_type)}"
    if rewritten is None:
        return Finding(
            "no-cast",
            "error",
            f"PostgreSQL has no cast that brings {change_}",
            why="The revision fails, whatever the table holds.",
            fix="Say how each value is to be read: postgresql_using=… in op.alter_column.",
            url=f"{POSTGRES}/sql-altertable.html",
        )
    return Finding(
        "type-change",
        "error",
        f"bringing {change_} rewrites the table",
        why="Nobody reads or writes it meanwhile: ACCESS EXCLUSIVE until the last row is copied.",
        fix="For a large table: add a second column, fill it in batches while a trigger keeps it "
        "up to date, then swap the names in a short transaction.",
        url=f"{POSTGRES}/sql-altertable.html",
    )
