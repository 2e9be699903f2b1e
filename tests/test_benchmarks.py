"""The harness is fair, every suite still runs, and the committed figures keep what pages say."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sqlalchemy import Column, Table, text
from sqlalchemy.orm import registry
from sqlalchemy.orm.events import MapperEvents

from benchmarks.__main__ import PLOTS, main, suites
from benchmarks.__main__ import load as load_suite
from benchmarks.claims import verdicts
from benchmarks.harness import (
    BenchmarkError,
    Case,
    measure,
    require_durable,
    significant,
    spread,
    versions_of,
)
from examples.database import create_sync_engine

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
RESULT = {
    "type": "object",
    "required": ["name", "title", "size", "repetitions", "versions", "machine", "cases"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "title": {"type": "string"},
        "size": {"type": "integer", "minimum": 1},
        "unit": {"type": "string"},
        "repetitions": {"type": "integer", "minimum": 5},
        "versions": {"type": "object", "required": ["postgresql", "python", "sqlalchemy"]},
        "machine": {"type": "object", "required": ["cores", "memory_gib", "settings"]},
        "cases": {
            "type": "array",
            "minItems": 2,
            "items": {
                "type": "object",
                "required": ["case", "rows", "median_s", "spread", "ratio", "baseline"],
                "properties": {
                    "median_s": {"type": "number", "exclusiveMinimum": 0},
                    "spread": {"type": "number", "minimum": 0},
                    "ratio": {"type": "number", "exclusiveMinimum": 0},
                    "statements": {"type": ["integer", "null"], "minimum": 1},
                    "peak_mib": {"type": ["number", "null"], "exclusiveMinimum": 0},
                },
            },
        },
    },
}


# --- The harness ----------------------------------------------------------------------------------


def busy(seconds: float, answer: object = 1) -> Callable[[], object]:
    """Something that takes so long."""

    def run() -> object:
        time.sleep(seconds)
        return answer

    return run


def test_ratios_are_of_the_baseline() -> None:
    slow, fast = Case("slow", busy(0.02), 1, "same"), Case("fast", busy(0.0), 1, "same")
    found = {each.case: each for each in measure([slow, fast], "fast", repetitions=3)}
    assert found["fast"].ratio == 1
    assert found["slow"].ratio > 1
    assert found["slow"].median_s >= 0.02
    assert found["slow"].statements is None


def test_a_case_may_keep_its_own_time() -> None:
    """Of a child process: what it prepared does not count, and it is not called more often."""
    calls: list[str] = []

    def run() -> tuple[object, float]:
        calls.append("own")
        return "same", 2.0

    own, plain = Case("own", run, 1, "g", own_clock=True), Case("plain", busy(0.06, "same"), 1, "g")
    found = {each.case: each for each in measure([own, plain], "own", repetitions=3)}
    assert found["own"].median_s == 2.0
    assert found["own"].peak_mib is None
    assert len(calls) == 4


def test_a_case_may_tell_its_memory() -> None:
    case = Case("child", lambda: ("same", 2.0, 54.321), 1, "g", own_clock=True)
    (found,) = measure([case], "child", repetitions=1)
    assert (found.median_s, found.peak_mib) == (2.0, 54.3)


def test_cases_run_in_turn() -> None:
    order: list[str] = []

    def named(name: str) -> Case:
        def run() -> object:
            order.append(name)
            time.sleep(0.06)  # longer than a sample: one call each
            return None

        return Case(name, run, 1)

    measure([named("a"), named("b")], "a", repetitions=3)
    # Once for the answer, once to see how long it takes, then in turn.
    assert order == ["a", "b", "a", "b", "a", "b", "a", "b", "a", "b"]


def test_other_answers_are_refused() -> None:
    cases = [Case("right", busy(0, [1, 2]), 1, "ids"), Case("wrong", busy(0, [2, 1]), 1, "ids")]
    with pytest.raises(BenchmarkError, match="'wrong' another answer than from 'right'"):
        measure(cases, "right", repetitions=1)
    with pytest.raises(BenchmarkError, match="received the baseline 'no'"):
        measure([Case("a", busy(0), 1)], "no", repetitions=1)


def test_statements_are_counted(engine: Any) -> None:
    def run() -> object:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            return connection.execute(text("SELECT 2")).scalar_one()

    (found,) = measure([Case("two", run, 1)], "two", repetitions=1)
    assert found.statements == 2


def test_figures_claim_no_more_than_they_know() -> None:
    assert (significant(1.23456), significant(0.00012345), significant(12345)) == (
        1.23,
        0.000123,
        12300,
    )
    assert spread([1.0, 1.0, 1.0, 1.0]) == 0
    assert spread([1.0]) == 0
    assert spread([1.0, 2.0, 3.0]) == pytest.approx(0.5)


def test_a_missing_peer_is_told() -> None:
    with pytest.raises(BenchmarkError, match="received no no-such-package"):
        versions_of("18.6", ["no-such-package"])


def test_a_server_that_may_lose_data_is_refused(
    postgres_url: str, real_commits: str, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = create_sync_engine(real_commits)
    with engine.connect() as connection:
        fsync = connection.execute(text("SHOW fsync")).scalar_one()
    engine.dispose()
    if fsync == "on":
        # A server that was given: it is durable, and passes.
        assert require_durable(postgres_url)["fsync"] == "on"
        return
    assert main(["search", "--quick", "--database-url", postgres_url]) == 1
    told = capsys.readouterr().err
    assert "received a server with fsync = off; expected on" in told
    assert "Traceback" not in told


# --- The suites -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", suites())
def test_a_suite_runs(name: str, postgres_url: str) -> None:
    suite, before = load_suite(name), heard_by_every_mapper()
    assert suite.QUICK < suite.FULL
    with suite.cases(postgres_url, min(200, suite.QUICK)) as cases:
        found = measure(cases, suite.BASELINE, repetitions=1)
    assert len({each.case for each in found}) == len(found) >= 2
    assert heard_by_every_mapper() == before  # a peer may listen to its own models alone


def heard_by_every_mapper() -> set[str]:
    """The events of mappers that somebody listens to, whatever the class."""

    class Plain:
        """A class like any other."""

    known = registry()
    mapper = known.map_imperatively(
        Plain, Table("plain", known.metadata, Column("id", primary_key=True))
    )
    try:
        names = [name for name in dir(MapperEvents) if not name.startswith("_")]
        return {name for name in names if getattr(mapper.dispatch, name, None)}
    finally:
        known.dispose()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["serach"], "try: search"),
        (["--repetitions", "-1"], "received --repetitions -1"),
        (["--repetitions", "0"], "received --repetitions 0"),
        (["search", "--database-url", "mysql://x"], "mysql"),
    ],
)
def test_wrong_usage(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert told in capsys.readouterr().err


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == suites()


def test_results_and_plot_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the durable server of its own."""
    arguments = ["eager_loading", "--quick", "--results", str(tmp_path), "--output-format", "json"]
    assert main(arguments) == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert document == json.loads((tmp_path / "eager_loading.json").read_text())
    assert document["machine"]["settings"]["fsync"] == "on"
    statements = {case["case"]: case["statements"] for case in document["cases"]}
    assert statements["two SELECTs for each ticket (N+1)"] == 201
    assert (statements["selectinload"], statements["joinedload"]) == (3, 1)
    assert_plot_shows(document, (tmp_path / "benchmark-eager_loading.svg").read_text())


# --- What is committed ----------------------------------------------------------------------------


def assert_plot_shows(document: dict[str, Any], plot: str) -> None:
    """Every case by its name and ratio, the title and the versions."""
    shown = re.findall(r"<text [^>]*>([^<]*)</text>", plot)
    for case in document["cases"]:
        assert case["case"].replace("&", "&amp;") in shown
        assert any(f"({case['ratio']:.3g} ×)" in each for each in shown)
    assert any(document["versions"]["postgresql"] in each for each in shown)


@pytest.mark.parametrize("name", suites())
def test_a_committed_result(name: str) -> None:
    document = json.loads((RESULTS / f"{name}.json").read_text())
    jsonschema.validate(document, RESULT)
    suite = load_suite(name)
    assert (document["name"], document["title"]) == (name, suite.TITLE)
    assert document["size"] == suite.FULL, "of the full size, not of a quick run"
    assert document["machine"]["settings"]["fsync"] == "on"
    assert suite.BASELINE in {case["baseline"] for case in document["cases"]}
    assert_plot_shows(document, (PLOTS / f"benchmark-{name}.svg").read_text())


def not_kept(name: str) -> list[str]:
    """What ``benchmarks/claims.toml`` says of a suite, and its committed result does not."""
    found = [each for each in verdicts() if (each.claim.result or each.claim.by) == name]
    assert found, name
    return [f"{each.claim.claim}: {each.value}, {each.told}" for each in found if not each.accepted]


@pytest.mark.parametrize("name", suites())
def test_the_figures_keep_what_is_claimed(name: str) -> None:
    assert not_kept(name) == []


def test_n_plus_one_is_the_slowest() -> None:
    assert not_kept("eager_loading") == []
    document = json.loads((RESULTS / "eager_loading.json").read_text())
    slowest = max(document["cases"], key=lambda case: case["median_s"])
    assert slowest["case"] == "two SELECTs for each ticket (N+1)"


def test_a_copy_of_ours_is_as_fast_as_the_drivers() -> None:
    assert not_kept("bulk_operations") == []
