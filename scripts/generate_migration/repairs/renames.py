"""What is dropped, and whether it may only have been renamed: nobody can see that from outside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alembic.operations import ops
from sqlalchemy import Column

from ..core import ALEMBIC, Finding
from .models import Models, type_sql

Flat = list[ops.MigrateOperation]
URL = f"{ALEMBIC}/autogenerate.html#what-does-autogenerate-detect-and-what-does-it-not-detect"


def findings(models: Models, flat: Flat) -> list[Finding]:
    """Findings on each column and table that *flat* drops."""
    return [*of_columns(models, flat), *of_tables(flat)]


def of_columns(models: Models, flat: Flat) -> Iterator[Finding]:
    """Columns dropped beside a new one of the same type."""
    added = [op for op in flat if isinstance(op, ops.AddColumnOp)]
    for op in flat:
        if not isinstance(op, ops.DropColumnOp):
            continue
        kind = spelt(models, op.to_column())
        name = ".".join(part for part in (op.schema, op.table_name, op.column_name) if part)
        for other in added:
            there = (other.schema, other.table_name) == (op.schema, op.table_name)
            if there and spelt(models, other.column) == kind:
                yield possible(
                    f"the column {name}, which is dropped, and {other.column.name}, which is "
                    "added, have the same type",
                    f"{other.column.name}: Mapped[{annotated(other.column)}] = "
                    f'mapped_column("{op.column_name}")',
                    f'op.alter_column("{op.table_name}", "{op.column_name}", '
                    f'new_column_name="{other.column.name}"{schema(op.schema)})',
                )
        yield drops(f"the column {name}", "the column")


def spelt(models: Models, column: Column[Any]) -> str | None:
    """The type of *column* in PostgreSQL's spelling."""
    given = type_sql(column.type) or "text"
    return models.spelling.types([given])[given] or given


def of_tables(flat: Flat) -> Iterator[Finding]:
    """Tables dropped beside a new one with the same columns."""
    created = [op for op in flat if isinstance(op, ops.CreateTableOp)]
    for op in flat:
        if not isinstance(op, ops.DropTableOp):
            continue
        gone = set(op.to_table().columns.keys())
        name = ".".join(part for part in (op.schema, op.table_name) if part)
        for other in created:
            if other.schema == op.schema and set(other.to_table().columns.keys()) == gone:
                yield possible(
                    f"the table {name}, which is dropped, and {other.table_name}, which is "
                    "created, have the same columns",
                    f'__tablename__ = "{op.table_name}"',
                    f'op.rename_table("{op.table_name}", "{other.table_name}"{schema(op.schema)})',
                )
        yield drops(f"the table {name}", "the table")


def schema(name: str | None) -> str:
    """The argument for a schema that is not the default one."""
    return f', schema="{name}"' if name else ""


def annotated(column: Column[Any]) -> str:
    """The annotation of *column* in a model; dots where its type has none of Python's."""
    try:
        name = column.type.python_type.__name__
    except NotImplementedError:
        return "…"
    return f"{name} | None" if column.nullable else name


def possible(message: str, kept: str, instead: str) -> Finding:
    """The finding of what may be a rename: *kept* needs no revision, *instead* is one."""
    return Finding(
        "possible-rename",
        "warning",
        message,
        why="If it was renamed, the revision loses every value; autogenerate cannot tell.",
        fix=f"If so, rename it in Python alone: {kept}, and no revision. Or write {instead} "
        "instead of the two, with the names exchanged in the downgrade: code that still has the "
        "old name fails until it is replaced (squawk/renaming-… says so too). Both names at once: "
        "expand and contract, references/migration-recipes.md.",
        url=URL,
    )


def drops(what: str, short: str) -> Finding:
    """The finding of lost data."""
    return Finding(
        "drops-data",
        "warning",
        f"{what} is dropped with all that it holds",
        why="The downgrade makes it anew and empty, and code that still names it fails at once.",
        fix=f"Ship code that no longer names {short} first; then this revision, in a later "
        "deployment, after a backup.",
        url=URL,
    )
