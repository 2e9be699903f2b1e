"""Server defaults, identities and generated columns, compared in PostgreSQL's own spelling."""

from __future__ import annotations

from typing import Any

from alembic.operations import ops
from sqlalchemy import Column, DefaultClause, Sequence

from ..core import POSTGRES, Finding
from .catalogue import FoundColumn, FoundTable
from .models import Models, default_sql, expression_sql, is_serial
from .operations import PREPARE, Place, SqlOp, name_of

Flat = list[ops.MigrateOperation]


def compare(models: Models, flat: Flat) -> tuple[Flat, list[Finding]]:
    """What brings the defaults of the database to those of the models, beside *flat*.

    Takes out of *flat* what Alembic believes to differ and does not.
    """
    altered = models.altered(flat, lambda op: op.modify_server_default is not False)
    found: Flat = []
    findings: list[Finding] = []
    for table, standing in models.pairs:
        for column, name in models.columns(table, standing):
            differs, finding = difference(models, column, standing.columns[name], standing)
            own = altered.get((standing.key, name))
            if own is not None and not differs:
                own.modify_server_default = False
            elif own is None and differs:
                found.append(change(models, column, standing))
            if finding is not None:
                findings.append(finding)
                if finding.rule == "computed-changed" and models.catalogue.version >= 17:
                    found.append(expression(models, column, standing))
    return found, findings


def difference(
    models: Models, column: Column[Any], found: FoundColumn, standing: FoundTable
) -> tuple[bool, Finding | None]:
    """Whether the default differs in what ALTER COLUMN can change, and what it cannot change."""
    if column.computed is not None or found.generated:
        return False, computed(models, column, found, standing)
    if column.identity is not None or found.identity:
        return identity(column, found)
    if column.server_default is None:
        by_sequence = found.default is not None and "nextval(" in found.default
        known = is_serial(column) or (by_sequence and isinstance(column.default, Sequence))
        return found.default is not None and not known, None
    if not isinstance(column.server_default, DefaultClause):
        return False, None  # a FetchedValue says that something else fills it in
    mine = default_sql(column)
    if found.default is None or mine is None:
        return found.default is None, None
    return not same(models, [mine, found.default], found.type, standing), None


def same(models: Models, given: list[str], kind: str, standing: FoundTable) -> bool:
    """Whether both expressions are one to PostgreSQL; also where it cannot tell."""
    types = {name: column.type for name, column in standing.columns.items()}
    asked = [f"CAST(({item}) AS {kind})" for item in given]
    mine, theirs = models.spelling.expressions(asked, types, standing.key[1])
    return theirs == mine if None not in (mine, theirs) else theirs is None


def identity(column: Column[Any], found: FoundColumn) -> tuple[bool, Finding | None]:
    """An identity on one side alone, or ALWAYS on one."""
    if column.identity is not None and found.identity:
        return found.identity != ("a" if column.identity.always else "d"), None
    if column.identity is not None and found.default is not None:
        table = column.table
        return False, Finding(
            "serial-to-identity",
            "error",
            f"{table.fullname}.{column.name} is filled by {found.default} in the database, and an "
            "identity in the models",
            why="The new sequence would begin at 1 and collide with the keys that exist.",
            fix="Write it by hand: drop the default, ADD GENERATED … AS IDENTITY with RESTART at "
            "max + 1, drop the old sequence; or leave the column as it is, and the models too.",
            url=f"{POSTGRES}/sql-altertable.html",
        )
    if column.identity is None and (column.server_default is not None or is_serial(column)):
        return False, None
    return True, None


def change(models: Models, column: Column[Any], standing: FoundTable) -> ops.AlterColumnOp:
    """The operation that gives *column* its default, or takes it away."""
    existing = models.reflected(standing.key).columns[column.name]
    return ops.AlterColumnOp(
        column.table.name,
        column.name,
        schema=column.table.schema,
        existing_type=existing.type,
        existing_nullable=existing.nullable,
        existing_server_default=existing.server_default,
        modify_server_default=column.server_default,
    )


def computed(
    models: Models, column: Column[Any], found: FoundColumn, standing: FoundTable
) -> Finding | None:
    """What is wrong with a generated column, which no ALTER COLUMN makes or unmakes."""
    name = f"{column.table.fullname}.{column.name}"
    known = column.server_default is not None or column.server_onupdate is not None
    if column.computed is None:
        words = f"{name} is generated in the database, and a plain column in the models"
        return None if known else kind(words)
    if not found.generated:
        return kind(f"{name} is generated in the models, and a plain column in the database")
    wanted = {True: "s", False: "v"}.get(column.computed.persisted)  # type: ignore[arg-type]
    if wanted and wanted != found.generated:
        spelt = {"s": "stored", "v": "virtual"}
        return kind(f"{name} is {spelt[wanted]} in the models, {spelt[found.generated]} there")
    mine = expression_sql(column.computed.sqltext) or ""
    if not found.default or same(models, [mine, found.default], found.type, standing):
        return None
    return Finding(
        "computed-changed",
        "error",
        f"the expression of {name} is {mine} in the models, {found.default} in the database",
        why="A stored column is rewritten with its table under ACCESS EXCLUSIVE.",
        fix="For a large table, add a second column with the new expression, ship code that reads "
        "it, then drop the old one.",
        url=f"{POSTGRES}/ddl-generated-columns.html",
    )


def kind(message: str) -> Finding:
    """The finding of a column that would have to become another kind."""
    return Finding(
        "computed-kind",
        "error",
        message,
        why="PostgreSQL cannot turn one into the other in place, so the revision leaves it.",
        fix="Add a second column, ship code that uses it, then drop the first one.",
        url=f"{POSTGRES}/ddl-generated-columns.html",
    )


def expression(models: Models, column: Column[Any], standing: FoundTable) -> SqlOp:
    """SET EXPRESSION, which PostgreSQL 17 and later have."""
    assert column.computed is not None
    table = name_of(standing.key, models.catalogue.default_schema)
    words = f"ALTER TABLE {table} ALTER COLUMN {PREPARE.quote(column.name)} SET EXPRESSION AS"
    before = standing.columns[column.name].default
    return SqlOp(
        [f"{words} ({expression_sql(column.computed.sqltext)})"],
        [f"{words} ({before})"],
        rank=Place.ALTER,
        back=Place.ALTER,
        table=standing.key,
        says=f"expression of {column.table.fullname}.{column.name}",
    )
