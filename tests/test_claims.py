"""What is claimed holds, or says why not; and no fault on the way to the table goes unseen."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import claims
from benchmarks.__main__ import load as load_suite
from benchmarks.__main__ import suites
from benchmarks.claims import FAILED, HOLDS, RESULTS, SHORT, UNMEASURED, Claim, ClaimError, Verdict
from tests.waiting import until
from tools import long_forms, prove_service
from tools.long_forms import Step

ENTRIES, FULL = claims.load(claims.CLAIMS)
CASES: list[dict[str, Any]] = [
    {"case": "ours", "median_s": 0.02, "ratio": 1.25, "baseline": "theirs", "peak_mib": 50},
    {"case": "theirs", "median_s": 0.016, "ratio": 1.0, "baseline": "theirs", "peak_mib": 40},
]
PLANTED = """
[full]
planted = {size = 100}
[[claim]]
claim = "Ours beside theirs"
page = "proof.md"
by = "planted"
case = "ours"
to = "theirs"
goal = "<= 1.2"
unit = "×"
"""


def stated(**changes: Any) -> Claim:
    """A claim about the planted result."""
    fields: dict[str, Any] = {"claim": "c", "page": "p.md", "by": "planted", "goal": "<= 1.2"}
    return Claim(**{**fields, "case": "ours", "to": "theirs", **changes})


def planted(folder: Path, **changes: Any) -> Path:
    """A folder of results with one of them."""
    document = {"name": "planted", "size": 100, "cases": CASES, **changes}
    (folder / "planted.json").write_text(json.dumps(document))
    return folder


def judged(folder: Path, **changes: Any) -> Verdict:
    """What becomes of a claim about it."""
    return claims.judge(stated(**changes), folder, {"planted": {"size": 100}})


# --- What is committed ----------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.claim)
def test_a_claim_holds_or_says_why_not(entry: Claim) -> None:
    verdict = claims.judge(entry, RESULTS, FULL)
    assert verdict.accepted, f"{verdict.value}: {verdict.told}"
    assert not (verdict.status == HOLDS and entry.open), "it holds now: take its excuse away"


def test_every_claim_is_told_once() -> None:
    told = [entry.claim for entry in ENTRIES]
    assert len(set(told)) == len(told)
    assert not [entry.claim for entry in ENTRIES if "|" in entry.claim]


def test_each_long_form_has_a_claim_and_each_claim_a_long_form() -> None:
    assert {entry.by for entry in ENTRIES} == {step.name for step in long_forms.steps()}


def test_every_result_has_a_claim() -> None:
    claimed = {Path(str(entry.result or entry.by)).stem for entry in ENTRIES}
    assert {path.stem for path in RESULTS.glob("*.json")} <= claimed


def test_a_quick_run_is_no_measurement_of_any_suite() -> None:
    assert {name: FULL[name]["size"] for name in suites()} == {
        name: load_suite(name).FULL for name in suites()
    }


# --- What a claim can meet ------------------------------------------------------------------------


def test_what_falls_short_is_told_by_how_much(tmp_path: Path) -> None:
    found = judged(planted(tmp_path), unit="×")
    assert (found.status, found.value, found.accepted) == (SHORT, 1.25, False)
    assert found.told == "falls short by 0.05 ×"
    assert judged(tmp_path, goal="<= 1.25").status == HOLDS
    assert judged(tmp_path, goal=">= 130", unit="%").told == "falls short by 5 %"
    # Two digits: more would be the noise of the machine.
    assert judged(tmp_path, goal=">= 1.2804", unit="×").told == "falls short by 0.03 ×"
    assert judged(tmp_path, goal=">= 1235.5").told == "falls short by 1,200"
    assert judged(tmp_path, goal="= 1").status == SHORT


def test_what_is_known_to_fall_short_is_accepted_within_bounds(tmp_path: Path) -> None:
    planted(tmp_path)
    found = judged(tmp_path, open="it is slow", held="<= 1.3")
    assert (found.status, found.accepted) == (SHORT, True)
    assert found.told == "falls short by 0.05: it is slow"
    assert not judged(tmp_path, open="it is slow", held="<= 1.24").accepted


def test_ratios_are_those_of_the_suite(tmp_path: Path) -> None:
    """Which has divided before it rounded."""
    cases = [{**CASES[0], "ratio": 1.26}, CASES[1]]
    planted(tmp_path, cases=cases)
    assert judged(tmp_path).value == 1.26
    assert judged(tmp_path, case="theirs", to="ours").value == pytest.approx(1 / 1.26)
    assert judged(tmp_path, figure="peak_mib").value == 1.25
    assert judged(tmp_path, to="", unit="ms").value == 20


@pytest.mark.parametrize(
    ("size", "told"),
    [(None, "no result"), (99, "size 99 instead of 100")],
)
def test_a_missing_or_a_small_result_is_not_measured(
    size: int | None, told: str, tmp_path: Path
) -> None:
    if size:
        planted(tmp_path, size=size)
    found = judged(tmp_path)
    assert (found.status, found.value, found.accepted) == (UNMEASURED, None, False)
    assert found.told == f"not measured: {told}"


def test_a_small_long_form_is_not_measured(tmp_path: Path) -> None:
    ended = {"code": 0, "seconds": 3, "tests": 20, "failures": 0}
    runs = {"name": claims.RUNS, "long": False, "steps": {"planted": ended}}
    (tmp_path / f"{claims.RUNS}.json").write_text(json.dumps(runs))
    place = {"case": "", "to": "", "at": ("steps", "planted", "failures"), "goal": "= 0"}
    asked, full = stated(result=claims.RUNS, **place), {claims.RUNS: {"long": True}}
    assert claims.judge(asked, tmp_path, full).told == "not measured: a small run"
    (tmp_path / f"{claims.RUNS}.json").write_text(json.dumps({**runs, "long": True}))
    assert claims.judge(asked, tmp_path, full).status == HOLDS
    other = stated(result=claims.RUNS, **{**place, "by": "another"})
    assert claims.judge(other, tmp_path, full).told == "not measured: not run"


def test_a_run_that_failed_proves_nothing(tmp_path: Path) -> None:
    """Whatever an older result says."""
    planted(tmp_path)
    ended = {"code": 1, "seconds": 3, "tests": 20, "failures": 2}
    runs = {"name": claims.RUNS, "long": True, "steps": {"planted": ended}}
    (tmp_path / f"{claims.RUNS}.json").write_text(json.dumps(runs))
    found = judged(tmp_path, goal="<= 2")
    assert (found.status, found.value, found.accepted) == (FAILED, None, False)
    assert found.told == "its run failed: exit code 1, 2 of 20 tests"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"case": "nobody", "to": ""}, "received nothing with {'case': 'nobody'}"),
        ({"to": "nobody"}, "received nothing with {'case': 'nobody'}"),
        ({"figure": "gone"}, "received 'gone'; expected one of"),
        ({"case": "", "to": "", "at": ("cases", "*", "median_s")}, "received 2 figures"),
        ({"case": "", "to": "", "at": ("gone", "*")}, "received 'gone'; expected one of"),
        ({"case": "", "to": "", "at": ("name",)}, "received 'planted' at"),
        ({"case": "", "to": "", "at": ("size", "*")}, "expected one of int"),
    ],
    ids=str,
)
def test_an_unknown_place_is_an_error(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    planted(tmp_path)
    with pytest.raises(ClaimError) as raised:
        judged(tmp_path, **changes)
    assert told in str(raised.value)


def test_a_result_that_is_no_json_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "planted.json"
    path.write_text("{")
    with pytest.raises(ClaimError, match="is no JSON"):
        judged(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ClaimError, match="cannot be read"):
        judged(tmp_path)


def test_a_figure_is_told_to_three_digits() -> None:
    told = [claims.shown(value, "ms") for value in (0.0123, 3.0, 12.345, 999.7, 1234.5)]
    assert told == ["0.0123 ms", "3 ms", "12.3 ms", "1,000 ms", "1,234 ms"]


def test_places_in_a_result() -> None:
    document = {"a": [{"k": 1, "n": 2}, {"k": 3, "n": 4, "names": ["x", "y"]}]}
    assert claims.look_up(document, ("a", {"k": 3}, "n")) == 4
    assert claims.look_up(document, ("a", "*", "n"), "sum") == 6
    assert claims.look_up(document, ("a", "*", "n"), "min") == 2
    assert claims.look_up(document, ("a", "*", "n"), "max") == 4
    assert claims.look_up(document, ("a", "*", "names?", "*"), "count") == 2
    assert claims.look_up(document, ("a", "*", "names?", {"is": "x"}), "count") == 1


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('by = "planted"\n', "", "unknown or missing: by"),
        ("unit", "units", "unknown or missing: units"),
        ("<= 1.2", "< 1.2", "received the goal '< 1.2'"),
        ("×", "x", "received the unit 'x'"),
        ('case = "ours"\n', "", "expected case or at"),
        ('unit = "×"', 'open = "so"', "expected open and held together"),
    ],
)
def test_a_claim_that_is_not_understood_is_an_error(
    old: str, new: str, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "claims.toml"
    path.write_text(PLANTED)
    assert len(claims.load(path)[0]) == 1
    path.write_text(PLANTED.replace(old, new))
    with pytest.raises(ClaimError) as raised:
        claims.load(path)
    assert told in str(raised.value)


def test_the_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "claims.toml"
    source.write_text(PLANTED)
    monkeypatch.setattr(claims, "CLAIMS", source)
    planted(tmp_path)
    assert claims.main(["--results", str(tmp_path)]) == 1
    *_, told, total = capsys.readouterr().out.splitlines()
    assert told.strip() == "falls short by 0.05 × (planted)"
    assert total == "1 claim: 1 falls short"
    assert claims.main(["--results", str(tmp_path), "--output-format", "json"]) == 1
    (entry,) = json.loads(capsys.readouterr().out)["claims"]
    assert (entry["status"], entry["value"], entry["accepted"]) == (SHORT, 1.25, False)
    source.write_text(PLANTED.replace("<= 1.2", "<= 1.3"))
    assert claims.main(["--results", str(tmp_path)]) == 0
    capsys.readouterr()
    planted(tmp_path, cases=[{**CASES[0], "ratio": "fast"}])
    assert claims.main(["--results", str(tmp_path)]) == 2
    assert "'Ours beside theirs' cannot be looked up: ValueError" in capsys.readouterr().err
    planted(tmp_path)
    source.write_text(PLANTED.replace('"ours"', '"nobody"'))
    assert claims.main(["--results", str(tmp_path)]) == 2
    assert "received nothing with" in capsys.readouterr().err
    assert claims.main(["--results", str(tmp_path / "gone")]) == 2


def test_the_table_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    claims.claims_table()
    total, blank, *table = capsys.readouterr().out.splitlines()
    assert total.startswith(f"{len(ENTRIES)} claims: ")
    assert not blank
    assert len(table) == len(ENTRIES) + 2
    assert {line.count(" | ") for line in table[2:]} == {4}


# --- The chain ------------------------------------------------------------------------------------

BREAKS = Step("breaks", "a command that is not there", ("no_module_of_that_name",), ("no_such",))
WORKS = Step("works", "one that is", ("timeit", "-n1", "-r1"), ("timeit", "-n1", "-r1"))
ONLY_LONG = Step("only_long", "one without a small form", ("no_module_of_that_name",))


def written(folder: Path) -> dict[str, Any]:
    """How the long forms ended, by the file."""
    found: dict[str, Any] = json.loads((folder / f"{claims.RUNS}.json").read_text())
    return found


def test_what_fails_does_not_stop_the_others(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert not long_forms.run_all([BREAKS, WORKS], tmp_path, small=False)
    found = written(tmp_path)
    assert found["long"]
    assert {name: step["code"] for name, step in found["steps"].items()} == {
        "breaks": 1,
        "works": 0,
    }
    assert "error: failed: breaks" in capfd.readouterr().err
    assert long_forms.run_all([WORKS], tmp_path, small=False)
    assert set(written(tmp_path)["steps"]) == {"breaks", "works"}, "what was not run again stays"
    assert long_forms.run_all([WORKS, ONLY_LONG], tmp_path, small=True)
    assert set(written(tmp_path)["steps"]) == {"works"}, "a small run stands beside no long one"


def test_tests_are_counted(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        "<testsuites><testsuite><testcase/><testcase><failure/></testcase><testcase><error/>"
        "</testcase><testcase><skipped/></testcase></testsuite></testsuites>"
    )
    assert long_forms.outcome(report) == {"tests": 3, "failures": 2}


@pytest.mark.parametrize(
    ("body", "code", "tests", "failures"),
    [("assert True", 0, 1, 0), ("assert False", 1, 1, 1), ("__import__('pytest').skip()", 1, 0, 0)],
)
def test_a_step_of_tests(body: str, code: int, tests: int, failures: int, tmp_path: Path) -> None:
    path = tmp_path / "test_planted.py"
    path.write_text(f"def test_it() -> None:\n    {body}\n")
    command = ("pytest", "-q", "--noconftest", "-p", "no:cacheprovider", "-p", "no:randomly")
    step = Step(
        "planted", "t", (*command, "--junitxml={report}", f"--rootdir={tmp_path}", str(path))
    )
    found = long_forms.run(step, tmp_path, small=False)
    del found["seconds"]
    assert found == {"code": code, "tests": tests, "failures": failures}


def test_what_hangs_is_ended(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whom it has started, deaf to SIGINT, with it."""
    monkeypatch.setattr(long_forms, "GRACE", 0.1)
    said = tmp_path / "pid"
    shell = f"trap '' INT; sleep 600 & echo $! > '{said}.new'; mv '{said}.new' '{said}'; wait"
    step = Step("hangs", "t", ("timeit", "-n1", "-r1", f"__import__('os').system({shell!r})"))
    wait = subprocess.Popen.wait

    def once_started(process: Any, timeout: float | None = None) -> int:
        if timeout == 0.1234:
            until(said.exists, "the step has started another process")
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", once_started)
    assert long_forms.run(step, tmp_path, small=False, longest=0.1234)["code"] == 124
    assert "hangs took more than" in capfd.readouterr().err
    until(partial(is_gone, int(said.read_text())), "the end of what the step has started")


def test_what_had_ended_before_an_interrupt_is_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_group = long_forms.run_group

    def interrupted(command: Any, environ: dict[str, str], longest: float) -> int:
        if BREAKS.command[-1] in command:
            raise KeyboardInterrupt
        return run_group(command, environ, longest)

    monkeypatch.setattr(long_forms, "run_group", interrupted)
    monkeypatch.setattr(long_forms, "steps", lambda _results: [WORKS, BREAKS])
    assert long_forms.main(["--results", str(tmp_path)]) == 130
    assert "interrupted; what has ended is kept" in capfd.readouterr().err
    kept = json.loads((tmp_path / f"{claims.RUNS}.json").read_text())
    assert set(kept["steps"]) == {WORKS.name}


def is_gone(pid: int) -> bool:
    """Whether a process has ended: no command line is left of it, or no entry."""
    try:
        return not Path("/proc", str(pid), "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"long": true, "steps": {"works": 0}}'])
def test_junk_where_the_runs_are_kept_stops_the_first(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / f"{claims.RUNS}.json"
    target.write_text(text)
    monkeypatch.setattr(long_forms, "steps", lambda _results: [WORKS])
    assert long_forms.main(["--results", str(tmp_path)]) == 2
    output = capfd.readouterr()
    assert "== works" not in output.out
    assert "does not tell how runs ended" in output.err
    assert target.read_text() == text


@pytest.mark.parametrize(("chosen", "code"), [("works", 0), ("breaks", 1)])
def test_the_chain_ends_in_the_table(
    chosen: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "claims.toml"
    source.write_text(PLANTED.replace("<= 1.2", "<= 1.3").replace('"planted"', f'"{chosen}"'))
    monkeypatch.setattr(claims, "CLAIMS", source)
    monkeypatch.setattr(long_forms, "steps", lambda _results: [WORKS, BREAKS])
    planted(tmp_path).joinpath("planted.json").rename(tmp_path / f"{chosen}.json")
    assert long_forms.main(["--results", str(tmp_path)]) == 1, "a step has failed"
    told = capfd.readouterr().out
    assert ("1 claim: 1 holds" in told) is (code == 0)
    assert ("its run failed: exit code 1" in told) is (code == 1)
    assert long_forms.main([chosen, "--results", str(tmp_path / "new")]) == 1, "nothing is measured"
    (tmp_path / f"{claims.RUNS}.json").unlink()
    assert long_forms.main([chosen, "--results", str(tmp_path)]) == code


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["nobody"], "received nobody; expected: "), (["--small"], "received --small alone")],
)
def test_wrong_usage(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        long_forms.main(arguments)
    assert raised.value.code == 2
    assert told in capsys.readouterr().err


def test_results_that_are_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as raised:
        long_forms.main(["--results", str(tmp_path / "file")])
    assert raised.value.code == 2
    assert "expected a folder" in capsys.readouterr().err


def test_a_small_run_of_the_service_is_not_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["prove_service", "--small"])
    with pytest.raises(SystemExit) as raised:
        prove_service.main()
    assert raised.value.code == 2
    assert "received --small alone" in capsys.readouterr().err
