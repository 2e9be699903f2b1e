"""A baseline hides what it knows and nothing else, wherever that has gone; it only shrinks."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.test_validate_models.samples import PRELUDE, SCRIPT, run_script

# isort: split
from validate_models.api import distinct, validate
from validate_models.baseline import Baseline, named, read, rendered
from validate_models.core import Finding
from validate_models.targets import TargetError

# Ten findings: five of each of two rules.
MODEL = """
class Ticket{n}(Base):
    __tablename__ = "tickets_{n}"

    id: Mapped[int] = mapped_column(primary_key=True)
"""
COLUMNS = "".join(
    f"    at_{n}: Mapped[datetime] = mapped_column(DateTime)\n    price_{n}: Mapped[float]\n"
    for n in range(5)
)
MODELS = [MODEL.format(n=n) + COLUMNS for n in range(100)]
# Named, since the rules become more.
RULES = ("float-money", "naive-timestamp")
ASKED = ("--select", ",".join(RULES))
FEW = MODELS[:4]
FILES = 4


def write_project(folder: Path, models: list[str], stem: str, lines: int = 0) -> None:
    """*models* in files of their own package, each moved down by *lines*."""
    package = folder / "shop"
    package.mkdir(parents=True, exist_ok=True)
    for old in package.glob("*.py"):
        old.unlink()
    (package / "base.py").write_text(PRELUDE)
    size = -(-len(models) // FILES)
    for number in range(0, len(models), size):
        head = "from shop.base import *\n" + "# moved\n" * lines
        code = "\n".join(models[number : number + size])
        (package / f"{stem}_{number}.py").write_text(f"{head}\n{code}")


def written(folder: Path, models: list[str]) -> Path:
    """A project, with the baseline of it."""
    (folder / ".git").mkdir(parents=True)
    write_project(folder, models, "models")
    result = run_script(*ASKED, "--write-baseline", "known.json", "shop", cwd=folder)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert f"{10 * len(models)} findings written to known.json" in result.stderr
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of 40 findings, and two copies of their baseline."""
    folder = written(tmp_path / "a project", FEW)
    (folder / "changed.json").write_bytes((folder / "known.json").read_bytes())
    return folder


def lines_of(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The report, a line each."""
    assert "Traceback" not in result.stderr
    return result.stdout.splitlines()


CONCISE = ("--output-format", "concise", "--max-findings", "9999", *ASKED)


# --- A thousand findings --------------------------------------------------------------------------


def test_a_thousand_findings_are_hidden_wherever_they_go(tmp_path: Path) -> None:
    """Lines moved, classes reordered, files renamed; and what is new is seen."""
    project = written(tmp_path / "a project", MODELS)
    assert len(read(project / "known.json").entries) == 1000
    models = list(MODELS)
    random.Random(7).shuffle(models)  # noqa: S311
    write_project(project, models, "renamed", lines=3)
    result = run_script(*CONCISE, "--baseline", "known.json", "shop", cwd=project)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert "1000 findings hidden, which known.json knows" in result.stderr
    assert "no longer" not in result.stderr
    new = MODELS[7] + "    closed_at: Mapped[datetime] = mapped_column(DateTime)\n"
    models[models.index(MODELS[7])] = new
    models[models.index(MODELS[9])] = MODELS[9].replace("    price_4: Mapped[float]\n", "")
    write_project(project, models, "renamed")
    result = run_script(*CONCISE, "--baseline", "known.json", "shop", cwd=project)
    (line,) = lines_of(result)
    assert "naive-timestamp" in line
    assert result.returncode == 1
    assert "999 findings hidden" in result.stderr
    assert "1 entries of known.json no longer occur:\n  float-money: tickets_9.price_4" in (
        result.stderr
    )


def test_other_processes_and_hash_seeds_write_the_same(tmp_path: Path) -> None:
    """In another order of the same models, too, and in another folder."""
    texts = set()
    for seed, order in (("1", 1), ("2", -1)):
        folder = tmp_path / f"seed {seed}"
        (folder / ".git").mkdir(parents=True)
        write_project(folder, [*FEW[::order], *twins(order)], f"models_{seed}")
        command = [sys.executable, str(SCRIPT), *ASKED, "--write-baseline", "known.json", "shop"]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        ran = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True)
        assert ran.returncode == 0, ran.stderr
        texts.add((folder / "known.json").read_bytes())
    (text,) = texts
    assert b"\r" not in text
    document = json.loads(text)
    assert document["targets"] == ["shop"]
    marks = [entry["fingerprint"] for entry in document["findings"]]
    assert len(set(marks)) == len(marks) == 40 + 2 * 2
    # An entry a line, in order.
    inside = [line for line in text.decode().splitlines() if '"rule"' in line]
    assert len(inside) == len(marks)
    order_of = [(entry["table"], entry["attribute"]) for entry in document["findings"]]
    assert order_of == sorted(order_of)


def twins(order: int) -> list[str]:
    """Two bases, each with a table of the same name that has three findings."""
    return [
        f"class {name}(DeclarativeBase):\n    pass\n\n\n"
        + MODEL.format(n=3).replace("Base", name).replace("Ticket3", f"Of{name}")
        + "    at_0: Mapped[datetime] = mapped_column(DateTime)\n    price_0: Mapped[float]\n"
        for name in ("First", "Second")[::order]
    ]


def test_equal_fingerprints_are_numbered_by_what_is_said() -> None:
    """Not by the place, which changes."""

    def found(model: str, line: int) -> Finding:
        marks: dict[str, Any] = dict.fromkeys(("column", "table", "attribute"))
        marks |= {"path": "a.py", "line": line, "model": model, "fingerprint": "same", "url": ""}
        return Finding("int4-key", "info", f"of {model}", "", "", **marks)

    before = distinct([found("A", 1), found("B", 2), found("A", 3)])
    after = distinct([found("B", 1), found("A", 5), found("A", 9)])
    assert [item.line for item in after] == [1, 5, 9]
    assert {(item.model, item.fingerprint) for item in before} == {
        (item.model, item.fingerprint) for item in after
    }
    assert len({item.fingerprint for item in before}) == 3


# --- It only shrinks ------------------------------------------------------------------------------


def test_what_is_mended_is_removed_and_what_is_new_is_refused(project: Path) -> None:
    mended = MODELS[0].replace("    price_0: Mapped[float]\n", "    fee: Mapped[float]\n")
    write_project(project, [mended, *FEW[1:]], "models")
    written = (*ASKED, "--write-baseline", "changed.json", "shop")
    result = run_script(*CONCISE[:4], *written, cwd=project)
    assert [line.split(": ")[2] for line in lines_of(result)] == ["float-money"]
    assert result.returncode == 1
    assert "1 entries removed from changed.json, 0 added, 39 kept" in result.stderr
    assert "1 findings are new and not added: mend them, or --allow-growth" in result.stderr
    before = (project / "known.json").read_text().splitlines()
    after = (project / "changed.json").read_text().splitlines()
    assert set(after) < set(before), "one line less, the others as they were"
    assert len(after) == len(before) - 1
    result = run_script(*CONCISE[:4], "--allow-growth", *written, cwd=project)
    assert (result.returncode, result.stdout) == (0, "")
    assert "0 entries removed from changed.json, 1 added, 39 kept" in result.stderr
    kept = (project / "changed.json").read_bytes()
    assert run_script(*written, cwd=project).returncode == 0
    assert (project / "changed.json").read_bytes() == kept, "the same again"


def test_a_part_of_the_project_removes_nothing_else(project: Path) -> None:
    """Other rules, severities, tables: what was not looked at stays."""
    kept = (project / "changed.json").read_bytes()
    for arguments in (
        ("--select", "float-money", "shop"),
        ("--ignore", "types", "shop"),
        ("--severity", "error", "shop"),
        ("shop.models_3",),
        ("shop/models_1.py",),
    ):
        plain = run_script("--baseline", "changed.json", *arguments, cwd=project)
        assert "no longer occur" not in plain.stderr
        run_script("--write-baseline", "changed.json", *arguments, cwd=project)
        assert (project / "changed.json").read_bytes() == kept, arguments
    (project / "shop" / "broken.py").write_text("1 / 0  # mapped_column\n")
    result = run_script("--write-baseline", "changed.json", "shop", cwd=project)
    assert result.returncode == 2
    assert "changed.json is not written" in result.stderr
    assert (project / "changed.json").read_bytes() == kept
    result = run_script("--write-baseline", "changed_new.json", "shop", cwd=project)
    assert result.returncode == 2
    assert not (project / "changed_new.json").exists()


def test_a_table_that_is_gone_is_gone(project: Path) -> None:
    """Under the targets that were recorded; its file may be called by its path, or from below."""
    write_project(project, FEW[:-1], "models")
    for target, folder in (("shop", project), (str(project / "shop"), project / "shop")):
        baseline = project / "changed.json"
        result = run_script(*ASKED, "--baseline", baseline, "--root", project, target, cwd=folder)
        assert "10 entries of" in result.stderr, result.stderr
        assert "  naive-timestamp: tickets_3.at_0\n" in result.stderr
    result = run_script(*ASKED, "--write-baseline", "changed.json", "shop", cwd=project)
    assert "10 entries removed from changed.json, 0 added, 30 kept" in result.stderr


def test_growth_under_other_targets_keeps_both(project: Path) -> None:
    """Neither run may say of the other's findings that they are gone."""
    one, two = "shop.models_0", "shop.models_1"
    written = (*ASKED, "--write-baseline", "changed_part.json", "--allow-growth")
    for target in (one, two, one, two):
        assert run_script(*written, target, cwd=project).returncode == 0
    document = json.loads((project / "changed_part.json").read_text())
    assert document["targets"] == [one, two]
    assert len(document["findings"]) == 20


# --- Files ----------------------------------------------------------------------------------------


def test_the_file_is_configured(project: Path) -> None:
    text = "targets = ['shop']\nbaseline = 'changed.json'\nselect = ['types']\n"
    (project / "pyproject.toml").write_text("[tool.validate-models]\n" + text)
    for folder in (project, project / "shop"):
        result = run_script(cwd=folder)
        assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert run_script("--isolated", "shop", cwd=project).returncode == 1
    result = run_script("--write-baseline", "changed_other.json", cwd=project)
    assert "40 findings written to changed_other.json" in result.stderr


GOOD = rendered([], [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no such file"),
        ("", "which is no JSON"),
        ("[" * 100_000, "which is no JSON"),
        ("[]", "which is no baseline"),
        ('{"version": 1}', "which is no baseline"),
        (GOOD.replace("1", "2"), "of version 2"),
        (GOOD.replace("[\n", '[\n{"rule": 1}'), "which is no baseline"),
        (GOOD.replace("[\n", "[\n<<<<<<< ours\n"), "in which a merge left its conflicts"),
        ("\udcff", "which cannot be read"),
    ],
)
def test_a_file_that_is_no_baseline(tmp_path: Path, text: str | None, said: str) -> None:
    """It is neither read nor written over."""
    path = tmp_path / "known.json"
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
    for option in ("--baseline", "--write-baseline")[: 1 if text is None else 2]:
        result = run_script(option, path, "examples.models")
        assert (result.returncode, result.stdout) == (2, "")
        assert said in result.stderr
        for word in ("received the baseline", "expected: ", "try: "):
            assert word in result.stderr
    if text is not None:
        assert path.read_bytes() == text.encode(errors="surrogateescape")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--baseline", "a", "--write-baseline", "b"], "received --baseline and --write-baseline"),
        (["--allow-growth"], "received --allow-growth"),
        (["--write-baseline", "no/such/folder/known.json"], "which cannot be written"),
        (["--write-baseline", "references"], "which cannot be read"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str) -> None:
    result = run_script(*arguments, "examples.models")
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_an_empty_baseline_of_clean_models(tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    assert run_script("--write-baseline", path, "examples.models").returncode == 0
    assert read(path).entries == {}
    assert list(tmp_path.iterdir()) == [path], "and nothing beside it"
    assert run_script("--baseline", path, "examples.models").returncode == 0


def test_targets_are_seen_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src" / "app").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "src")
    path = tmp_path / "known.json"
    expected = ("app.models:Base", "src/app", "src/app:Base")
    assert named(["app", "app.models:Base", "app", "app:Base"], path) == expected
    assert named([str(tmp_path / "src" / "app")], path) == ("src/app",)


def test_validate_takes_a_baseline(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    write_project(folder, [MODELS[0].replace("tickets_0", "of_validate")], "of_validate")
    target = folder / "shop" / "of_validate_0.py"
    target.write_text(PRELUDE + target.read_text().replace("from shop.base import *", ""))
    found = validate(str(target), select=RULES)
    assert len(found) == 10
    path = tmp_path / "known.json"
    entry = {"rule": found[0].rule, "table": "", "attribute": ""}
    path.write_text(rendered([entry | {"fingerprint": found[0].fingerprint}], []))
    assert validate(str(target), select=RULES, baseline=path) == found[1:]
    with pytest.raises(TargetError, match="there is no such file"):
        validate(str(target), select=RULES, baseline=tmp_path / "none.json")
    assert Baseline({}, ()).hides(found[0]) is False
