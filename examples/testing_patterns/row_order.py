"""Find the code that leans on an order nobody asked for.

Problem: without ORDER BY, and among rows that tie in it, PostgreSQL returns rows as it finds them:
in the order of insertion in every test, until a page is reused, a plan changes, a scan goes
parallel.  Pattern: run the suite once with those rows shuffled (``pytest --shuffle-rows``), and
mend what fails.  Not for tests that read the text or the plan of a statement: it gets a longer
ORDER BY.  Copy with ``statements.py``: they need SQLAlchemy alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, event, func, inspect

from .statements import Target, engine_of

# What is to be done when a statement is compiled: in SQLAlchemy 2.1, and in 2.0.
ORDERED_LATE = ("_compile_state_funcs", "_with_context_options")


def shuffled(statement: Select[Any], seed: int) -> Select[Any]:
    """*statement* with one more, last, key in its ORDER BY.

    The same *seed* makes of the same rows the same order, so that a failure can be had again.  A
    query of entities is shuffled by the places of their primary keys: the rows of one parent stay
    together, and a joined collection keeps its own order.  Rows that are locked are shuffled by
    chance, for PostgreSQL numbers none of them.  DISTINCT may order by what it selects only, and
    stays as it is; so does what a loader of a relationship orders when it is compiled.
    """
    late = (getattr(statement, name, ()) for name in ORDERED_LATE)
    if statement._distinct or statement._distinct_on or any(late):
        return statement
    first = statement.column_descriptions[0] if statement.column_descriptions else {}
    entity = first.get("entity")
    of_entities = entity is not None and first["expr"] is entity and not statement._group_by_clauses
    locked = statement._for_update_arg is not None
    if not of_entities:
        by_chance = func.random() if locked else _hashed(func.row_number().over(), seed)
        return statement.order_by(by_chance)
    mapper = inspect(entity).mapper
    keys = [
        getattr(entity, mapper.get_property_by_column(column).key) for column in mapper.primary_key
    ]
    if locked:
        return statement.order_by(func.hashtextextended(func.concat_ws("/", *keys), seed))
    return statement.order_by(_hashed(func.dense_rank().over(order_by=keys), seed))


def _hashed(place: ColumnElement[int], seed: int) -> ColumnElement[int]:
    return func.hashint8extended(place, seed)


@contextmanager
def shuffled_rows(target: Target | type[Engine], seed: int | None = None) -> Iterator[int]:
    """Shuffle what SELECTs of *target* return in the block, as far as no ORDER BY forbids it.

    Yields the seed, to be told and to be given again.  ``Engine``, the class, means every engine,
    but for those whose execution options say ``shuffle_rows=False``: a plan is read there.
    Textual SQL, UNIONs and RETURNING are left alone.
    """
    seed = random.randrange(2**31) if seed is None else seed  # noqa: S311 - no secret
    source = target if isinstance(target, type) else engine_of(target)

    def shuffle(
        _connection: Connection, clause: Any, multiparams: Any, params: Any, options: Any
    ) -> tuple[Any, Any, Any]:
        if isinstance(clause, Select) and options.get("shuffle_rows", True):
            clause = shuffled(clause, seed)
        return clause, multiparams, params

    event.listen(source, "before_execute", shuffle, retval=True)
    try:
        yield seed
    finally:
        event.remove(source, "before_execute", shuffle)
