"""Statements made by hand: what no revision can be brought to, and numbers at their limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.scripts.test_generate_migration import observing

# isort: split
from generate_migration.core import Lock, Statement
from generate_migration.lint import observed

assert observing  # the script's folder: see there

PLAIN = Statement("one", True, "SELECT 1", Path("one.py"), 7, transaction=1, lock_timeout="500ms")


def said(*statements: Statement) -> list[str]:
    """The rules that find something."""
    return [each.rule for each in observed(statements)]


def test_a_value_is_added_and_used() -> None:
    """PostgreSQL refuses the second: such a revision never ran to its end."""
    add = replace(PLAIN, sql="ALTER TYPE channel ADD VALUE IF NOT EXISTS 'it''s' AFTER 'mail'")
    use = replace(PLAIN, sql="UPDATE tickets SET channel = 'it''s' WHERE id = 1")
    assert said(add, use) == ["add-value-in-transaction"]
    assert said(add, replace(use, transaction=2)) == []
    assert said(replace(add, transaction=None), use) == []
    assert said(add, replace(use, sql="UPDATE tickets SET channel = 'mail' WHERE id = 1")) == []


@pytest.mark.parametrize(
    ("sql", "rows", "expected"),
    [
        ("UPDATE tickets SET title = ''", 100, True),
        ("UPDATE tickets SET title = ''", 99, False),
        ("UPDATE tickets SET title = '' WHERE id BETWEEN 1 AND 1000", 1000, False),
        ("UPDATE tickets SET title = '' WHERE id > 1 AND id <= 1000", 1000, False),
        ("DELETE FROM tickets WHERE id IN (SELECT id FROM tickets LIMIT 1000)", 1000, False),
        ("DELETE FROM tickets WHERE id > 1", 1000, True),
        ("DELETE FROM tickets WHERE title = 'BETWEEN LIMIT'", 1000, True),
        ("WITH old AS (DELETE FROM tickets RETURNING *) SELECT * FROM old", 1000, True),
        ("INSERT INTO tickets SELECT * FROM old", 1000, False),
        ("DO $$ BEGIN UPDATE tickets SET title = ''; END $$", 1000, True),
        ("DO $$ BEGIN UPDATE tickets SET title = ''; COMMIT; END $$", 1000, False),
    ],
)
def test_many_rows(sql: str, rows: int, expected: bool) -> None:
    statement = replace(PLAIN, sql=sql, written={"public.tickets": rows})
    assert said(statement) == ["blocking-backfill"] * expected


@pytest.mark.parametrize(
    ("written", "read", "counted", "expected"),
    [
        (49, 200, 0, True),  # WHERE due IS NULL, of a copy with 200 rows
        (49, 0, 200, True),  # the same by an index
        (19, 200, 200, False),  # by key
        (49, 49, 49, False),  # all of a small table
        (49, 0, 0, False),  # nobody counted
    ],
)
def test_much_of_a_table(written: int, read: int, counted: int, expected: bool) -> None:
    statement = replace(
        PLAIN,
        sql="UPDATE billing.invoices SET due = now() WHERE due IS NULL",
        written={"billing.invoices": written},
        scanned={"billing.invoices": read},
    )
    found = observed([statement], {"billing.invoices": counted})
    assert [each.rule for each in found] == ["blocking-backfill"] * expected


def test_a_batch_under_a_lock_is_a_backfill() -> None:
    lock = Lock("public.comments", "ShareLock")
    made = replace(PLAIN, sql="LOCK TABLE comments IN SHARE MODE", held=(lock,), taken=(lock,))
    batch = replace(
        PLAIN,
        sql="UPDATE tickets SET title = '' WHERE id BETWEEN 1 AND 1000",
        written={"public.tickets": 1000},
        held=(lock,),
    )
    (told,) = observed([made, batch])
    assert told.rule == "blocking-backfill"
    assert "1000 rows of tickets are written" in told.message
    assert "while SHARE on public.comments is held" in told.message


def test_a_truncated_table_is_not_rewritten() -> None:
    assert said(replace(PLAIN, sql="TRUNCATE settings", rewritten=("public.settings",))) == []


def test_a_setting_may_be_called_by_another_name() -> None:
    """``SET TIME ZONE`` and ``RESET TIMEZONE`` are one."""
    zone = replace(PLAIN, sql="SET TIME ZONE 'UTC'")
    assert said(zone, replace(PLAIN, sql="RESET timezone")) == []
    assert said(zone) == ["timeouts-not-reset"]
