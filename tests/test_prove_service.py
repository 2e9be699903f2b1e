"""The long forms of the service are counted as they were, and its lowest line is the lowest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import constraints, prove_service

ROOT = Path(__file__).resolve().parent.parent
REPORT = """<?xml version="1.0"?>
<testsuites><testsuite>
<testcase name="test_clients_that_go_away_at_any_moment[psycopg]">
<properties><property name="clients" value="500"/></properties></testcase>
<testcase name="test_generated_requests_break_nothing">
<properties><property name="requests" value="17"/></properties><failure message="x"/></testcase>
<testcase name="test_many_processes_through_pgbouncer[sync-psycopg2]"><properties>
<property name="transactions" value="500"/><property name="errors" value="0"/>
<property name="transactions" value="498"/><property name="errors" value="2"/>
</properties><failure message="x"/></testcase>
<testcase name="test_another"/>
</testsuite></testsuites>
"""


def test_what_was_done_and_what_failed_is_counted(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    found = [tuple(each.values()) for each in prove_service.outcomes(report)]
    assert found == [
        ("clients that go away", "psycopg", 500, 0),
        ("generated requests", "asyncpg", 17, 1),
        ("transactions by PgBouncer", "sync-psycopg2", 998, 2),
    ]


def test_a_form_that_did_not_run_is_no_proof(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT.replace("test_generated_requests", "test_other_requests"))
    with pytest.raises(ValueError, match="without generated requests"):
        prove_service.outcomes(report)


def test_the_committed_result_is_of_the_long_forms() -> None:
    forms = json.loads(prove_service.RESULT.read_text())["forms"]
    done = {(each["form"], each["case"]): each["done"] for each in forms}
    assert all(each["failures"] == 0 for each in forms)
    assert {case for form, case in done if form == "clients that go away"} == {
        "asyncpg",
        "psycopg",
    }
    least = {
        "clients that go away": 500,
        "generated requests": 5_000,
        "transactions by PgBouncer": 4 * 500,
    }
    for (form, case), count in done.items():
        assert count >= least[form], (form, case)


def test_the_lowest_line_has_the_lowest_of_the_service() -> None:
    pinned = (ROOT / "constraints" / "2.0-lowest.txt").read_text().splitlines()
    lowest = constraints.pins("2.0-lowest")
    assert len(lowest) == 4, lowest
    for pin in lowest:
        plain = pin.replace("[asyncio]", "")
        assert {plain, f"{plain}.0"} & set(pinned), pin
