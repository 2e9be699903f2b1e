"""Names: those that PostgreSQL would choose, and those that are too long for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alembic.operations import ops
from sqlalchemy import ForeignKeyConstraint
from sqlalchemy.schema import conv

from ..core import POSTGRES, Finding
from .catalogue import Catalogue

NAME_BYTES = 63  # NAMEDATALEN - 1


def object_name(table: str, column: str, label: str) -> str:
    """The name as ``makeObjectName()`` of PostgreSQL builds it: the longer part is cut first."""
    parts = [table.encode(), column.encode()] if column else [table.encode()]
    room = NAME_BYTES - len(label) - len(parts)
    sizes = [len(part) for part in parts]
    while sum(sizes) > room:
        sizes[sizes.index(max(sizes)) if len(sizes) == 1 or sizes[0] > sizes[1] else 1] -= 1
    cut = [part[:size].decode(errors="ignore") for part, size in zip(parts, sizes, strict=True)]
    return "_".join([*cut, label])


def free_name(catalogue: Catalogue, schema: str, table: str, column: str, label: str) -> str:
    """``<table>_<column>_<label>``, numbered where it is taken, as PostgreSQL does; now taken."""
    number = 0
    while True:
        name = object_name(table, column, f"{label}{number or ''}")
        if (schema, name) not in catalogue.names:
            catalogue.names.add((schema, name))
            return name
        number += 1


def named(op: ops.MigrateOperation, catalogue: Catalogue) -> None:
    """Give the constraint that *op* adds the name that PostgreSQL would give, if it has none.

    Without one the downgrade would be ``op.drop_constraint(None, …)``.
    """
    if not isinstance(op, ops.AddConstraintOp) or getattr(op, "constraint_name", None):
        return
    given: Any = op
    if isinstance(op, ops.CreateForeignKeyOp):
        table, columns, label = op.source_table, op.local_cols, "fkey"
        schema = op.kw.get("source_schema")
    elif isinstance(op, ops.CreateUniqueConstraintOp):
        table, columns, label = op.table_name, [str(item) for item in op.columns], "key"
        schema = op.schema
    else:
        return
    found = free_name(
        catalogue, catalogue.key(schema, table)[0], table, "_".join(columns)[:NAME_BYTES], label
    )
    given.constraint_name = conv(found)


def key_name(constraint: ForeignKeyConstraint, catalogue: Catalogue) -> str:
    """The name for a foreign key without one."""
    table = constraint.parent
    columns = "_".join(constraint.column_keys)[:NAME_BYTES]
    schema = catalogue.key(table.schema, table.name)[0]
    return free_name(catalogue, schema, table.name, columns, "fkey")


def too_long(flat: list[ops.MigrateOperation]) -> list[Finding]:
    """Findings on names that PostgreSQL cuts off: it takes the short one, the models the long."""
    return [
        Finding(
            "name-too-long",
            "error",
            f"the {kind} {name} has {len(name.encode())} bytes; PostgreSQL keeps {NAME_BYTES}",
            why="The name is cut off without an error, and every later comparison finds the whole "
            "name missing.",
            fix="Give it a shorter name in the models.",
            url=f"{POSTGRES}/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS",
        )
        for kind, name in dict.fromkeys(names(flat))
        if len(name.encode()) > NAME_BYTES and not shortened(name)
    ]


def shortened(name: str) -> bool:
    """Whether SQLAlchemy cuts *name* itself, the same way each time: a convention made it."""
    return isinstance(name, conv) and name.isascii()


def names(flat: list[ops.MigrateOperation]) -> Iterator[tuple[str, str]]:
    """Kind and name of all that is made."""
    for op in flat:
        if isinstance(op, ops.CreateTableOp):
            yield "table", op.table_name
            for item in op.columns:
                name = getattr(item, "name", None)
                if isinstance(name, str):  # else none, or SQLAlchemy's word for none
                    yield item.__visit_name__.replace("_", " "), name
        elif isinstance(op, ops.AddColumnOp):
            yield "column", op.column.name
        elif isinstance(op, ops.CreateIndexOp):
            yield "index", op.index_name or ""
        elif isinstance(op, ops.AddConstraintOp):
            yield "constraint", getattr(op, "constraint_name", None) or ""
