"""Compares the exclusion constraints of the models with those of a database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Table

from . import live_catalog as catalog
from .core import NO_SQL
from .live_compare import Difference, Pair, compiled, dialect
from .live_indexes import database_texts
from .live_keys import column_at, deferred, has_all, name_of, names, of_kind

SIGN = re.compile(r"[-+*/<>=~!@#%^&|`?]+")  # OPERATOR(pg_catalog.=) means = as well


# Method, expressions with operators in any order, WHERE, DEFERRABLE.
Shape = tuple[str, frozenset[tuple[str | None, str]], tuple[str | None, ...], tuple[bool, bool]]


def exclusions(table: Table) -> list[Any]:
    """The exclusion constraints of *table* in a fixed order: SQLAlchemy keeps them in a set."""
    from sqlalchemy.dialects.postgresql import ExcludeConstraint

    found = (item for item in table.constraints if isinstance(item, ExcludeConstraint))
    return sorted(found, key=lambda item: (name_of(item) or "", definition(item)))


def definition(constraint: Any) -> str:
    """``EXCLUDE USING gist (…)`` as CREATE TABLE has it; empty where it has no SQL."""
    compiler = dialect().ddl_compiler(dialect(), None)  # type: ignore[arg-type]
    try:
        text = str(compiler.process(constraint))
    except NO_SQL:
        return ""
    return text[text.find("EXCLUDE ") :]


def shape(
    pair: Pair, method: str, texts: list[str], operators: list[str], when: tuple[bool, bool]
) -> Shape | None:
    """In PostgreSQL's spelling *texts*: an expression for each operator, then WHERE; else None."""
    spelt = pair.spelt(*texts)
    if None in spelt:
        return None
    elements = frozenset(zip(spelt, operators, strict=False))
    return method, elements, tuple(spelt[len(operators) :]), when


def model_shape(pair: Pair, constraint: Any) -> Shape | None:
    """That of a constraint of the models; None where PostgreSQL cannot read it."""
    parts = [compiled(expression) for expression, _, _ in constraint._render_exprs]
    parts += [] if constraint.where is None else [compiled(constraint.where)]
    signs = [SIGN.search(operator) for _, _, operator in constraint._render_exprs]
    texts = [text for text in parts if text is not None]
    operators = [sign[0] for sign in signs if sign is not None]
    if len(texts) < len(parts) or len(operators) < len(signs):
        return None
    return shape(pair, str(constraint.using).lower(), texts, operators, deferred(constraint))


def database_shape(pair: Pair, found: catalog.Constraint) -> Shape | None:
    """That of a constraint of the database, whose index has the same name."""
    index = next((each for each in pair.relation.indexes if each.name == found.name), None)
    if index is None:
        return None
    when = (found.deferrable, found.deferred)
    return shape(pair, index.method, database_texts(index), found.operators, when)


def compare_exclusions(pair: Pair) -> Iterator[Difference]:
    """Exclusions of one side alone, and those that differ.  Matched by what they say, then by name.

    Operator classes are not compared.
    """
    every = exclusions(pair.table)
    # Of one whose column is missing, that is the finding.
    wanted = [item for item in every if has_all(pair, names(item.columns))]
    passed = {name_of(item) for item in every if item not in wanted}
    ours = [model_shape(pair, item) for item in wanted]
    found = {item.name: item for item in of_kind(pair, "x") if item.name not in passed}
    theirs = {name: database_shape(pair, item) for name, item in found.items()}
    if None in ours or None in theirs.values():
        pair.unproved("the exclusion constraints")
        return
    left: list[Any] = []
    for item, mine in zip(wanted, ours, strict=True):
        same = next((name for name in found if theirs[name] == mine), None)
        if same is None:
            left.append(item)
        else:
            del found[same]
    for item in left:
        yield from compare_unmatched(pair, item, found)
    for other in found.values():
        fix = f"Write the same ExcludeConstraint in the model, or DROP CONSTRAINT {other.name}."
        message = f"the models do not know {other.name}: {other.definition}"
        first = column_at(pair, other.columns)
        yield "drift-key", pair.at(first, message, item=other.name, fix=fix)


def compare_unmatched(
    pair: Pair, item: Any, found: dict[str, catalog.Constraint]
) -> Iterator[Difference]:
    """An exclusion of the models that the database has otherwise, or not at all."""
    name, said = name_of(item), definition(item)
    other = found.pop(name, None) if name else None
    if other is not None:
        message = f"{name} is {said} in the models, {other.definition} in the database"
    elif "btree_gist" in pair.lacking:
        return  # the missing extension is the finding
    else:
        message = f"the database lacks {name or 'the constraint'}: {said}"
    yield "drift-key", pair.at(column_at(pair, names(item.columns)), message, item=name)
