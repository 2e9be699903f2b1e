"""What a further run of CI leaves out, and what it must not lose."""

from __future__ import annotations

import pytest

from tests.choice import of_other_drivers, without_server

PROJECT = """
import pytest


@pytest.fixture(params=["psycopg", "psycopg2"])
def engine(request, postgres_url):
    return request.param


@pytest.fixture(params=["psycopg async", "asyncpg"])
def async_engine(request, postgres_url):
    return request.param


@pytest.fixture
def postgres_url():
    return ""


def test_sync(engine):
    pass


def test_async(async_engine):
    pass


@pytest.mark.parametrize("rows", [1, 2])
def test_both(engine, async_engine, rows):
    pass


@pytest.mark.parametrize("driver", ["psycopg"])
def test_of_one(driver):
    pass


@pytest.mark.parametrize(("driver", "says"), [("psycopg", "a"), ("psycopg2", "b")])
def test_each_its_own(driver, says):
    pass


def test_pure():
    pass


@pytest.mark.container
def test_contained():
    pass
"""
ALWAYS = [
    "test_of_one[psycopg]",
    *("test_each_its_own[psycopg-a]", "test_each_its_own[psycopg2-b]"),
    *("test_pure", "test_contained"),
]


@pytest.fixture
def items(pytester: pytest.Pytester) -> list[pytest.Item]:
    """The tests of a project with every sort."""
    scope = "asyncio_default_fixture_loop_scope = session"
    pytester.makeini(f"[pytest]\nmarkers = container: x\n{scope}\n")
    return pytester.getitems(PROJECT)


@pytest.mark.once
@pytest.mark.parametrize(
    ("wanted", "sync", "awaited"),
    [
        (["psycopg2", "asyncpg"], "psycopg2", "asyncpg"),
        (["psycopg"], "psycopg", "psycopg async"),
    ],
    ids=["two", "one for both"],
)
def test_one_driver_a_test_and_no_test_is_lost(
    items: list[pytest.Item], wanted: list[str], sync: str, awaited: str
) -> None:
    left_out = of_other_drivers(items, wanted)
    assert [item.name for item in items if item not in left_out] == [
        *(f"test_sync[{sync}]", f"test_async[{awaited}]"),
        *(f"test_both[{sync}-{awaited}-{rows}]" for rows in (1, 2)),
        *ALWAYS,
    ]


@pytest.mark.once
def test_a_driver_that_a_test_does_not_know_takes_nothing_from_it(items: list[pytest.Item]) -> None:
    left_out = {item.name for item in of_other_drivers(items, ["asyncpg"])}
    assert "test_async[psycopg async]" in left_out
    assert not {"test_sync[psycopg]", "test_sync[psycopg2]"} & left_out


@pytest.mark.once
def test_what_does_not_speak_to_the_server_is_left_out(items: list[pytest.Item]) -> None:
    left_out = {item.originalname for item in without_server(items)}  # type: ignore[attr-defined]
    assert left_out == {"test_of_one", "test_each_its_own", "test_pure"}
