"""The report in each format, of a run that never was."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.scripts.test_generate_migration import projects

# isort: split
from generate_migration.core import FINDINGS, FINE, Finding, Lock, Proof, Statement, Step, Unfilled
from generate_migration.judge import Judged, Outcome
from generate_migration.report import FORMATS, render, summary

assert projects.SCRIPTS.is_dir()
pytestmark = pytest.mark.once
REVISION = "abcd1234"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A revision of a repository, whose folder is one below its root."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "db, new").mkdir()
    monkeypatch.chdir(tmp_path / "db, new")
    return tmp_path / "db, new" / "x.py"


@pytest.fixture
def judged(path: Path) -> Judged:
    """One revision, of which there is something to say everywhere."""
    lock = Lock("public.orders", "ShareLock")
    statement = Statement(
        REVISION,
        True,
        "\nCREATE INDEX i ON orders (a)",
        path=path,
        line=12,
        transaction=1,
        held=(lock,),
        taken=(lock, Lock("public.users", "AccessShareLock")),
        scanned={"public.orders": 1},
        written={"public.orders": 2},
        rewritten=("public.users",),
    )
    alone = replace(statement, sql="VACUUM", transaction=None, taken=(), scanned={}, written={})
    down = replace(statement, sql="DROP INDEX i", upgrade=False)
    finding = Finding(
        "blocking-index",
        "error",
        "it blocks: 100%,\nall of it",
        why="Writers wait.",
        fix="first: line\nsecond line",
        path=path,
        line=12,
        revision=REVISION,
        statement="CREATE INDEX i ON orders (a)",
        url="https://example.org",
    )
    steps = (Step("upgrade", True), Step("downgrade", False, "left index a\nleft index b"))
    proof = Proof(REVISION, steps, {"public.orders": 200}, (Unfilled("public.odd", "no value"),))
    return Judged(
        REVISION, path, (statement, replace(alone, rewritten=()), down), (finding,), proof
    )


@pytest.fixture
def outcome(judged: Judged) -> Outcome:
    """A run that generated it."""
    return Outcome("generate", "alembic -c x.ini", (judged,), notes=("something",))


def test_full(outcome: Outcome) -> None:
    assert render(outcome, "full", FINDINGS) == (
        """wrote x.py (abcd1234)

the SQL of the upgrade
  -- transaction 1
  CREATE INDEX i ON orders (a);
    -- ShareLock on public.orders: writers wait
    -- rewrites public.users
    -- reads 1 row of public.orders
    -- writes 2 rows of public.orders
  -- no transaction
  VACUUM;

error[blocking-index]: it blocks: 100%,
all of it
  --> x.py:12
  = sql: CREATE INDEX i ON orders (a)
  = why: Writers wait.
  = fix: first: line
         second line
  = see: https://example.org

proof, on a copy with 200 rows in 1 table
  ok     upgrade
  FAILED downgrade: left index a
         left index b
  NOT PROVED for the rows of public.odd: no value

note: something
what to do
  1. look at the tables that are not proved yourself: with rows of yours in a copy
  2. mend x.py, as the findings say
  3. look again: generate-migration.sh --check
  4. read it, then: git add x.py
  5. alembic -c x.ini upgrade head"""
    )


def test_a_dry_run_shows_the_file(outcome: Outcome) -> None:
    dry = replace(
        outcome, mode="dry-run", revisions=(replace(outcome.revisions[0], source="a\nb"),)
    )
    text = render(dry, "full", FINE)
    assert text.startswith("would write x.py (abcd1234)\n\n  a\n  b\n\nthe SQL")
    assert text.endswith("write it: the same without --dry-run")


def test_what_to_do_fits_what_was_found(outcome: Outcome) -> None:
    dry = replace(outcome, mode="dry-run")
    assert "mend the models" in render(dry, "full", FINDINGS)
    missing = Finding("missing-migration", "error", "the models", statement="add_column orders.a")
    alone = Outcome("check", "alembic", missing=(missing,), program="sh x.sh -c a.ini")
    assert render(alone, "full", FINDINGS).splitlines()[-2:] == [
        "what to do",
        '  1. generate the missing revision: sh x.sh -c a.ini -m "what changed"',
    ]
    assert "= missing: add_column orders.a" in render(alone, "full", FINDINGS)
    assert "or excuse it" in render(replace(outcome, mode="check"), "full", FINDINGS)


def test_long_sql_is_cut(outcome: Outcome) -> None:
    statement = outcome.revisions[0].statements[0]
    long = replace(statement, sql="\n".join(f"line {n}" for n in range(40)))
    many = replace(outcome.revisions[0], statements=(long, *([statement] * 80)))
    text = render(replace(outcome, revisions=(many,)), "full", FINE)
    assert "-- and 10 lines more" in text
    assert "-- and 21 more; --output-format json has all" in text


def test_concise(outcome: Outcome) -> None:
    missing = Finding("missing-migration", "error", "the models")
    assert render(replace(outcome, missing=(missing,)), "concise", FINDINGS).splitlines() == [
        "wrote x.py (abcd1234)",
        "models: error: missing-migration: the models",
        "x.py:12: error: blocking-index: it blocks: 100%, all of it",
    ]


def test_github(outcome: Outcome) -> None:
    """From the root of the repository, and with every sign that GitHub would read escaped."""
    assert render(outcome, "github", FINDINGS) == (
        "::error file=db%2C new/x.py,line=12,title=blocking-index::"
        "it blocks: 100%25,%0Aall of it%0Afix: first: line%0Asecond line"
    )


def test_json(outcome: Outcome) -> None:
    found = json.loads(render(outcome, "json", FINDINGS))
    assert (found["version"], found["exit_code"], found["mode"]) == (1, FINDINGS, "generate")
    assert found["summary"] == {"error": 1, "warning": 0, "info": 0}
    (revision,) = found["revisions"]
    assert (revision["path"], revision["source"]) == ("x.py", None)
    first, second, third = revision["statements"]
    assert first["path"] == "x.py"
    assert first["taken"] == [["public.orders", "ShareLock"], ["public.users", "AccessShareLock"]]
    assert (second["transaction"], third["upgrade"]) == (None, False)
    assert revision["findings"][0]["rule"] == "blocking-index"
    assert revision["proof"]["passed"] is False
    assert revision["proof"]["unfilled"] == [{"table": "public.odd", "reason": "no value"}]


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_to_say(name: str) -> None:
    text = render(Outcome("check", "alembic"), name, FINE)
    assert name == "json" or text == ""


def test_what_fails_a_run(outcome: Outcome, judged: Judged) -> None:
    assert outcome.exit_code("error") == FINDINGS
    warned = replace(judged.findings[0], severity="warning")
    passed = replace(judged, proof=Proof(REVISION, (Step("upgrade", True),)))
    mild = replace(outcome, revisions=(replace(passed, findings=(warned,)),))
    assert mild.exit_code("error") == FINE
    assert mild.exit_code("warning") == FINDINGS
    failed = replace(outcome, revisions=(replace(judged, findings=()),))
    assert failed.exit_code("error") == FINDINGS


def test_a_table_without_rows_fails_in_ci(outcome: Outcome, judged: Judged) -> None:
    """Whatever --fail-on says; not where the revision excuses it."""
    proof = Proof(REVISION, (Step("upgrade", True),), {}, (Unfilled("public.odd", "no value"),))
    found = Finding("not-proved", "warning", "public.odd has no row")
    made = replace(outcome, revisions=(replace(judged, findings=(found,), proof=proof),))
    assert made.exit_code("error") == FINE
    assert replace(made, mode="check").exit_code("error") == FINDINGS
    excused = replace(made, mode="check", revisions=(replace(judged, findings=(), proof=proof),))
    assert excused.exit_code("error") == FINE


def test_the_last_line(outcome: Outcome) -> None:
    assert summary(outcome, FINDINGS) == (
        "1 revision, 0 proved: 1 finding (1 error, 0 warning, 0 info); exit 1"
    )


def test_a_path_elsewhere_is_told_whole(outcome: Outcome) -> None:
    os.chdir("/")
    assert render(outcome, "concise", FINE).startswith(
        f"wrote {str(outcome.revisions[0].path).lstrip('/')}"
    )
