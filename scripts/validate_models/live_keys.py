"""Compares keys, unique constraints, foreign keys and checks with those of a database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Constraint,
    Enum,
    ForeignKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex

from . import live_catalog as catalog
from .core import NO_SQL, option, plain_columns, resolved
from .live_compare import Difference, Pair, compare_values, compiled, dialect, real_type, stored

ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
NOT_VALID_FIRST = "in a migration: NOT VALID first, then VALIDATE CONSTRAINT."
KEY_LACKING = "Rows may refer to what is gone, and a DELETE of the parent does not reach them."
LITERAL = re.compile(r"'((?:[^']|'')*)'")


def name_of(constraint: Constraint) -> str | None:
    """The name that the database gets, convention applied and shortened; None for none."""
    if constraint.name is None:
        return None
    try:
        found = dialect().identifier_preparer.format_constraint(constraint)
    except SQLAlchemyError:
        return None
    return None if found is None else str(found).replace('""', '"').strip('"')


def names(columns: Any) -> list[str]:
    """The columns' names in the database."""
    return [stored(column.name) for column in columns]


def listed(columns: list[str]) -> str:
    """``(a, b)``."""
    return f"({', '.join(columns)})"


def of_kind(pair: Pair, kind: str) -> list[catalog.Constraint]:
    """The database's constraints of one kind."""
    return [item for item in pair.relation.constraints if item.kind == kind]


def column_at(pair: Pair, columns: list[str]) -> Column[Any] | None:
    """The models' first column of *columns*."""
    return next((pair.columns[name] for name in columns if name in pair.columns), None)


def has_all(pair: Pair, columns: list[str]) -> bool:
    """Whether the database has all of *columns*: else their absence is the finding."""
    return all(name in pair.relation.columns for name in columns)


# --- Primary key and unique constraints -----------------------------------------------------------


def compare_primary_key(pair: Pair) -> Iterator[Difference]:
    """Other columns, or the same ones in another order."""
    mine = names(pair.table.primary_key.columns)
    theirs = next((item.columns for item in of_kind(pair, "p")), [])
    if mine == theirs or not has_all(pair, mine):
        return
    severity = "info" if set(mine) == set(theirs) else None
    words = [f"is {listed(columns)}" if columns else "is missing" for columns in (mine, theirs)]
    yield (
        "drift-key",
        pair.at(
            column_at(pair, mine or theirs),
            f"the primary key {words[0]} in the models, {words[1]} in the database",
            severity=severity,
        ),
    )


def compare_unique(pair: Pair) -> Iterator[Difference]:
    """Sets of columns that one side alone keeps unique, by a constraint or by an index."""
    constraints = sorted(
        (item for item in pair.table.constraints if isinstance(item, UniqueConstraint)),
        key=lambda item: names(item.columns),
    )
    kept = [
        set(index.plain)
        for index in pair.relation.indexes
        if index.is_unique and index.plain is not None
    ]
    wanted = [set(names(item.columns)) for item in constraints]
    wanted += [
        set(names(columns))
        for index in pair.table.indexes
        if index.unique and (columns := plain_columns(index)) is not None
    ]
    wanted.append(set(names(pair.table.primary_key.columns)))
    theirs = {frozenset(item.columns): item for item in of_kind(pair, "u")}
    for constraint in constraints:
        own = names(constraint.columns)
        if not has_all(pair, own):
            continue
        if set(own) not in kept:
            message = f"the database does not keep {listed(own)} unique"
            yield "drift-key", pair.at(column_at(pair, own), message, item=name_of(constraint))
        elif frozenset(own) in theirs:
            yield from compare_unique_options(pair, constraint, theirs[frozenset(own)])
    for found in of_kind(pair, "u"):
        if set(found.columns) not in wanted:
            message = f"the models do not know {found.name}: {listed(found.columns)} is unique"
            yield "drift-key", pair.at(column_at(pair, found.columns), message, item=found.name)


def compare_unique_options(
    pair: Pair, constraint: UniqueConstraint, found: catalog.Constraint
) -> Iterator[Difference]:
    """DEFERRABLE, and NULLS NOT DISTINCT."""
    parts = []
    if deferred(constraint) != (found.deferrable, found.deferred):
        parts.append(deferral(constraint, found))
    index = next((each for each in pair.relation.indexes if each.name == found.name), None)
    wanted = bool(option(constraint, "nulls_not_distinct"))
    if index is not None and wanted != index.nulls_not_distinct:
        parts.append(
            "NULLS NOT DISTINCT " + ("in the models alone", "in the database alone")[not wanted]
        )
    if parts:
        first = column_at(pair, found.columns)
        message = f"unique {listed(found.columns)}: {'; '.join(parts)}"
        yield "drift-key", pair.at(first, message, item=found.name)


def deferred(constraint: Constraint) -> tuple[bool, bool]:
    """Whether the models say DEFERRABLE, and INITIALLY DEFERRED."""
    late = str(constraint.initially or "").upper() == "DEFERRED"
    return bool(constraint.deferrable) or late, late


def deferral(constraint: Constraint, found: catalog.Constraint) -> str:
    """What is deferred on each side."""
    words = {
        (False, False): "not deferrable",
        (True, False): "deferrable",
        (True, True): "initially deferred",
    }
    return (
        f"{words[deferred(constraint)]} in the models, "
        f"{words[found.deferrable, found.deferred]} in the database"
    )


# --- Foreign keys ---------------------------------------------------------------------------------


def compare_foreign_keys(pair: Pair) -> Iterator[Difference]:
    """Foreign keys of one side alone, and other actions."""
    theirs = of_kind(pair, "f")
    left = list(theirs)
    for key in sorted(pair.table.foreign_key_constraints, key=lambda key: list(key.column_keys)):
        targets = [resolved(element) for element in key.elements]
        columns = names(element.parent for element in key.elements)
        found = [each for each in theirs if is_same_key(pair, key, columns, targets, each)]
        left = [each for each in left if each not in found]
        if any(target is None for target in targets) or not has_all(pair, columns):
            left = [each for each in left if set(each.columns) != set(columns)]
        elif not found:
            target = key.referred_table
            name = name_of(key)
            named = f" {name}:" if name else ""
            message = f"the database has no foreign key{named} {listed(columns)} to {target.name}"
            more = {"why": KEY_LACKING, "fix": f"ADD CONSTRAINT {NOT_VALID_FIRST}"}
            yield "drift-foreign-key", pair.at(column_at(pair, columns), message, item=name, **more)
        else:
            yield from compare_actions(pair, key, found)
    for each in left:
        name = pair.catalog.by_oid[each.referred].name
        message = (
            f"the models do not know the foreign key {each.name}: {listed(each.columns)} to {name}"
        )
        more = {
            "why": "The database refuses rows that the models allow; its ON DELETE acts unseen.",
            "fix": f"Write the same ForeignKey in the model, or DROP CONSTRAINT {each.name}.",
        }
        first = column_at(pair, each.columns)
        yield "drift-foreign-key", pair.at(first, message, item=each.name, **more)


def is_same_key(
    pair: Pair,
    key: ForeignKeyConstraint,
    columns: list[str],
    targets: list[Column[Any] | None],
    found: catalog.Constraint,
) -> bool:
    """Whether *found* leads from the same columns to the same ones."""
    known = [column for column in targets if column is not None]
    if len(known) != len(targets) or found.referred not in pair.catalog.by_oid:
        return False
    referred: Table = key.referred_table
    relation = pair.catalog.find(referred.schema, stored(referred.name))
    same_table = relation is not None and relation.oid == found.referred
    pairs = set(zip(found.columns, found.targets, strict=True))
    return same_table and pairs == set(zip(columns, names(known), strict=True))


def action(given: str | None) -> str:
    """``SET NULL`` of ``set null (owner_id)``; ``NO ACTION`` where nothing is said."""
    return " ".join((given or "NO ACTION").partition("(")[0].upper().split())


def compare_actions(
    pair: Pair, key: ForeignKeyConstraint, found: list[catalog.Constraint]
) -> Iterator[Difference]:
    """ON DELETE, ON UPDATE and DEFERRABLE of a foreign key; of several, one that agrees will do."""
    told: list[str] = []
    for each in found:
        parts = []
        for word, mine, theirs in (
            ("ON DELETE", action(key.ondelete), ACTIONS[each.on_delete]),
            ("ON UPDATE", action(key.onupdate), ACTIONS[each.on_update]),
        ):
            if mine != theirs:
                parts.append(f"{word} is {mine} in the models, {theirs} in the database")
        if deferred(key) != (each.deferrable, each.deferred):
            parts.append(deferral(key, each))
        if not parts:
            return
        told.append("; ".join(parts))
    first = column_at(pair, found[0].columns)
    yield "drift-foreign-key", pair.at(first, f"{found[0].name}: {told[0]}", item=found[0].name)


# --- Checks ---------------------------------------------------------------------------------------


def compare_checks(pair: Pair) -> Iterator[Difference]:
    """Checks of one side alone, and those that differ.  Matched by name, then by text."""
    checks = sorted(
        (
            (name_of(item) or "", text, item)
            for item in all_constraints(pair.table)
            if isinstance(item, CheckConstraint)
            and is_created(item)
            and (text := compiled(item.sqltext)) is not None
        ),
        key=lambda check: check[:2],
    )
    theirs = {item.name: item for item in of_kind(pair, "c") if item.expression is not None}
    texts = [text for _, text, _ in checks]
    spelt = pair.spelt(*texts, *(str(item.expression) for item in theirs.values()))
    ours = spelt[: len(texts)]
    other = dict(zip(theirs, spelt[len(texts) :], strict=True))
    left = dict(theirs)
    unmatched: list[tuple[str, CheckConstraint, str | None]] = []
    for (name, _, item), mine in zip(checks, ours, strict=True):
        found = left.pop(name, None)
        if found is None:
            unmatched.append((name, item, mine))
        elif mine is None or other[name] is None:
            if typed(item) is None or not enum_values(item):
                note_check(pair, item, name)
            else:
                yield from compare_check(pair, item, found, "", "-")
        else:
            yield from compare_check(pair, item, found, mine, str(other[name]))
    for name, item, mine in unmatched:
        same = next((each for each in left if mine is not None and other[each] == mine), None)
        if same is not None:
            left.pop(same)
            continue
        if mine is None and not has_all(pair, check_columns(item)):
            continue
        what = f"the check {name}" if name else f"the check {compiled(item.sqltext)}"
        yield (
            "drift-check",
            pair.at(
                typed(item),
                f"the database lacks {what}",
                item=check_item(item),
                fix=f"ADD CONSTRAINT {NOT_VALID_FIRST}",
            ),
        )
    for each in left.values():
        message = f"the models do not know the check {each.name}: {each.expression}"
        more = {
            "why": "The database refuses rows that the models allow.",
            "fix": f"Write the same CheckConstraint in the model, or DROP CONSTRAINT {each.name}.",
        }
        yield "drift-check", pair.at(column_at(pair, each.columns), message, item=each.name, **more)


def all_constraints(table: Table) -> set[Constraint]:
    """Those of the table, and those that stand within a column."""
    return {*table.constraints, *(item for column in table.columns for item in column.constraints)}


def is_created(item: CheckConstraint) -> bool:
    """Whether PostgreSQL gets the check: a Boolean's is for databases without that type."""
    rule = getattr(item, "_create_rule", None)
    compiler = dialect().ddl_compiler(dialect(), None)  # type: ignore[arg-type]
    return rule is None or bool(rule(compiler))


def check_item(item: CheckConstraint) -> str:
    """What marks a check in the source: its SQL, since a convention has changed its name."""
    return str(getattr(item.sqltext, "text", None) or name_of(item) or compiled(item.sqltext))


def note_check(pair: Pair, item: CheckConstraint, name: str) -> None:
    """Say that a check could not be compared, unless a missing column is the reason."""
    if has_all(pair, check_columns(item)):
        pair.unproved(f"the check {name}")


def check_columns(item: CheckConstraint) -> list[str]:
    """The columns that a check speaks of, as far as its SQL tells; those of its words else."""
    found = names(item.columns)
    if found or item.table is None:
        return found
    words = set(re.findall(r"\w+", str(item.sqltext)))
    return [stored(column.name) for column in item.table.columns if column.name in words]


def typed(item: CheckConstraint) -> Column[Any] | None:
    """The column whose type brought the check; None where somebody wrote it."""
    if not getattr(item, "_type_bound", False):
        return None
    return next(iter(item.columns), None)


def enum_values(item: CheckConstraint) -> list[str]:
    """The values that an Enum's own check allows."""
    column = typed(item)
    kind = real_type(column) if column is not None else None
    return list(kind.enums) if isinstance(kind, Enum) else []


def compare_check(
    pair: Pair, item: CheckConstraint, found: catalog.Constraint, mine: str, theirs: str
) -> Iterator[Difference]:
    """Two checks of one name: of an Enum its values, of any other the expression."""
    if mine == theirs:
        return
    column, values = typed(item), enum_values(item)
    if column is not None and values:
        allowed = [text.replace("''", "'") for text in LITERAL.findall(str(found.expression))]
        yield from compare_values(pair, column, values, allowed, f"check {found.name}")
        return
    yield (
        "drift-check",
        pair.at(
            column,
            f"the check {found.name} is {compiled(item.sqltext)} in the models, "
            f"{found.expression} in the database",
            item=check_item(item),
        ),
    )


# --- Indexes: what CREATE INDEX says, in parts ----------------------------------------------------

KEY_TAIL = re.compile(
    r"^(?P<key>.*?)(?:\s+(?P<ops>\w+_ops)(?:\s*\([^()]*\))?)?(?:\s+(?P<order>ASC|DESC))?"
    r"(?:\s+NULLS\s+(?P<nulls>FIRST|LAST))?$",
    re.IGNORECASE | re.DOTALL,
)


def index_name(index: Any) -> str | None:
    """The name of an index that the database gets; None where it has none."""
    if index.name is None:
        return None
    try:
        found = dialect().identifier_preparer.format_index(index)
    except SQLAlchemyError:
        return None
    return None if found is None else str(found).replace('""', '"').strip('"')


def index_keys(index: Any) -> list[tuple[str, str, int]] | None:
    """Expression, operator class and order of each key; None where it has no SQL."""
    ops = option(index, "ops") or {}
    made = []
    for expression in index.expressions:
        text = compiled(expression)
        if text is None:
            return None
        match = KEY_TAIL.match(text.strip())
        assert match is not None  # every part of it may be empty
        descending = (match["order"] or "").upper() == "DESC"
        first = (match["nulls"] or ("FIRST" if descending else "LAST")).upper() == "FIRST"
        key = getattr(expression, "key", None)
        name = str(ops[key]) if key in ops else (match["ops"] or "")
        name = name.partition("(")[0].strip().rpartition(".")[2]
        made.append((match["key"], name.lower(), descending + 2 * first))
    return made


def has_sql(index: Any) -> bool:
    """Whether CREATE INDEX can be written at all."""
    try:
        CreateIndex(index).compile(dialect=dialect())
    except NO_SQL:
        return False
    return True
