"""Compares the indexes of the models with those of a database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Column, Index, UniqueConstraint

from . import live_catalog as catalog
from .core import option, plain_columns
from .live_compare import Difference, Pair, compiled
from .live_keys import has_sql, index_keys, index_name, listed, names
from .live_normal import quoted

UNKNOWN = "Every write keeps it up, and a generated migration drops it."
UNKNOWN_UNIQUE = "It refuses rows that the models allow, and a generated migration drops it."


@dataclass(frozen=True)
class Shape:
    """An index without its name, in PostgreSQL's spelling."""

    method: str
    is_unique: bool
    nulls_not_distinct: bool
    keys: tuple[str, ...]
    classes: tuple[str, ...]
    options: tuple[int, ...]
    included: tuple[str, ...]
    predicate: str

    def differences(self, other: Shape) -> list[str]:
        """What of *other*, the database's, is not the same."""
        words = {
            "method": "the method",
            "is_unique": "UNIQUE",
            "nulls_not_distinct": "NULLS NOT DISTINCT",
            "keys": "the keys",
            "classes": "the operator classes",
            "options": "the order",
            "included": "INCLUDE",
            "predicate": "WHERE",
        }
        return [
            f"{word}: {shown(getattr(self, name))} in the models, "
            f"{shown(getattr(other, name))} in the database"
            for name, word in words.items()
            if getattr(self, name) != getattr(other, name)
        ]


def shown(value: Any) -> str:
    """A part of a shape, for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        orders = {0: "ASC", 1: "DESC NULLS LAST", 2: "ASC NULLS FIRST", 3: "DESC"}
        return listed(
            [
                orders.get(item, str(item)) if isinstance(item, int) else item or "default"
                for item in value
            ]
        )
    return str(value) or "none"


def model_texts(index: Index) -> list[str]:
    """What PostgreSQL is to spell of an index of the models: its keys, then WHERE."""
    where = option(index, "where")
    texts = [text for text, _, _ in index_keys(index) or ()]
    return texts if where is None else [*texts, compiled_where(where) or ""]


def model_shape(pair: Pair, index: Index) -> Shape | None:
    """The shape of an index of the models; None where PostgreSQL cannot read it."""
    parts = index_keys(index)
    if parts is None or not has_sql(index):
        return None
    spelt = pair.spelt(*model_texts(index))
    if None in spelt:
        return None
    method = str(option(index, "using") or "btree").lower()
    included = option(index, "include") or ()
    return Shape(
        method,
        bool(index.unique),
        bool(option(index, "nulls_not_distinct")),
        tuple(str(text) for text in spelt[: len(parts)]),
        tuple(name for _, name, _ in parts),
        # Only a B-tree has an order.
        tuple(number if method == "btree" else 0 for _, _, number in parts),
        tuple(str(getattr(item, "name", item)) for item in included),
        " ".join(map(str, spelt[len(parts) :])),
    )


def compiled_where(where: Any) -> str | None:
    """The predicate as SQL."""
    return where if isinstance(where, str) else compiled(where)


def database_texts(index: catalog.Index) -> list[str]:
    """The same of an index of the database."""
    keys = [
        f"{key} COLLATE {quoted(collation)}" if collation and column else key
        for key, collation, column in zip(
            index.keys, index.collations, index.columns[: len(index.keys)], strict=True
        )
    ]
    return [*keys, index.predicate] if index.predicate else keys


def database_shape(pair: Pair, index: catalog.Index) -> Shape | None:
    """The shape of an index of the database."""
    spelt = pair.spelt(*database_texts(index))
    if None in spelt:
        return None
    return Shape(
        index.method,
        index.is_unique,
        index.nulls_not_distinct,
        tuple(str(text) for text in spelt[: len(index.keys)]),
        tuple(index.classes),
        tuple(index.options),
        tuple(str(name) for name in index.included),
        " ".join(map(str, spelt[len(index.keys) :])),
    )


def fitted(shape: Shape | None, found: catalog.Index) -> Shape | None:
    """*shape* of the models as *found* has it: a type's default class, spelt out, is none."""
    if shape is None or len(shape.classes) != len(found.classes):
        return shape
    classes = (
        other if mine == full else mine
        for mine, other, full in zip(shape.classes, found.classes, found.class_names, strict=True)
    )
    return replace(shape, classes=tuple(classes))


def needed_columns(pair: Pair, index: Index) -> list[str]:
    """The columns that an index speaks of by themselves."""
    return names(item for item in index.columns if item.table is pair.table)


def compare_indexes(pair: Pair) -> Iterator[Difference]:
    """Indexes of one side alone, and those of one name that are not the same."""
    mine = sorted(pair.table.indexes, key=lambda index: (str(index_name(index)), str(index.name)))
    left = {index.name: index for index in pair.relation.indexes if index.constraint_kind is None}
    # All in one question; the shapes find the answers there.
    texts = [text for index in mine for text in model_texts(index)]
    pair.spelt(*texts, *(text for index in left.values() for text in database_texts(index)))
    unmatched: list[tuple[Index, str | None]] = []
    for index in mine:
        name = index_name(index)
        found = left.pop(name, None) if name else None
        if found is None:
            unmatched.append((index, name))
            continue
        ours, theirs = fitted(model_shape(pair, index), found), database_shape(pair, found)
        if ours is None or theirs is None:
            if all(column in pair.relation.columns for column in needed_columns(pair, index)):
                pair.unproved(f"the index {name}")
        elif parts := ours.differences(theirs):
            yield "drift-index", at(pair, index, name, f"{name}: {'; '.join(parts)}")
    for index, name in unmatched:
        yield from compare_unmatched(pair, index, name, left)
    for found in left.values():
        if not covers_unique(pair, found):
            first = next((pair.columns[c] for c in found.columns if c in pair.columns), None)
            message = f"the models do not know the index {found.name}"
            severity = None if found.is_unique else "info"
            yield (
                "drift-index",
                pair.at(
                    first,
                    message,
                    item=found.name,
                    severity=severity,
                    why=UNKNOWN_UNIQUE if found.is_unique else UNKNOWN,
                    fix=f"Write that Index in the model, or DROP INDEX CONCURRENTLY {found.name}.",
                ),
            )


def compare_unmatched(
    pair: Pair, index: Index, name: str | None, left: dict[str, catalog.Index]
) -> Iterator[Difference]:
    """An index whose name the database does not have: another name, or none at all."""
    if not all(column in pair.relation.columns for column in needed_columns(pair, index)):
        return
    ours = model_shape(pair, index)
    for other, found in left.items():
        if ours is not None and database_shape(pair, found) == fitted(ours, found):
            del left[other]
            if name is not None:
                message = f"{name} has another name in the database: {other}"
                fix = f"ALTER INDEX {other} RENAME TO {name}, or the database's name in the model."
                why = "Queries do not mind; a migration that speaks of it by name fails."
                yield (
                    "drift-index",
                    at(pair, index, name, message, severity="info", why=why, fix=fix),
                )
            return
    plain = plain_columns(index)
    if index.unique and plain is not None:
        constraint = next(
            (each for each in pair.relation.constraints if each.kind in "pu"
             and set(each.columns) == set(names(plain))), None
        )  # fmt: skip
        if constraint is not None:
            return
    if not any(word in pair.lacking for word in classes_of(index)):
        yield (
            "drift-index",
            at(pair, index, name, f"the database has no index {name or index.name}"),
        )


def classes_of(index: Index) -> set[str]:
    """The operator classes that an index names."""
    return {ops for _, ops, _ in index_keys(index) or () if ops}


def covers_unique(pair: Pair, found: catalog.Index) -> bool:
    """Whether a unique index stands for a unique constraint of the models."""
    return (
        found.is_unique
        and found.plain is not None
        and any(
            isinstance(item, UniqueConstraint) and set(names(item.columns)) == set(found.plain)
            for item in pair.table.constraints
        )
    )


def at(pair: Pair, index: Index, name: str | None, message: str, **more: Any) -> Any:
    """A hit at an index: where it is named, else at its first column."""
    column = next((item for item in index.expressions if isinstance(item, Column)), None)
    given = str(index.name) if index.name else name
    return pair.at(column, message, item=given, **more)
