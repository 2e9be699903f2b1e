"""The suite runs on the plugin that users copy."""

from __future__ import annotations

import pytest

pytest_plugins = [
    "examples.testing_patterns.plugin",
    "examples.testing_patterns.no_skips",
    "pytester",
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a container engine unless a container serves this run."""
    # Imported late: pytest rewrites the plugin's asserts, and must be the first to import it.
    from examples.testing_patterns.plugin import FACTS

    facts = config.stash.get(FACTS, None)
    if facts and facts["provider"] == "container":
        return
    left_out = [item for item in items if item.get_closest_marker("container")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
