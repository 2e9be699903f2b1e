"""Operations of our own, for what Alembic's have no word for, and how a revision shows them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import render_op_text
from alembic.operations import ops
from sqlalchemy.dialects import postgresql

from .catalogue import EnumUser, Key

PREPARE = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]


class Place(IntEnum):
    """Where in a revision an operation stands; see ``arrange``."""

    VALUES = 0  # in a block of its own, before all else: values are used only once committed
    SCHEMA = 10
    TYPE = 11
    REBUILD = 12
    DROP_FOREIGN_KEY = 13  # before the unique constraint that it leans on
    DROP_CONSTRAINT = 14
    CREATE_TABLE = 15
    NEW_INDEX = 16
    NEW_FOREIGN_KEY = 17
    ADD_COLUMN = 18
    ALTER_TYPE = 19  # before defaults: neither direction may meet a default of the other type
    ALTER = 20
    NOT_VALID = 21
    HEAVY = 25  # outside a transaction
    DROP_INDEX = 26  # the same, once what takes its place is built
    RENAME_INDEX = 27  # the same
    LATE_DROP_FOREIGN_KEY = 28  # with what takes its place
    LATE_DROP_CONSTRAINT = 29  # the same
    FINISH = 30
    LATE_FOREIGN_KEY = 31
    DROP_COLUMN = 32
    DROP_TABLE = 33
    REBUILD_BACK = 34
    DROP_TYPE = 35
    DROP_SCHEMA = 36


def name_of(key: Key, default_schema: str) -> str:
    """*key* as SQL: with its schema where that is not the default one."""
    schema, name = key
    quoted = str(PREPARE.quote(name))
    return quoted if schema == default_schema else f"{PREPARE.quote(schema)}.{quoted}"


def literal(value: str) -> str:
    """*value* as a string of SQL."""
    escaped = value.replace("'", "''")
    return f"'{escaped}'" if "\\" not in value else "E'" + escaped.replace("\\", "\\\\") + "'"


def executed(sql: str) -> str:
    """*sql* as ``op.execute`` must get it: to ``text()``, a ``:word`` is a parameter."""
    return re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", sql)


class SqlOp(ops.MigrateOperation):
    """SQL with the SQL that takes it back; in a revision, ``op.execute``."""

    def __init__(
        self,
        up: Sequence[str],
        down: Sequence[str] = (),
        *,
        rank: Place,
        back: Place,
        table: Key | None = None,
        says: str = "",
        again: Sequence[str] | None = None,
    ) -> None:
        """*rank* and *back* are the places of the two in a revision: see ``arrange``.

        *again* is *up* for a revision that may have failed half-way; *table* is what it locks.
        """
        self.up, self.down = tuple(up), tuple(down)
        self.rank, self.back = rank, back
        self.table, self.says = table, says
        self.again = tuple(again) if again is not None else None

    def reverse(self) -> SqlOp:
        """The way back; it may be empty."""
        return SqlOp(
            self.down, self.up, rank=self.back, back=self.rank, table=self.table, says=self.says
        )

    def to_diff_tuple(self) -> tuple[str, str]:
        """What ``alembic check`` prints."""
        return ("execute", self.says or "; ".join(self.up))


@renderers.dispatch_for(SqlOp)
def render_sql(autogen_context: AutogenContext, op: SqlOp) -> list[str]:
    """One ``op.execute`` a statement."""
    prefix = autogen_context.opts["alembic_module_prefix"] or ""
    return [f"{prefix}execute({executed(sql)!r})" for sql in op.up]


@dataclass
class ChangeEnumOp(ops.MigrateOperation):
    """Give a native enumeration other labels."""

    key: Key
    before: tuple[str, ...]
    after: tuple[str, ...]
    users: list[EnumUser]
    default_schema: str
    leaning: list[tuple[str, str]] = field(default_factory=list)
    defaults: dict[tuple[Key, str], str | None] = field(default_factory=dict)
    upgrade: bool = True

    def reverse(self) -> ChangeEnumOp:
        """The labels as they were."""
        return replace(self, before=self.after, after=self.before, upgrade=not self.upgrade)

    def to_diff_tuple(self) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
        """What ``alembic check`` prints."""
        return ("modify_enum", ".".join(self.key), self.before, self.after)

    @property
    def adds_only(self) -> bool:
        """Whether ALTER TYPE … ADD VALUE is enough."""
        return set(self.before) <= set(self.after) and not self.defaults

    @property
    def name(self) -> str:
        """The type, as SQL."""
        return name_of(self.key, self.default_schema)

    def statements(self) -> list[str]:
        """The SQL: values added, or the type made anew, for there is no DROP VALUE."""
        return self._added() if self.adds_only else self._rebuilt()

    def _added(self) -> list[str]:
        name, standing, found = self.name, list(self.before), list[str]()
        for label in self.after:
            if label in standing:
                continue
            place = ""
            position = self.after.index(label)
            earlier = self.after[position - 1] if position else None
            if earlier is None and standing:
                place = f" BEFORE {literal(standing[0])}"
            elif earlier is not None and earlier != standing[-1]:
                place = f" AFTER {literal(earlier)}"
            found.append(f"ALTER TYPE {name} ADD VALUE IF NOT EXISTS {literal(label)}{place}")
            standing.insert(standing.index(earlier) + 1 if earlier is not None else 0, label)
        return found

    def _rebuilt(self) -> list[str]:
        name = self.name
        old = (self.key[0], f"{self.key[1][:55]}_old")
        labels = ", ".join(map(literal, self.after))
        # PostgreSQL keeps their values of the old type, and compares them with the new one.
        found = [drop for drop, _ in self.leaning]
        found += [
            f"ALTER TYPE {name} RENAME TO {PREPARE.quote(old[1])}",
            f"CREATE TYPE {name} AS ENUM ({labels})",
        ]
        for user in self.users:
            column, array = PREPARE.quote(user.column), "[]" if user.array else ""
            kept = user.default
            if self.upgrade:
                kept = self.defaults.get((user.table, user.column), kept)
            actions = [f"TYPE {name}{array} USING {column}::text{array}::{name}{array}"]
            if user.default is not None:
                actions.insert(0, "DROP DEFAULT")
            if kept is not None:
                actions.append(f"SET DEFAULT {kept}")
            words = ", ".join(f"ALTER COLUMN {column} {action}" for action in actions)
            found.append(f"ALTER TABLE {name_of(user.table, self.default_schema)} {words}")
        found += [create for _, create in self.leaning]
        return [*found, f"DROP TYPE {name_of(old, self.default_schema)}"]


@renderers.dispatch_for(ChangeEnumOp)
def render_enum(autogen_context: AutogenContext, op: ChangeEnumOp) -> list[str]:
    """One ``op.execute`` a statement."""
    prefix = autogen_context.opts["alembic_module_prefix"] or ""
    return [f"{prefix}execute({executed(sql)!r})" for sql in op.statements()]


class UsingOp(ops.AlterColumnOp):
    """A change of type with the USING that PostgreSQL asks for."""

    using = ""

    @classmethod
    def of(cls, op: ops.AlterColumnOp, using: str) -> UsingOp:
        """*op* with *using*."""
        made = cls(
            op.table_name,
            op.column_name,
            schema=op.schema,
            existing_type=op.existing_type,
            existing_nullable=op.existing_nullable,
            modify_type=op.modify_type,
        )
        made.using = using
        return made


@renderers.dispatch_for(UsingOp)
def render_using(autogen_context: AutogenContext, op: UsingOp) -> str:
    """Alembic's own words, and one argument more."""
    plain = ops.AlterColumnOp(
        op.table_name,
        op.column_name,
        schema=op.schema,
        existing_type=op.existing_type,
        existing_nullable=op.existing_nullable,
        modify_type=op.modify_type,
    )
    shown = render_op_text(autogen_context, plain)
    return f"{shown.removesuffix(')')},\n{' ' * 11}postgresql_using={op.using!r})"


class CommentOp(ops.MigrateOperation):
    """A comment in the revision."""

    def __init__(self, words: str) -> None:
        self.words = words

    def to_diff_tuple(self) -> tuple[str, str]:
        """What ``alembic check`` prints."""
        return ("comment", self.words)


@renderers.dispatch_for(CommentOp)
def render_comment(autogen_context: AutogenContext, op: CommentOp) -> list[str]:
    """Lines of a readable length."""
    del autogen_context
    return [f"# {line}" for line in textwrap.wrap(op.words, 80)]


class NothingOp(ops.MigrateOperation):
    """Nothing, where comments alone would be no function."""

    def to_diff_tuple(self) -> tuple[str]:
        """What ``alembic check`` prints."""
        return ("nothing",)


@renderers.dispatch_for(NothingOp)
def render_nothing(autogen_context: AutogenContext, op: NothingOp) -> str:
    """As Alembic has it in an empty function."""
    del autogen_context, op
    return "pass"


class AutocommitOp(ops.OpContainer):
    """What must run outside a transaction."""


@renderers.dispatch_for(AutocommitOp)
def render_autocommit(autogen_context: AutogenContext, op: AutocommitOp) -> str:
    """A ``with`` block, as one text: Alembic's printer counts only lines that it is given."""
    prefix = autogen_context.opts["alembic_module_prefix"] or ""
    shown = "\n".join(render_op_text(autogen_context, item) for item in op.ops)
    return f"with {prefix}get_context().autocommit_block():\n{textwrap.indent(shown, '    ')}"
