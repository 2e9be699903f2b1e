"""What a recipe is made of: steps, each of them one Alembic revision."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Step(NamedTuple):
    """The body of one revision, and what goes on around it.

    A function of a recipe uses ``op``, ``sa`` and what its module imports, and no other name of its
    module: it can be copied into a revision as it stands.
    """

    upgrade: Callable[[], None]
    downgrade: Callable[[], None] | None = None
    """The way back; without one there is nothing to take back."""
    code: tuple[str, ...] = ()
    """What the deployed code does while this step runs; the next step may name other code, which is
    deployed between the two, and then both run at once."""
    verify: str = ""
    """A query that finds no row once the step is done: run it before the next one."""
    one_way: bool = False
    """No way back: what the step takes away is gone."""
