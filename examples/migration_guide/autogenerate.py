"""What autogenerate misses: the values of an enumeration, constraints that nobody validated.

Problem: a value is added to an enumeration in Python, ``alembic check`` says that all is well, and
the first INSERT fails; a constraint is added NOT VALID and never looked at again.  Pattern: an
Alembic plugin compares both.  The two work together: a changed enumeration becomes a CHECK that is
NOT VALID, which blocks nobody, and the next autogenerate asks for its VALIDATE, before all else of
that revision and outside its transaction.  Needs Alembic 1.18; native enum types are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import CheckConstraint, Column, Connection, DefaultClause, Enum, Table, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import conv
from sqlalchemy.sql.compiler import IdentifierPreparer
from sqlalchemy.sql.schema import Constraint

NAME = __name__
# CHECKs compared by name: off in Alembic unless asked for.
PLUGINS = ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname", NAME]

PREPARE: IdentifierPreparer = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]
CONSTRAINTS = text(
    """
    SELECT conname, convalidated, pg_get_constraintdef(oid)
    FROM pg_constraint
    WHERE conrelid = to_regclass(:table) AND contype IN ('c', 'f')
    ORDER BY conname
    """
)


@cache
def register() -> None:
    """Make the comparisons known to Alembic, which keeps its plugins for the whole process."""
    plugin = Plugin(NAME)
    plugin.add_autogenerate_comparator(compare_constraints, "table", NAME)
    plugin.add_autogenerate_comparator(
        compare_sequence_default, "column", "server_default", priority=DispatchPriority.FIRST
    )
    plugin.add_autogenerate_comparator(
        validate_first, "autogenerate", priority=DispatchPriority.LAST
    )


def compare_constraints(  # noqa: PLR0917 - Alembic's signature
    autogen_context: AutogenContext,
    modify_table_ops: ops.ModifyTableOps,
    schema: str | None,
    table_name: str,
    conn_table: Table | None,
    metadata_table: Table | None,
) -> PriorityDispatchResult:
    """Add to *modify_table_ops* what brings *conn_table* to the values of *metadata_table*."""
    connection = autogen_context.connection
    if connection is not None and conn_table is not None and metadata_table is not None:
        found = constraints(connection, schema, table_name)
        for name, column, values in checked_values(metadata_table):
            if name in found and values_in(found[name].definition) != set(values):
                modify_table_ops.ops += replacement(metadata_table, name, column, values, found)
        for item in metadata_table.constraints:
            name = rendered_name(item)
            if name in found and not found[name].validated:
                modify_table_ops.ops.append(ValidateConstraintOp(metadata_table, name))
    return PriorityDispatchResult.CONTINUE


def validate_first(
    autogen_context: AutogenContext, upgrade_ops: ops.UpgradeOps
) -> PriorityDispatchResult:
    """Put each VALIDATE before all else: no lock of another change is held while it reads.

    It can be repeated; what follows is one transaction.  A constraint that this revision replaces
    has its VALIDATE in the next one.
    """
    del autogen_context
    tables = [op for op in upgrade_ops.ops if isinstance(op, ops.ModifyTableOps)]
    first: list[ops.MigrateOperation] = []
    for table in tables:
        replaced = {op.constraint_name for op in table.ops if isinstance(op, ops.DropConstraintOp)}
        asked = [op for op in table.ops if isinstance(op, ValidateConstraintOp)]
        first += [op for op in asked if op.name not in replaced]
        table.ops = [op for op in table.ops if op not in asked]
    emptied = [table for table in tables if not table.ops]
    upgrade_ops.ops = first + [op for op in upgrade_ops.ops if op not in emptied]
    return PriorityDispatchResult.CONTINUE


def compare_sequence_default(  # noqa: PLR0917 - Alembic's signature
    autogen_context: AutogenContext,
    alter_column_op: ops.AlterColumnOp,
    schema: str | None,
    table_name: str,
    column_name: str,
    conn_column: Column[Any],
    metadata_column: Column[Any],
) -> PriorityDispatchResult:
    """Keep Alembic from asking the server whether ``nextval(…)`` equals itself.

    It takes two numbers out of the sequence to compare them, and they differ.
    """
    del autogen_context, alter_column_op, schema, table_name, column_name
    defaults = (conn_column.server_default, metadata_column.server_default)
    # A callable as compare_server_default could do the same, but fails on Identity columns.
    words = [str(item.arg) for item in defaults if isinstance(item, DefaultClause)]
    if len(words) == len(defaults) and "nextval(" in words[0]:
        same = normalized(words[0]) == normalized(words[1])
        return PriorityDispatchResult.STOP if same else PriorityDispatchResult.CONTINUE
    return PriorityDispatchResult.CONTINUE


def normalized(default: str) -> str:
    """*default* without what PostgreSQL adds when it prints it: casts, brackets, spaces."""
    return re.sub(r"::[a-z_ ]+|[()\s]", "", default)


@dataclass(frozen=True)
class Found:
    """A constraint of the database: whether all rows were looked at, and its definition."""

    validated: bool
    definition: str


def constraints(connection: Connection, schema: str | None, table: str) -> dict[str, Found]:
    """The CHECKs and foreign keys of *table* by name."""
    qualified = ".".join(PREPARE.quote(part) for part in (schema, table) if part)
    rows = connection.execute(CONSTRAINTS, {"table": qualified})
    return {name: Found(validated, definition) for name, validated, definition in rows}


def checked_values(table: Table) -> list[tuple[str, str, list[str]]]:
    """Constraint name, column, values of each checked text of the models' *table*."""
    return [
        (rendered_name(item), column.name, column.type.enums)
        for item in table.constraints
        # SQLAlchemy marks the CHECK that a type brought along; there is no public name for it.
        if isinstance(item, CheckConstraint) and getattr(item, "_type_bound", False)
        for column in item.columns
        if isinstance(column.type, Enum)
    ]


def rendered_name(constraint: Constraint) -> str:
    """The name that the models or their naming convention give; "" where PostgreSQL gave one."""
    if constraint.name is None:
        return ""
    shown = PREPARE.format_constraint(constraint) or ""
    return shown[1:-1].replace('""', '"') if shown.startswith('"') else shown


def values_in(definition: str) -> set[str]:
    """The literals of a CHECK as PostgreSQL prints it: ``'open'::character varying, …``."""
    return {value.replace("''", "'") for value in re.findall(r"'((?:[^']|'')*)'::", definition)}


def condition(column: str, values: Iterable[str]) -> str:
    """``column IN (…)`` for a CHECK."""
    literals = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{PREPARE.quote(column)} IN ({literals})"


def replacement(
    table: Table, name: str, column: str, values: list[str], found: Mapping[str, Found]
) -> list[ops.MigrateOperation]:
    """Drop the CHECK and add the new one NOT VALID: one moment without a look at any row."""
    before, after = (
        ops.CreateCheckConstraintOp(
            conv(name), table.name, text(words), schema=table.schema, postgresql_not_valid=True
        )
        for words in (
            condition(column, sorted(values_in(found[name].definition))),
            condition(column, values),
        )
    )
    drop = ops.DropConstraintOp(
        conv(name), table.name, "check", schema=table.schema, _reverse=before
    )
    return [drop, after]


class ValidateConstraintOp(ops.MigrateOperation):
    """Look at all rows of a constraint that was added NOT VALID; it blocks no writer."""

    def __init__(self, table: Table, name: str) -> None:
        self.table = table
        self.name = name

    def statement(self) -> str:
        """The SQL."""
        table = PREPARE.format_table(self.table)
        return f"ALTER TABLE {table} VALIDATE CONSTRAINT {PREPARE.quote(self.name)}"

    def to_diff_tuple(self) -> tuple[str, str, str]:
        """What ``alembic check`` prints."""
        return ("validate_constraint", self.table.name, self.name)

    def reverse(self) -> ops.MigrateOperation:
        """Nothing: a validated constraint does no harm."""
        return ops.ModifyTableOps(self.table.name, [], schema=self.table.schema)


@renderers.dispatch_for(ValidateConstraintOp)
def render_validate(autogen_context: AutogenContext, op: ValidateConstraintOp) -> str:
    """A block of its own, as one text: Alembic indents line by line."""
    del autogen_context
    return (
        "with op.get_context().autocommit_block():\n"
        "    op.execute('SET statement_timeout = 0')\n"
        f"    op.execute({op.statement()!r})\n"
        "    op.execute('RESET statement_timeout')"
    )
