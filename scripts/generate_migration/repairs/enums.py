"""Native enumerations: types to create and to drop, and values that came or went."""

from __future__ import annotations

from collections.abc import Iterator

from alembic.operations import ops

from ..core import POSTGRES, Finding
from .catalogue import FoundEnum, Key
from .models import Models, default_sql, native_enum
from .operations import ChangeEnumOp, Place, SqlOp, literal, name_of

Flat = list[ops.MigrateOperation]
URL = f"{POSTGRES}/sql-altertype.html"


def compare(models: Models, flat: Flat) -> tuple[Flat, list[Finding]]:
    """What brings the database's enumerations to those of the models, beside *flat*."""
    if any(type(op).__module__.startswith("alembic_postgresql_enum") for op in flat):
        return [], []  # the plugin of that name has done it
    found: Flat = []
    findings = []
    labels = wanted(models)
    for key, after in labels.items():
        standing = models.catalogue.enums.get(key)
        if standing is None:
            found.append(creation(key, after, models.catalogue.default_schema))
        elif set(standing.labels) != set(after):
            op = change(models, standing, after, flat)
            found.append(op)
            findings += [removed(models, op)] if not op.adds_only else []
    gone = set(leaving(models, flat))
    for key, standing in models.catalogue.enums.items():
        users = {(user.table, user.column) for user in standing.users}
        if users and users <= gone and key not in labels:
            made = creation(key, standing.labels, models.catalogue.default_schema)
            found.append(made.reverse())
    return found, findings


def wanted(models: Models) -> dict[Key, tuple[str, ...]]:
    """The labels of every native enumeration that the models use, in order."""
    found: dict[Key, tuple[str, ...]] = {}
    for table in models.tables.values():
        for column in table.columns:
            kind = native_enum(column.type)
            if kind is not None:
                key = models.catalogue.key(kind.schema, str(kind.name))
                found.setdefault(key, tuple(kind.enums))
    return found


def creation(key: Key, labels: tuple[str, ...], default_schema: str) -> SqlOp:
    """CREATE TYPE, and DROP TYPE back."""
    name = name_of(key, default_schema)
    create = f"CREATE TYPE {name} AS ENUM ({', '.join(map(literal, labels))})"
    again = f"DO $$ BEGIN {create}; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    return SqlOp(
        [create],
        [f"DROP TYPE {name}"],
        rank=Place.TYPE,
        back=Place.DROP_TYPE,
        says=f"type {name}",
        again=[again] if "$$" not in create else None,
    )


def change(models: Models, standing: FoundEnum, after: tuple[str, ...], flat: Flat) -> ChangeEnumOp:
    """From the *standing* labels to those *after*."""
    op = ChangeEnumOp(
        standing.key,
        standing.labels,
        after,
        standing.users,
        models.catalogue.default_schema,
        standing.leaning,
    )
    if not op.adds_only:
        users = {(user.table, user.column) for user in standing.users}
        for item in flat:
            if isinstance(item, ops.AlterColumnOp) and item.modify_server_default is not False:
                place = (models.catalogue.key(item.schema, item.table_name), item.column_name)
                if place in users and place[0] in models.tables:
                    # The type is made anew between the two defaults: neither fits both.
                    column = models.tables[place[0]].columns[item.column_name]
                    op.defaults[place] = default_sql(column)
                    item.modify_server_default = False
    return op


def removed(models: Models, op: ChangeEnumOp) -> Finding:
    """What to do of a value that the models no longer have."""
    name = name_of(op.key, models.catalogue.default_schema)
    gone = [label for label in op.before if label not in op.after]
    new = [label for label in op.after if label not in op.before]
    fix = (
        "Ship code that no longer writes the value, then change the rows that hold it, then this "
        "revision at a quiet hour; or leave the value in the type."
    )
    if len(gone) == len(new) == 1:
        sql = f"ALTER TYPE {name} RENAME VALUE {literal(gone[0])} TO {literal(new[0])}"
        fix = f'Was it renamed? Then write op.execute("{sql}") instead, which is instant. {fix}'
    return Finding(
        "enum-value-removed",
        "error",
        f"the models no longer have {', '.join(map(repr, gone))} of the type {name}: the revision "
        "makes the type anew",
        why="PostgreSQL has no DROP VALUE. Each table with a column of the type is rewritten under "
        "ACCESS EXCLUSIVE, and that fails while a row holds the value.",
        fix=fix,
        url=URL,
    )


def leaving(models: Models, flat: Flat) -> Iterator[tuple[Key, str]]:
    """The columns that *flat* drops or gives another type."""
    for op in flat:
        if isinstance(op, ops.DropTableOp):
            key = models.catalogue.key(op.schema, op.table_name)
            if key in models.catalogue.tables:
                yield from ((key, name) for name in models.catalogue.tables[key].columns)
        elif isinstance(op, ops.DropColumnOp) or (
            isinstance(op, ops.AlterColumnOp) and op.modify_type is not None
        ):
            yield models.catalogue.key(op.schema, op.table_name), str(op.column_name)
