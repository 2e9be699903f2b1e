"""Tests that fail when a query loses its index.

Problem: whoever wraps a column into a function, or drops an index, breaks no test.  Pattern:
explain what a block really executes, with its real parameters, and name the indexes that must be
used.  Ask on many rows, after ANALYZE (``large_desk.py``): on ten rows no plan uses an index.
Copy with ``statements.py`` and ``query_plans.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from ..query_plans import Plan, explain_options, read_plan, sequential_scan
from .statements import Target, engine_of

PLANNED = ("SELECT", "WITH", "UPDATE", "DELETE", "(SELECT")


class Plans(list[Plan]):
    """The plans of what ran, in order."""

    @property
    def indexes(self) -> frozenset[str]:
        """Every index that one of them uses."""
        return frozenset(index for plan in self for index in plan.indexes)

    def sequential_scans(self) -> list[str]:
        """A sentence for each large table that is read from end to end for a few rows."""
        told = (sequential_scan(node) for plan in self for node in plan.nodes)
        return [sentence for sentence in told if sentence]

    def __str__(self) -> str:
        return "\n".join(f"{number:3}. {plan}" for number, plan in enumerate(self, 1)) or "(none)"


@contextmanager
def recorded_plans(target: Target) -> Iterator[Plans]:
    """Collect the plan of each statement that *target* executes in the block.

    The plan is asked for on the same connection, just before the statement: what events and
    options added is in it, and so is what the transaction has written.  Statements of many
    parameter sets, and those that have no plan, are left out.
    """
    source, plans = engine_of(target), Plans()

    def explain_first(
        connection: Connection,
        _cursor: object,
        statement: str,
        parameters: Any,
        _context: object,
        executemany: bool,
    ) -> None:
        if executemany or not statement.lstrip().upper().startswith(PLANNED):
            return
        cursor = connection.connection.cursor()
        try:
            cursor.execute(f"EXPLAIN ({explain_options(analyze=False)}) {statement}", parameters)
            (document,) = cursor.fetchall()[0]
            plans.append(read_plan(document))
        finally:
            cursor.close()

    event.listen(source, "before_cursor_execute", explain_first)
    try:
        yield plans
    finally:
        event.remove(source, "before_cursor_execute", explain_first)


@contextmanager
def assert_indexes(target: Target, *names: str) -> Iterator[Plans]:
    """Fail, showing the plans, unless the block uses every index of *names*.

    It also fails when a large table is read from end to end for a few rows.  Raises
    ``AssertionError``.
    """
    with recorded_plans(target) as plans:
        yield plans
    missing = sorted(set(names) - plans.indexes)
    complaints = [f"{name} is not used" for name in missing] + plans.sequential_scans()
    if complaints:
        raise AssertionError("; ".join(complaints) + f":\n{plans}")


@pytest.fixture
def no_sequential_scans(engine: Engine) -> Iterator[Plans]:
    """Fail a test in which ``engine`` read a large table from end to end for a few rows.

    For a whole module: ``pytestmark = pytest.mark.usefixtures("no_sequential_scans")``.
    """
    with recorded_plans(engine) as plans:
        yield plans
    if scans := plans.sequential_scans():
        pytest.fail("; ".join(scans) + f":\n{plans}", pytrace=False)
