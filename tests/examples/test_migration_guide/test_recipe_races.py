"""What a user commits between the look of a batch and its write stays, and the rest is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from alembic import command
from alembic.config import Config

from examples.migration_guide.recipes import enum_checked, enum_native, partition_table
from tests.examples.test_migration_guide.desk import execute
from tests.examples.test_migration_guide.recipes import (
    SMALL,
    fill,
    found_by,
    project_config,
)
from tests.examples.test_migration_guide.watching import while_open


class Race(NamedTuple):
    """A step that works in batches, and somebody who is at the rows of its first one."""

    module: ModuleType
    before: str
    """The revision at which it begins."""
    move: Callable[[Config, str], None]
    target: str
    prepare: str
    meanwhile: str
    left: str
    """How many rows have which value in the end."""
    found: list[tuple[object, ...]]


RACES = {
    "move of enum_checked": Race(
        enum_checked,
        "2",
        command.upgrade,
        "3",
        "UPDATE tickets SET status = 'spam'",
        "UPDATE tickets SET status = 'open' WHERE id <= 1000",
        "SELECT status, count(*), min(id) FROM tickets GROUP BY status ORDER BY status",
        [("closed", SMALL - 1000, 1001), ("open", 1000, 1)],
    ),
    "widen_down of enum_checked": Race(
        enum_checked,
        "1",
        command.downgrade,
        "base",
        "UPDATE tickets SET status = 'waiting'",
        "UPDATE tickets SET status = 'resolved' WHERE id <= 1000",
        "SELECT status, count(*), min(id) FROM tickets GROUP BY status ORDER BY status",
        [("open", SMALL - 1000, 1001), ("resolved", 1000, 1)],
    ),
    "move of enum_native": Race(
        enum_native,
        "1",
        command.upgrade,
        "2",
        "UPDATE tickets SET priority = 'urgent'",
        "UPDATE tickets SET priority = 'low' WHERE id <= 1000",
        "SELECT priority::text, count(*), min(id) FROM tickets GROUP BY 1 ORDER BY 1",
        [("critical", SMALL - 1000, 1001), ("low", 1000, 1)],
    ),
    "let_go of partition_table": Race(
        partition_table,
        "8",
        command.upgrade,
        "9",
        "CLUSTER message_reads USING message_reads_pkey",
        "DELETE FROM message_reads WHERE message_id <= 1000",
        "SELECT count(*) FROM message_reads",
        [(0,)],
    ),
}


@pytest.mark.parametrize("name", RACES)
def test_a_batch_leaves_what_was_changed_meanwhile(clone: str, tmp_path: Path, name: str) -> None:
    """The first thousand: a batch of which nothing is left must not be the last one either."""
    race = RACES[name]
    fill(clone, getattr(race.module, "SETUP", ()), SMALL)
    config = project_config(clone, tmp_path, *race.module.STEPS)
    command.upgrade(config, race.before)
    execute(clone, race.prepare)
    while_open(clone, race.meanwhile, lambda: race.move(config, race.target))
    assert found_by(clone, race.left) == race.found
