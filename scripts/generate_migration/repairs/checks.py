"""CHECK constraints, those of checked texts among them: autogenerate compares none of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from alembic.operations import ops
from sqlalchemy import CheckConstraint, Table, text
from sqlalchemy.schema import conv

from ..core import ALEMBIC, Finding
from .catalogue import FoundCheck, FoundTable
from .models import Models, dialect, expression_sql, type_sql
from .names import free_name
from .operations import PREPARE, Place, SqlOp, executed

Flat = list[ops.MigrateOperation]
Pairs = list[tuple["Wanted", FoundCheck | None]]


@dataclass
class Wanted:
    """A CHECK of the models; *name* is None where PostgreSQL chooses."""

    name: str | None
    condition: str
    columns: tuple[str, ...]
    constraint: CheckConstraint


def compare(models: Models, flat: Flat) -> tuple[Flat, list[Finding]]:
    """What brings the CHECKs of the database to those of the models, beside *flat*."""
    found: Flat = []
    findings: list[Finding] = []
    done = {
        (models.catalogue.key(op.schema, op.table_name), str(op.constraint_name))
        for op in flat
        if isinstance(op, (ops.CreateCheckConstraintOp, ops.DropConstraintOp))
    }
    leaving = {
        (models.catalogue.key(op.schema, op.table_name), str(op.column_name))
        for op in flat
        if isinstance(op, ops.DropColumnOp)
    }
    for table, standing in models.pairs:
        pairs, extra = matched(models, table, standing)
        for mine, theirs in pairs:
            name = mine.name or (theirs.name if theirs else None)
            filtered = not models.takes_check(name, standing.key, mine.constraint, False)
            if (standing.key, name) not in done and not filtered:
                found += change(models, table, standing, mine, theirs)
        for theirs in extra:
            if (standing.key, theirs.name) in done:
                continue
            if any((standing.key, column) in leaving for column in theirs.columns):
                # It goes with its column; named, the downgrade brings it back.
                found.append(dropping(models, table, standing, theirs))
            else:
                item = CheckConstraint(text(executed(theirs.condition)), name=theirs.name)
                if models.takes_check(theirs.name, standing.key, item, True):
                    findings.append(unknown(table, theirs))
    return found, findings


def validation(op: Any) -> ops.MigrateOperation:
    """*op*; the VALIDATE of the migration guide's plugin as one of our own heavy statements.

    It is rendered as a block, which would end the transaction around it.
    """
    if type(op).__name__ != "ValidateConstraintOp":  # of a copy, in whatever module
        return op  # type: ignore[no-any-return]
    return SqlOp([op.statement()], rank=Place.HEAVY, back=Place.HEAVY)


def wanted(table: Table) -> list[Wanted]:
    """The CHECKs that CREATE TABLE would make."""
    compiler: Any = dialect().ddl_compiler(dialect(), None)  # type: ignore[arg-type]
    found = []
    own = [item for column in table.columns for item in column.constraints]
    given = [item for item in (*table.constraints, *own) if isinstance(item, CheckConstraint)]
    for item in sorted(given, key=lambda item: (str(item.name), str(item.sqltext))):
        # SQLAlchemy's own word on whether a type needs its CHECK; there is no public name for it.
        rule = getattr(item, "_create_rule", None)
        condition = expression_sql(item.sqltext)
        if condition is not None and (rule is None or rule(compiler)):
            columns = columns_in(table, condition)
            found.append(Wanted(final_name(item), condition, columns, item))
    return found


def columns_in(table: Table, condition: str) -> tuple[str, ...]:
    """The columns that *condition* names, as well as a text shows them."""
    words = set(re.findall(r"\w+", condition))
    return tuple(sorted(column.name for column in table.columns if column.name in words))


def final_name(constraint: CheckConstraint) -> str | None:
    """The name after the naming convention and its cut."""
    if constraint.name is None:
        return None
    shown = dialect().identifier_preparer.format_constraint(constraint)
    if shown and shown.startswith('"'):
        return shown[1:-1].replace('""', '"')
    return shown


def matched(models: Models, table: Table, standing: FoundTable) -> tuple[Pairs, list[FoundCheck]]:
    """The CHECKs to change, each with what stands in its place, and those the models lack.

    First by name, then by condition: what only differs in its name is left alone.
    """
    mine, theirs = wanted(table), dict(standing.checks)
    types = {str(item.name): type_sql(item.type) or "text" for item in table.columns}
    types |= {name: column.type for name, column in standing.columns.items()}
    given = [item.condition for item in mine] + [item.condition for item in theirs.values()]
    spelt = dict(zip(given, models.spelling.expressions(given, types, table.name), strict=True))
    pairs: Pairs = []
    rest = []
    for item in mine:
        other = theirs.pop(item.name, None) if item.name else None
        if other is None:
            rest.append(item)
        elif differ(spelt[item.condition], spelt[other.condition]):
            pairs.append((item, other))
    for item in rest:
        same = [
            other
            for other in theirs.values()
            if spelt[item.condition] and spelt[other.condition] == spelt[item.condition]
        ]
        if same:
            del theirs[same[0].name]
            continue
        # One without a name has the place of the one that PostgreSQL named for the same columns.
        old = [
            other
            for other in theirs.values()
            if item.name is None
            and tuple(sorted(other.columns)) == item.columns
            and other.name.startswith(f"{table.name}_")
            and "_check" in other.name
        ]
        pairs.append((item, theirs.pop(old[0].name) if old else None))
    return pairs, list(theirs.values())


def differ(mine: str | None, theirs: str | None) -> bool:
    """Whether two conditions are known to differ."""
    return mine is not None and theirs is not None and mine != theirs


def change(
    models: Models, table: Table, standing: FoundTable, mine: Wanted, theirs: FoundCheck | None
) -> Flat:
    """The old CHECK dropped, where there is one, and the new one added."""
    name = mine.name or (theirs.name if theirs else None)
    if name is None:
        column = mine.columns[0] if len(mine.columns) == 1 else ""
        name = free_name(models.catalogue, standing.key[0], table.name, column, "check")
    add = creation(table, name, mine.condition)
    return [add] if theirs is None else [dropping(models, table, standing, theirs), add]


def dropping(
    models: Models, table: Table, standing: FoundTable, theirs: FoundCheck
) -> ops.DropConstraintOp:
    """The operation that drops the CHECK, and knows how to bring it back."""
    before = creation(table, theirs.name, readable(models, standing, theirs))
    return ops.DropConstraintOp(
        conv(theirs.name), table.name, "check", schema=table.schema, _reverse=before
    )


def readable(models: Models, standing: FoundTable, check: FoundCheck) -> str:
    """The condition of *check*; of a list of values, as a person writes it.

    What PostgreSQL prints of that is not what it prints of what it has printed.
    """
    if len(check.columns) != 1 or " = ANY " not in check.condition:
        return check.condition
    values = re.findall(r"'(?:[^']|'')*'(?=::)", check.condition)
    mine = f"{PREPARE.quote(check.columns[0])} IN ({', '.join(values)})"
    types = {name: column.type for name, column in standing.columns.items()}
    given = [mine, check.condition]
    spelt, wanted_ = models.spelling.expressions(given, types, standing.key[1])
    return mine if spelt is not None and spelt == wanted_ else check.condition


def restored(models: Models, flat: Flat) -> None:
    """Give the tables that *flat* drops their CHECKs in words that make the same ones again."""
    for op in flat:
        if isinstance(op, ops.DropTableOp) and op._reverse is not None:
            standing = models.catalogue.tables.get(models.catalogue.key(op.schema, op.table_name))
            if standing is None:
                continue
            kept = [item for item in op._reverse.columns if not isinstance(item, CheckConstraint)]
            op._reverse.columns = kept + [
                CheckConstraint(
                    text(executed(readable(models, standing, check))), name=conv(check.name)
                )
                for check in standing.checks.values()
            ]


def creation(table: Table, name: str, condition: str) -> ops.CreateCheckConstraintOp:
    """The operation that adds the CHECK."""
    return ops.CreateCheckConstraintOp(
        conv(name), table.name, text(executed(condition)), schema=table.schema
    )


def unknown(table: Table, theirs: FoundCheck) -> Finding:
    """A CHECK of the database that the models lack: written by hand, or no longer wanted."""
    arguments = f'"{theirs.name}", "{table.name}", type_="check"'
    if table.schema:
        arguments += f', schema="{table.schema}"'
    return Finding(
        "unknown-check",
        "info",
        f"the models lack the CHECK {theirs.name} of {table.fullname}: {theirs.condition}",
        why="Nobody can tell whether it was written by hand or is no longer wanted, so it stays.",
        fix=f"Name it in the models; or, to drop it, write op.drop_constraint({arguments}).",
        url=f"{ALEMBIC}/autogenerate.html",
    )
