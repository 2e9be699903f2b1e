"""Which tests a further run leaves out: what it would only repeat.

Left out, not skipped: a skip would say that something was not proved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

DRIVERS = {"psycopg", "psycopg2", "asyncpg"}
# Whoever speaks to the run's server asks for it, directly or by way of another fixture.
SERVER = "postgres_url"


def driver_of(value: object) -> str | None:
    """The driver that a parameter names (``psycopg async`` is psycopg), else ``None``."""
    name = value.partition(" ")[0] if isinstance(value, str) else None
    return name if name in DRIVERS else None


def parameters(item: pytest.Item) -> dict[str, Any]:
    """What *item* was parametrized with."""
    callspec = getattr(item, "callspec", None)
    return dict(callspec.params) if callspec else {}


def beside(item: pytest.Item, name: str) -> tuple[object, ...]:
    """What *item* shares with those that differ from it in the parameter *name* alone."""
    others = sorted((key, repr(value)) for key, value in parameters(item).items() if key != name)
    return (item.nodeid.partition("[")[0], name, *others)


def of_other_drivers(items: Sequence[pytest.Item], wanted: Sequence[str]) -> list[pytest.Item]:
    """Those of *items* whose like runs with a driver that is *wanted*.

    No test is lost: what knows none of the wanted drivers runs with those that it knows.
    """
    drivers = [
        (item, name, driver)
        for item in items
        for name, value in parameters(item).items()
        if (driver := driver_of(value))
    ]
    served = {beside(item, name) for item, name, driver in drivers if driver in wanted}
    return [
        item
        for item, name, driver in drivers
        if driver not in wanted and beside(item, name) in served
    ]


def without_server(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Those of *items* that ask neither for the run's server nor for a container."""
    return [
        item
        for item in items
        if SERVER not in getattr(item, "fixturenames", ())
        and item.get_closest_marker("container") is None
    ]
