"""What the rules on a live database share: the comparison has found it, the rule tells of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..core import Hit, Project


def found_live(name: str) -> Callable[[Project], Iterator[Hit]]:
    """A check that gives what the look at the database brought for the rule *name*."""

    def check(project: Project) -> Iterator[Hit]:
        if project.live is not None:
            yield from project.live.hits.get(name, ())

    return check
