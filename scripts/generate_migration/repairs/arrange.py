"""Puts the operations of a revision into an order and a form that stands in nobody's way.

What needs a strong lock on a table in use is short and stands in a transaction of its own, which
waits for no lock without limit.  What reads a whole table runs outside a transaction, under locks
that let everybody write.  A revision that has both may fail half-way: its first part is written so
that it can be run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from alembic.operations import ops
from sqlalchemy import Column, DefaultClause, text
from sqlalchemy.schema import conv

from ..core import Finding
from .catalogue import Key
from .column_types import finding as type_finding
from .column_types import steps, without_check
from .costs import needs_filling, needs_value, partitioned, rewriting
from .indexes import built, by_itself, unique_by_index
from .models import Models, native_enum, specification
from .names import free_name
from .operations import (
    PREPARE,
    AutocommitOp,
    ChangeEnumOp,
    CommentOp,
    NothingOp,
    Place,
    SqlOp,
    executed,
    name_of,
)
from .probe import rewrites
from .settings import Settings
from .tables import referred
from .values import stopgap

Op = ops.MigrateOperation
Placed = list[tuple[Place, Op]]
PLACES: dict[type[Op], Place] = {
    ops.CreateTableOp: Place.CREATE_TABLE,
    ops.DropTableOp: Place.DROP_TABLE,
    ops.DropColumnOp: Place.DROP_COLUMN,
}
LOCKING = "Short locks only."
READING = "Outside a transaction: this reads whole tables, and blocks no writer."
STAYS = "The new values of {name} stay: PostgreSQL has no DROP VALUE, and rows may hold them."
AGAIN = "If the revision fails here, mend the cause and run it again."


@dataclass
class Arrangement:
    """One direction of a revision."""

    models: Models
    flat: Sequence[Op]
    settings: Settings
    upgrade: bool
    findings: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.created = self._keys(ops.CreateTableOp)
        self.gone = self._keys(ops.DropTableOp)
        self.dropped = {
            (self.key(op), str(op.constraint_name))
            for op in self.flat
            if isinstance(op, ops.DropConstraintOp) and op.constraint_type == "unique"
        }
        self.unindexed = {
            (self.key(op), str(op.index_name))
            for op in self.flat
            if isinstance(op, ops.DropIndexOp)
        }
        # The tables in use whose rows get another rule of uniqueness, outside a transaction.
        self.newly_unique = {
            self.key(op) for op in self.unique() if not self.partitioned(self.key(op))
        }
        self.types = [op for op in self.flat if isinstance(op, SqlOp)]

    def key(self, op: Any) -> Key:
        """The table of *op*."""
        schema = op.kw.get("source_schema") if hasattr(op, "source_table") else op.schema
        name = getattr(op, "source_table", None) or op.table_name
        return self.models.catalogue.key(schema, name)

    def _keys(self, kind: type[Op]) -> set[Key]:
        return {self.key(op) for op in self.flat if isinstance(op, kind)}

    def unique(self) -> list[Any]:
        """What makes columns unique, other than with their table."""
        return [
            op
            for op in self.flat
            if isinstance(op, ops.CreateUniqueConstraintOp)
            or (isinstance(op, ops.CreateIndexOp) and op.unique)
        ]

    def partitioned(self, key: Key) -> bool:
        """Whether PostgreSQL refuses CONCURRENTLY and NOT VALID there."""
        found = self.models.catalogue.tables.get(key)
        return found is not None and found.partitioned

    # --- One operation ----------------------------------------------------------------------------

    def place(self, op: Op) -> Placed:
        """Where *op* goes, and in what form."""
        for kind, placed in self.handlers():
            if isinstance(op, kind):
                return placed(op)
        return [(PLACES.get(type(op), Place.ALTER), op)]

    def handlers(self) -> list[tuple[type[Op], Callable[[Any], Placed]]]:
        """What is not simply put in its place."""
        return [
            (SqlOp, self.sql),
            (ChangeEnumOp, self.enum),
            (ops.CreateIndexOp, self.index),
            (ops.DropIndexOp, self.drop_index),
            (ops.AddColumnOp, self.add_column),
            (ops.AlterColumnOp, self.alter_column),
            (ops.AddConstraintOp, self.constraint),
            (ops.DropConstraintOp, self.drop_constraint),
        ]

    def sql(self, op: SqlOp) -> Placed:
        """Where it says itself."""
        return [(op.rank, op)] if op.up else []

    def enum(self, op: ChangeEnumOp) -> Placed:
        """Values come first; a type made anew is in the way of nothing then.

        The way back of values that were added is none: rows may hold them by then.
        """
        if not op.upgrade and op.reverse().adds_only:
            return [(Place.DROP_TYPE, CommentOp(STAYS.format(name=op.name)))]
        again = Place.REBUILD if op.upgrade else Place.REBUILD_BACK
        return [(Place.VALUES if op.adds_only else again, op)]

    def index(self, op: ops.CreateIndexOp) -> Placed:
        """Concurrently where the table is in use."""
        key = self.key(op)
        if key in self.created:
            return [(Place.NEW_INDEX, op)]
        if self.partitioned(key):
            self.refuse(key, f"the index {op.index_name} is built under a lock")
            return [(Place.ALTER, op)]
        name = (key, str(op.index_name))
        replaced = name in self.unindexed | self.dropped
        heavy, rename = built(self.models.catalogue, key, op, replaced)
        # A constraint takes its index with it in the last transaction.
        last = Place.FINISH if name in self.dropped else Place.RENAME_INDEX
        return [*((Place.HEAVY, item) for item in heavy), *([(last, rename)] if rename else [])]

    def drop_index(self, op: ops.DropIndexOp) -> Placed:
        """The same, when all others are built: one of them may take its place, or its name."""
        key = self.key(op)
        if key in self.gone:
            return [(Place.DROP_COLUMN, op)]
        if self.partitioned(key):
            return [(Place.DROP_CONSTRAINT, op)]
        return [(Place.DROP_INDEX, by_itself(op))]

    def constraint(self, op: Any) -> Placed:
        """Added without a look at the rows, where the table is in use; they come later."""
        key = self.key(op)
        if key in self.created:
            return [(Place.NEW_FOREIGN_KEY, op)]
        if self.partitioned(key) and not isinstance(op, ops.CreateCheckConstraintOp):
            self.refuse(key, f"the constraint {op.constraint_name} reads it under a lock")
            return [(Place.NOT_VALID, op)]
        if isinstance(op, ops.CreateForeignKeyOp) and self.leans(op):
            return [(Place.LATE_FOREIGN_KEY, op)]
        if isinstance(op, ops.CreateUniqueConstraintOp):
            replaced = (key, str(op.constraint_name)) in self.unindexed | self.dropped
            heavy, finish = unique_by_index(self.models.catalogue, key, op, replaced)
            return [*((Place.HEAVY, item) for item in heavy), (Place.FINISH, finish)]
        if isinstance(op, (ops.CreateForeignKeyOp, ops.CreateCheckConstraintOp)):
            op.kw["postgresql_not_valid"] = True
            return [(Place.NOT_VALID, op), (Place.HEAVY, self.validation(key, op.constraint_name))]
        return [(Place.NOT_VALID, op)]

    def drop_constraint(self, op: ops.DropConstraintOp) -> Placed:
        """A moment; foreign keys first.  What is exchanged stands until its successor is built."""
        if op.constraint_type == "foreignkey":
            late = self.is_built_late(op)
            return [(Place.LATE_DROP_FOREIGN_KEY if late else Place.DROP_FOREIGN_KEY, op)]
        late = op.constraint_type == "unique" and self.key(op) in self.newly_unique
        return [(Place.LATE_DROP_CONSTRAINT if late else Place.DROP_CONSTRAINT, op)]

    def is_built_late(self, op: ops.DropConstraintOp) -> bool:
        """Whether the foreign key is exchanged, and so is the constraint that it leans on."""
        before = op._reverse
        if not isinstance(before, ops.CreateForeignKeyOp):
            return False
        dropped = [
            other._reverse
            for other in self.flat
            if isinstance(other, ops.DropConstraintOp)
            and isinstance(other._reverse, ops.CreateUniqueConstraintOp)
        ]
        return self.leans(before, dropped) and any(
            self.key(other) == self.key(op) and ends(other) == ends(before) and self.leans(other)
            for other in self.flat
            if isinstance(other, ops.CreateForeignKeyOp)
        )

    def leans(self, op: Any, on: Sequence[Any] | None = None) -> bool:
        """Whether the foreign key refers to columns whose uniqueness is still to be built.

        Or to those that one of *on* keeps unique.
        """
        target = self.models.catalogue.key(op.kw.get("referent_schema"), op.referent_table)
        return target not in self.created and any(
            self.key(other) == target
            and {getattr(item, "name", str(item)) for item in other.columns} == {*op.remote_cols}
            for other in (self.unique() if on is None else on)
        )

    def validation(self, key: Key, name: Any) -> SqlOp:
        """VALIDATE CONSTRAINT."""
        table = name_of(key, self.models.catalogue.default_schema)
        sql = f"ALTER TABLE {table} VALIDATE CONSTRAINT {PREPARE.quote(str(name))}"
        return SqlOp([sql], rank=Place.HEAVY, back=Place.HEAVY, table=key)

    def add_column(self, op: ops.AddColumnOp) -> Placed:
        """A column; where a downgrade brings back one that takes no NULL, with a stopgap."""
        column = copied(op.column)
        made = ops.AddColumnOp(op.table_name, column, schema=op.schema)
        if self.upgrade:
            self.judge(op)
        if column.nullable or column.primary_key or filled(column):
            return [(Place.ADD_COLUMN, made)]
        if self.upgrade:
            note = CommentOp(
                f"Fails while {op.table_name} holds rows: they need a value for {column.name}."
            )
            return [(Place.ADD_COLUMN, note), (Place.ADD_COLUMN, made)]
        value = stopgap(self.models, self.key(op), column)
        if value is None:
            return [(Place.ADD_COLUMN, made)]
        column.server_default = DefaultClause(text(executed(value)))
        note = CommentOp("The values are lost: old rows get a stopgap.")
        end = ops.AlterColumnOp(
            op.table_name,
            str(column.name),
            schema=op.schema,
            existing_type=column.type,
            existing_nullable=False,
            modify_server_default=None,
        )
        return [(Place.ADD_COLUMN, item) for item in (note, made, end)]

    def judge(self, op: ops.AddColumnOp) -> None:
        """Findings on a new column."""
        key, column = self.key(op), op.column
        name = f"{'.'.join(key)}.{column.name}"
        if not column.nullable and not column.primary_key and not filled(column):
            self.findings.append(needs_value(name, column))
        enum = native_enum(column.type)
        before = [
            sql
            for item in self.types
            for sql in item.up
            if enum is not None and sql.startswith("CREATE TYPE")
        ]
        table = name_of(key, self.models.catalogue.default_schema)
        action = f"ADD COLUMN {specification(column)}"
        if key in self.models.catalogue.tables and rewrites(
            self.models.connection, f"LIKE {table}", action, before
        ):
            self.findings.append(rewriting(name))

    def alter_column(self, op: ops.AlterColumnOp) -> Placed:
        """Each change by itself: type, default, comment, NULL."""
        found: Placed = []
        if op.modify_type is not None:
            flat, rewritten = steps(self.models, op, self.types)
            found += [(Place.ALTER_TYPE, item) for item in flat]
            finding = type_finding(self.models.catalogue, op, rewritten)
            if finding is not None and self.upgrade:
                self.findings.append(finding)
        given: dict[str, Any] = {
            "schema": op.schema,
            "existing_type": without_check(
                op.existing_type if op.modify_type is None else op.modify_type
            ),
        }
        if op.modify_server_default is not False or op.modify_comment is not False:
            changed: dict[str, Any] = {
                "existing_nullable": op.existing_nullable,
                "existing_server_default": op.existing_server_default,
                "existing_comment": op.existing_comment,
                "modify_server_default": op.modify_server_default,
                "modify_comment": op.modify_comment,
            }
            rest = ops.AlterColumnOp(op.table_name, op.column_name, **given, **changed)
            found.append((Place.ALTER, rest))
        if op.modify_nullable is not None:
            null = ops.AlterColumnOp(
                op.table_name, op.column_name, **given, modify_nullable=op.modify_nullable
            )
            found += [(Place.ALTER, null)] if op.modify_nullable else self.not_null(null)
        return found

    def not_null(self, op: ops.AlterColumnOp) -> Placed:
        """NOT NULL by way of a CHECK: what that has proved, SET NOT NULL does not read again."""
        key = self.key(op)
        name = conv(
            free_name(self.models.catalogue, key[0], op.table_name, op.column_name, "not_null")
        )
        if self.upgrade:
            self.findings.append(needs_filling(f"{'.'.join(key)}.{op.column_name}"))
        condition = text(f"{PREPARE.quote(op.column_name)} IS NOT NULL")
        check = ops.CreateCheckConstraintOp(
            name, op.table_name, condition, schema=op.schema, postgresql_not_valid=True
        )
        drop = ops.DropConstraintOp(name, op.table_name, "check", schema=op.schema)
        return [
            (Place.NOT_VALID, check),
            (Place.HEAVY, self.validation(key, name)),
            (Place.FINISH, op),
            (Place.FINISH, drop),
        ]

    def refuse(self, key: Key, what: str) -> None:
        """A finding where PostgreSQL knows no way that blocks nobody."""
        if self.upgrade:
            self.findings.append(partitioned(what, ".".join(key)))

    # --- All of them ------------------------------------------------------------------------------

    def ops(self) -> list[Op]:
        """The whole direction."""
        placed = [item for op in self.flat for item in self.place(op)]
        placed.sort(key=lambda item: item[0])
        values = [op for place, op in placed if place == Place.VALUES]
        early = [item for item in placed if Place.VALUES < item[0] < Place.HEAVY]
        heavy = [op for place, op in placed if Place.HEAVY <= place <= Place.RENAME_INDEX]
        late = [item for item in placed if item[0] > Place.RENAME_INDEX]
        if all(isinstance(op, CommentOp) for _, op in placed):
            return [*(op for _, op in placed), *([NothingOp()] if placed else [])]
        found: list[Op] = []
        if values:
            found += [CommentOp("A new value can be used once it is committed.")]
            found.append(AutocommitOp(values))
        if not heavy:
            return found + self.transaction(early + late)
        found += self.transaction(repeatable(early))
        found += [CommentOp(READING + (f" {AGAIN}" if early else ""))]
        found.append(AutocommitOp([*self.settings.lifted, *heavy, *self.settings.restored]))
        return found + self.transaction(late)

    def transaction(self, placed: Placed) -> list[Op]:
        """The operations, behind a limit for locks where they take one on a table in use."""
        found = [op for _, op in placed]
        if self.settings.limit is not None and any(self.locks(place, op) for place, op in placed):
            return [CommentOp(LOCKING), self.settings.limit, *found]
        return found

    def locks(self, place: Place, op: Op) -> bool:
        """Whether somebody else could wait for what *op* locks."""
        if place in {Place.SCHEMA, Place.TYPE, Place.NEW_INDEX, Place.DROP_TYPE, Place.DROP_SCHEMA}:
            return False
        if isinstance(op, ops.CreateTableOp):
            targets = {referred(self.models.catalogue, item) for item in op.columns}
            return bool(targets - self.created - {None})
        return place != Place.NEW_FOREIGN_KEY and not isinstance(op, CommentOp)


def repeatable(placed: Placed) -> Placed:
    """*placed* so that it can run a second time."""
    found: Placed = []
    dropped: set[tuple[Any, ...]] = set()
    for place, op in placed:
        if isinstance(op, (ops.CreateTableOp, ops.AddColumnOp, ops.CreateIndexOp)):
            op.if_not_exists = True
        elif isinstance(op, ops.DropConstraintOp):
            op.if_exists = True
            dropped.add((op.schema, op.table_name, str(op.constraint_name)))
        elif isinstance(op, SqlOp) and op.again is not None:
            op.up = op.again
        elif isinstance(op, (ops.CreateForeignKeyOp, ops.CreateCheckConstraintOp)):
            drop = undone(op)
            if (drop.schema, drop.table_name, str(drop.constraint_name)) not in dropped:
                found.append((place, drop))
        found.append((place, op))
    return found


def undone(op: ops.CreateForeignKeyOp | ops.CreateCheckConstraintOp) -> ops.DropConstraintOp:
    """Drops what an attempt that failed later has left of *op*."""
    if isinstance(op, ops.CreateForeignKeyOp):
        table, schema, kind = op.source_table, op.kw.get("source_schema"), "foreignkey"
    else:
        table, schema, kind = op.table_name, op.schema, "check"
    return ops.DropConstraintOp(op.constraint_name, table, kind, schema=schema, if_exists=True)


def ends(op: ops.CreateForeignKeyOp) -> tuple[Any, ...]:
    """From which columns to which a foreign key leads."""
    return op.local_cols, op.kw.get("referent_schema"), op.referent_table, op.remote_cols


def copied(column: Column[Any]) -> Column[Any]:
    """*column* for ``op.add_column``: without the CHECK of a checked text, which comes later."""
    made = column._copy()
    made.type = without_check(column.type)
    return made


def filled(column: Column[Any]) -> bool:
    """Whether the server fills the column in."""
    return column.server_default is not None  # identities and generated columns among them
