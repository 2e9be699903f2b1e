"""What a target names is judged, what is left out is said, and no failed run looks clean."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.scripts.test_validate_models.samples import PRELUDE, run_script

# isort: split
from validate_models.api import validate
from validate_models.config import COMMAND_ALONE, read
from validate_models.targets import TargetError

CONCISE = ("--output-format", "concise", "--select", "float-money,unused-ignore")
MODEL = """from shop.base import *


class {name}({bases}):
    __tablename__ = "{table}"

    id: Mapped[int] = mapped_column(primary_key=True)
    {table}_price: Mapped[float]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A package whose modules import each other; each model has one fault."""
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'shop'\n")
    package = tmp_path / "shop"
    package.mkdir()
    mixin = "class Priced:\n    list_price: Mapped[float]\n"
    (package / "base.py").write_text(PRELUDE + mixin)
    bees = MODEL.format(name="Harvest", table="harvests", bases="Base")
    people = MODEL.format(name="Keeper", table="keepers", bases="Base")
    (package / "bees.py").write_text(bees)
    (package / "people.py").write_text(people.replace("\n\n\n", "\nimport shop.bees\n\n\n", 1))
    (package / "all_of_them.py").write_text("from shop.bees import *\nfrom shop.people import *\n")
    (package / "__init__.py").write_text("")
    return tmp_path


def columns(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The models' files of the findings."""
    return [line.split(":")[0].rpartition("/")[2] for line in result.stdout.splitlines()]


BEES, PEOPLE = "bees.py", "people.py"


@pytest.mark.parametrize(
    ("targets", "files", "left"),
    [
        (("shop",), [BEES, PEOPLE], 0),
        (("shop/",), [BEES, PEOPLE], 0),
        (("shop.people",), [PEOPLE], 1),
        (("shop/people.py",), [PEOPLE], 1),
        (("shop.people:Keeper",), [PEOPLE], 1),
        (("shop.people:shop",), None, 0),
        (("shop.all_of_them",), [BEES, PEOPLE], 0),
        (("shop.all_of_them:Harvest",), [BEES], 1),
        (("shop.people:Base",), [BEES, PEOPLE], 0),
        (("shop.people", "shop.bees"), [BEES, PEOPLE], 0),
        (("shop.people:Keeper", "shop.bees"), [BEES, PEOPLE], 0),
        (("shop.people:Keeper", "shop.bees:Base"), [BEES, PEOPLE], 0),
    ],
)
def test_a_target_names_what_is_judged(
    project: Path, targets: tuple[str, ...], files: list[str] | None, left: int
) -> None:
    result = run_script(*CONCISE, *targets, cwd=project)
    assert result.returncode == (2 if files is None else 1), result.stderr
    assert columns(result) == (files or [])
    said = f"{left} findings left out: at models of other modules"
    assert (said in result.stderr) == bool(left)
    if left:
        assert "validate-models: 1 mappers, 1 tables: 1 findings" in result.stderr


def test_a_broken_mapper_of_another_module_is_told(project: Path) -> None:
    """It may be why something of the target could not be judged."""
    path = project / "shop" / BEES
    path.write_text(f"{path.read_text()}    keeper = relationship('Nobody')\n")
    result = run_script("--output-format", "concise", "shop.people:Keeper", cwd=project)
    assert "broken-mapper" in result.stdout


def test_what_holds_the_tables_of_a_file_is_judged_with_it(project: Path) -> None:
    """The convention of names stands at the base, in another file; of one class it is not asked."""
    path = project / "shop" / "base.py"
    bare = path.read_text().partition("    metadata = ")[0] + "    type_annotation_map = {}\n"
    path.write_text(bare)
    given = ("--select", "missing-naming-convention", "--output-format", "concise")
    uq = "keepers_price: Mapped[float] = mapped_column(unique=True)"
    people = project / "shop" / PEOPLE
    people.write_text(people.read_text().replace("keepers_price: Mapped[float]", uq))
    for target, files in (("shop.people", ["base.py"]), ("shop.people:Keeper", [])):
        assert columns(run_script(*given, target, cwd=project)) == files


def test_a_part_removes_nothing_of_the_rest_from_a_baseline(project: Path) -> None:
    run_script("--write-baseline", "known.json", "--select", "float-money", "shop", cwd=project)
    result = run_script("--baseline", "known.json", "--select", "float-money", "shop.people",
                        cwd=project)  # fmt: skip
    assert (result.returncode, result.stdout) == (0, "")
    assert "no longer occur" not in result.stderr


def test_what_a_mixin_gives_to_several_models_says_whose_it_is(project: Path) -> None:
    for name, bases in ((BEES, "Harvest"), (PEOPLE, "Keeper")):
        path = project / "shop" / name
        path.write_text(
            path.read_text().replace(f"class {bases}(Base)", f"class {bases}(Priced, Base)")
        )
    shown = {}
    for name in ("concise", "full", "github", "sarif"):
        shown[name] = run_script(
            "--select", "float-money", "--output-format", name, "shop", cwd=project
        ).stdout
        for model in ("Harvest", "Keeper"):
            assert shown[name].count(f"({model}.list_price)") == 1, name
            assert f"({model}.{model.lower()}s_price)" not in shown[name]
    alone = run_script(*CONCISE, "shop.people", cwd=project).stdout
    assert "(Keeper.list_price)" not in alone


# --- Comments -------------------------------------------------------------------------------------


def test_a_reason_may_wrap_to_further_comment_lines(project: Path) -> None:
    path = project / "shop" / PEOPLE
    mark = "    # validate-models: ignore[float-money] the bank's own API\n"
    line = "    keepers_price: Mapped[float]\n"
    path.write_text(
        path.read_text().replace(line, f"{mark}    # speaks floats\n    # alone\n{line}")
    )
    result = run_script(*CONCISE, "shop.people", cwd=project)
    assert (result.returncode, result.stdout) == (0, "")
    # A statement or an empty line between them ends the comment.
    path.write_text(path.read_text().replace("    # alone\n", "\n"))
    result = run_script(*CONCISE, "shop.people", cwd=project)
    assert "float-money: " in result.stdout
    assert "unused-ignore: " in result.stdout


# --- Exit codes and what programs read ------------------------------------------------------------


def test_severity_hides_and_decides_nothing(project: Path) -> None:
    given = ("--select", "float-money", "shop.people")
    result = run_script("--severity", "error", *given, cwd=project)
    assert (result.returncode, result.stdout) == (1, "")
    assert "0 findings (0 error, 0 warning, 0 info); 1 below --severity error not shown" in (
        result.stderr
    )
    result = run_script("--severity", "error", "--fail-on", "error", *given, cwd=project)
    assert result.returncode == 0
    result = run_script("--severity", "error", "--output-format", "json", *given, cwd=project)
    assert json.loads(result.stdout)["summary"]["below_severity"] == 1
    # Known ones decide nothing either, whatever was shown when they were written.
    run_script("--severity", "error", "--write-baseline", "known.json", *given, cwd=project)
    assert run_script("--baseline", "known.json", *given, cwd=project).returncode == 0


def test_programs_are_told_what_was_not_looked_at(project: Path) -> None:
    for arguments in ((), ("--statistics",)):
        result = run_script(*arguments, "--output-format", "json", "nomodule", cwd=project)
        document = json.loads(result.stdout)
        assert result.returncode == 2
        (problem,) = document["problems"]
        assert problem.startswith("received nomodule, and importing it failed")
        last = result.stderr.splitlines()[-1]
        assert "not all could be looked at (1 problems, see above)" in last
    result = run_script("--output-format", "sarif", "nomodule", cwd=project)
    (invocation,) = json.loads(result.stdout)["runs"][0]["invocations"]
    assert invocation["executionSuccessful"] is False
    assert problem in invocation["toolExecutionNotifications"][0]["message"]["text"]
    for name in ("json", "sarif"):
        result = run_script("--output-format", name, "shop.people", cwd=project)
        document = json.loads(result.stdout)
        if name == "json":
            assert document["problems"] == []
        else:
            assert document["runs"][0]["invocations"] == [{"executionSuccessful": True}]
    assert "not all could be looked at" not in result.stderr


def test_statistics_for_programs(project: Path) -> None:
    given = ("--select", "float-money", "--statistics", "--output-format")
    result = run_script(*given, "json", "shop", cwd=project)
    document = json.loads(result.stdout)
    assert document["statistics"] == {"float-money": 2}
    assert document["summary"]["total"] == 2
    assert "findings" not in document
    result = run_script(*given, "sarif", "shop", cwd=project)
    assert (result.returncode, result.stdout) == (2, "")
    assert "received --statistics and --output-format sarif" in result.stderr


def test_validate_wants_a_target() -> None:
    with pytest.raises(TargetError, match=r"received validate\(\) without a target"):
        validate()


@pytest.mark.parametrize("name", COMMAND_ALONE)
def test_what_one_run_decides_is_no_setting(tmp_path: Path, name: str) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(f"[tool.validate-models]\n{name} = true\n")
    with pytest.raises(TargetError) as caught:
        read(path)
    assert str(caught.value) == (
        f"received the setting {name!r} in {path}, line 2.\n"
        "expected: that option on the command line alone, where each run decides\n"
        f"try: --{name}"
    )


def test_a_glob_that_matches_nothing_is_mended_as_a_glob(project: Path) -> None:
    with (project / "pyproject.toml").open("a") as file:
        file.write(
            "[tool.validate-models]\ntargets = ['shop']\n[tool.validate-models."
            "per-attribute-ignores]\n"
            "'Keper.price' = ['float-money']\n'keepers.gone' = ['drift-column']\n"
        )
    result = run_script("--select", "unused-ignore,float-money", "--output-format", "json",
                        cwd=project)  # fmt: skip
    found = [
        item for item in json.loads(result.stdout)["findings"] if item["rule"] == "unused-ignore"
    ]
    # What only a database may have is not judged without one.
    (item,) = found
    assert item["message"] == "per-attribute-ignores 'Keper.price' matches nothing"
    assert "Model.attribute or table.column" in item["fix"]
    assert item["url"].endswith("/fnmatch.html")


def test_a_broken_baseline_is_restored_and_not_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    path.write_text("{")
    result = run_script("--baseline", path, "examples.models")
    assert result.returncode == 2
    assert f"try: restore it, for example git checkout -- {path}" in result.stderr
    assert "anew" not in result.stderr
