"""``python -m examples``: what a person and a program see of the demos."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Engine, text

from examples.__main__ import demo_modules, main


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], postgres_url: str) -> Any:
    """Run the program on the run's server: exit code, stdout, stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--database-url", postgres_url])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_the_list_names_every_topic(run: Any) -> None:
    code, out, _ = run("--list")
    assert code == 0
    assert {"sessions", "relationships", "advanced_patterns", "testing_patterns"} <= {
        line.split()[0] for line in out.splitlines()
    }


def test_one_demo_tells_its_story_and_its_sql(run: Any) -> None:
    code, out, _ = run("sessions", "--sql")
    assert code == 0
    assert "postgresql: provider url, version" in out
    assert "Signed up: organization, user and ticket 1" in out
    assert "INSERT INTO organizations" in out
    assert "1 demos, 1 ran, none failed" in out


def test_json_is_one_document(run: Any) -> None:
    code, out, _ = run("relationships", "--output-format", "json")
    report = json.loads(out)
    (demo,) = report["demos"]
    assert (code, demo["name"], demo["error"]) == (0, "relationships", None)
    assert len(demo["statements"]) > 10
    assert "the newest two" in demo["story"].lower()


def test_an_unknown_name_is_told(run: Any) -> None:
    code, out, err = run("sesions")
    assert (code, out) == (2, "")
    assert err.endswith("try: sessions\n")


def test_a_failing_demo_is_told_and_the_rest_still_run(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(engine: Engine) -> None:
        with engine.begin() as connection:
            connection.execute(text("SELECT broken"))

    monkeypatch.setattr("examples.relationships.demo", broken)
    code, out, _ = run("relationships", "sessions")
    assert code == 1
    assert "FAILED: ProgrammingError" in out
    assert "Signed up" in out
    assert "2 demos, 1 ran, failed: relationships" in out


def test_no_server_is_one_clear_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--database-url", "postgresql://u:hunter2@127.0.0.1:1/x"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Connection refused" in err
    assert "hunter2" not in err


def test_demos_are_found_by_their_function() -> None:
    found = demo_modules()
    assert found["testing_patterns"] == "examples.testing_patterns.demo"
    assert "models" not in found
