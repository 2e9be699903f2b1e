"""The command line: targets, places, formats, exit codes; what goes wrong, without a traceback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.scripts.test_validate_models.samples import PRELUDE, ROOT, SCRIPT, run_script

# isort: split
from validate_models.api import validate
from validate_models.core import SEVERITIES, Finding, all_rules
from validate_models.report import render
from validate_models.targets import TargetError

FAULT = """
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default="now()")
"""
RIGHT = FAULT.replace('"now()"', "func.now()")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with its models in ``src/shop/models.py``, without ``__init__.py``."""
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'shop'\n")
    package = tmp_path / "src" / "shop"
    package.mkdir(parents=True)
    (package / "base.py").write_text(PRELUDE)
    (package / "models.py").write_text(f"from shop.base import *\n\n{FAULT}")
    return tmp_path


def test_a_finding_has_its_place_and_its_cure(project: Path) -> None:
    result = run_script("shop.models", cwd=project)
    assert result.returncode == 1, result.stderr
    assert result.stdout.startswith(
        "error[quoted-sql-default]: the default is the text 'now()': "
        "it is frozen at the moment of CREATE TABLE, or refused\n"
        "  --> src/shop/models.py:8:5\n"
    )
    assert '8 |     created_at: Mapped[datetime] = mapped_column(server_default="now()")\n' in (
        result.stdout
    )
    assert "  |     ^^^^^^^^^^\n" in result.stdout
    assert "= why: " in result.stdout
    assert "= fix: Write server_default=func.now()" in result.stdout
    assert "1 mappers, 1 tables: 1 findings (1 error, 0 warning, 0 info)" in result.stderr


@pytest.mark.parametrize(
    "target",
    ["shop.models", "shop", "shop.models:Base", "shop.models:Ticket", "src/shop/models.py", "src"],
)
def test_every_kind_of_target(project: Path, target: str) -> None:
    result = run_script("--output-format", "concise", target, cwd=project)
    assert result.stdout.startswith("src/shop/models.py:8:5: error: quoted-sql-default: ")
    assert result.stdout.count("\n") == 1
    assert result.returncode == 1


def test_a_file_from_anywhere(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    result = run_script("--output-format", "concise", project / "src/shop/models.py", cwd=elsewhere)
    assert result.stdout.startswith("src/shop/models.py:8:5: error: quoted-sql-default: ")


def test_what_is_right_is_silent(project: Path) -> None:
    (project / "src/shop/models.py").write_text(f"from shop.base import *\n\n{RIGHT}")
    result = run_script("shop.models", cwd=project)
    assert (result.returncode, result.stdout) == (0, "")
    assert "0 findings" in result.stderr


def test_our_own_models_are_clean() -> None:
    for target in ("examples", "examples.models", "benchmarks"):
        # Of what must be asked for, some is opinion: an index more, a user_id that is a log's.
        for asked in (
            (),
            ("--select", "all", "--severity", "warning"),
            ("--select", "implicit-lazy-load,no-reverse"),
        ):
            result = run_script(*asked, target)
            assert (result.returncode, result.stdout) == (0, ""), result.stderr


def test_what_the_import_prints_goes_to_stderr(project: Path) -> None:
    noise = "import os\nprint('hello')\nos.system('echo from a child')\n"
    path = project / "src/shop/models.py"
    path.write_text(noise + path.read_text())
    result = run_script("--output-format", "json", "shop.models", cwd=project)
    assert json.loads(result.stdout)["summary"]["total"] == 1
    assert "hello" in result.stderr
    assert "from a child" in result.stderr


def test_json(project: Path) -> None:
    result = run_script("--output-format", "json", "shop.models", cwd=project)
    document = json.loads(result.stdout)
    assert document["version"] == 1
    numbers = {"total": 1, "shown": 1, "below_severity": 0}
    assert document["summary"] == {**numbers, "error": 1, "warning": 0, "info": 0}
    (found,) = document["findings"]
    assert set(found) == {
        *("rule", "severity", "message", "why", "fix", "path", "line", "column"),
        *("model", "table", "attribute", "fingerprint", "url"),
    }
    place = (found["path"], found["line"], found["column"])
    assert place == ("src/shop/models.py", 8, 5)
    assert (found["model"], found["table"], found["attribute"]) == (
        "Ticket",
        "tickets",
        "created_at",
    )


def test_a_fingerprint_outlives_a_move(project: Path) -> None:
    def fingerprints() -> list[str]:
        result = run_script("--output-format", "json", "--select", "all", "shop", cwd=project)
        return [item["fingerprint"] for item in json.loads(result.stdout)["findings"]]

    path = project / "src/shop/models.py"
    before = fingerprints()
    path.write_text("# moved down\n\n" + path.read_text())
    assert before
    assert fingerprints() == before
    assert len(set(before)) == len(before)


def test_github(project: Path) -> None:
    result = run_script("--output-format", "github", "shop.models", cwd=project)
    assert result.stdout.startswith(
        "::error file=src/shop/models.py,line=8,col=5,title=quoted-sql-default::the default is"
    )
    assert result.stdout.count("\n") == 1


def test_sarif(project: Path) -> None:
    result = run_script("--output-format", "sarif", "shop.models", cwd=project)
    document = json.loads(result.stdout)
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    (found,) = run["results"]
    assert run["tool"]["driver"]["rules"][found["ruleIndex"]]["id"] == found["ruleId"]
    place = found["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "src/shop/models.py"
    assert place["region"] == {"startLine": 8, "startColumn": 5}


def sarif_faults(document: Any) -> list[str]:
    """What the schema of SARIF 2.1.0 says against *document*; the file names its source."""
    schema = json.loads((Path(__file__).parent / "sarif-2.1.0.schema.json").read_text())
    checker = jsonschema.Draft4Validator.FORMAT_CHECKER
    validator = jsonschema.Draft4Validator(schema, format_checker=checker)
    return [error.message for error in validator.iter_errors(document)]


def test_sarif_holds_to_its_schema(project: Path) -> None:
    """With findings of every severity, and a path with a space."""
    rules = all_rules()
    samples = [rules["reserved-word"].bad, rules["float-money"].bad, FAULT]
    for number, sample in enumerate(samples):
        folder = project / f"part {number}"
        folder.mkdir()
        (folder / "models.py").write_text(PRELUDE + sample)
    result = run_script("--output-format", "sarif", "--select", "all", ".", cwd=project)
    document = json.loads(result.stdout)
    assert sarif_faults(document) == []
    (run,) = document["runs"]
    assert {item["level"] for item in run["results"]} == {"error", "warning", "note"}
    uris = {
        place["physicalLocation"]["artifactLocation"]["uri"]
        for item in run["results"]
        for place in item.get("locations", [])
    }
    assert "part%200/models.py" in uris
    marks = [item["partialFingerprints"]["validateModels/v1"] for item in run["results"]]
    assert len(set(marks)) == len(marks)


def test_sarif_without_a_place_or_a_finding() -> None:
    marks = dict.fromkeys(("path", "line", "column", "model", "table", "attribute"), None)
    nowhere = Finding("int4-key", "info", "m", "w", "f", **marks, fingerprint="0", url="https://x")
    for findings in ([nowhere], []):
        document = json.loads(render("sarif", findings, 9, all_rules()))
        assert sarif_faults(document) == []
        assert all("locations" not in item for item in document["runs"][0]["results"])


def test_the_schema_finds_faults(project: Path) -> None:
    result = run_script("--output-format", "sarif", "shop.models", cwd=project)
    spoils: list[Callable[[Any], Any]] = [
        lambda run: run["results"][0].update(level="fatal"),
        lambda run: run["results"][0].pop("message"),
        lambda run: run["results"][0].update(ruleIndex=-2),
        lambda run: run["tool"]["driver"].pop("name"),
        lambda run: run.update(extra=1),
    ]
    for spoil in spoils:
        document = json.loads(result.stdout)
        spoil(document["runs"][0])
        assert len(sarif_faults(document)) == 1


def test_paths_for_github_begin_at_the_repository(project: Path) -> None:
    """A project within a repository of several: annotations and alerts need the whole way."""
    service = project / "services" / "desk"
    service.mkdir(parents=True)
    (project / ".git").write_text("gitdir: elsewhere\n")
    (service / "pyproject.toml").write_text("")
    (service / "models.py").write_text(PRELUDE + FAULT)
    whole = "services/desk/models.py"
    assert f"::error file={whole}," in (
        run_script("--output-format", "github", "models", cwd=service).stdout
    )
    assert f'"uri": "{whole}"' in (
        run_script("--output-format", "sarif", "models", cwd=service).stdout
    )
    concise = run_script("--output-format", "concise", "models", cwd=service).stdout
    assert concise.startswith("models.py:")


def test_severities_and_exit_codes(project: Path) -> None:
    for arguments, code in (
        (["--fail-on", "error"], 1),
        (["--exit-zero"], 0),
        (["--ignore", "quoted-sql-default"], 0),
        (["--ignore", "defaults"], 0),
        (["--select", "types"], 0),
        (["--select", "defaults,types"], 1),
    ):
        assert run_script(*arguments, "shop.models", cwd=project).returncode == code, arguments


def test_information_does_not_fail(tmp_path: Path) -> None:
    path = tmp_path / "models.py"
    path.write_text(PRELUDE + all_rules()["reserved-word"].bad)
    assert run_script(path).returncode == 0
    assert run_script("--fail-on", "info", path).returncode == 1
    shown = run_script("--severity", "warning", path)
    assert shown.stdout == ""


def test_the_report_is_bounded(tmp_path: Path) -> None:
    columns = "".join(
        f"    at_{n}: Mapped[datetime] = mapped_column(DateTime)\n" for n in range(120)
    )
    head = "class Ticket(Base):\n    __tablename__ = 't'\n"
    path = tmp_path / "models.py"
    path.write_text(
        f"{PRELUDE}{head}    id: Mapped[int] = mapped_column(primary_key=True)\n{columns}"
    )
    result = run_script("--output-format", "concise", path)
    assert len(result.stdout.splitlines()) == 100
    assert "20 not shown, see --max-findings" in result.stderr
    assert (
        len(
            run_script(
                "--max-findings", "3", "--output-format", "concise", path
            ).stdout.splitlines()
        )
        == 3
    )
    assert run_script("--statistics", path).stdout.split() == ["120", "naive-timestamp"]


def test_a_comment_with_a_reason_ignores(project: Path) -> None:
    path = project / "src/shop/models.py"
    text = path.read_text().rstrip("\n")
    mark = "  # validate-models: ignore[quoted-sql-default]"
    path.write_text(f"{text}{mark} a test of the database itself\n")
    assert run_script("shop.models", cwd=project).returncode == 0
    path.write_text(f"{text}{mark}\n")
    result = run_script("shop.models", cwd=project)
    assert result.returncode == 1
    assert "(an ignore comment needs a reason)" in result.stdout


IGNORED = """
class Ticket(Base):
    __tablename__ = "tickets"

    id: Mapped[int] = mapped_column(primary_key=True)
    # validate-models: ignore[float-money, naive-timestamp] a comment above counts
    price: Mapped[float]
    weight: Mapped[float]  # validate-models: ignore[float-money] no money
    rate: Mapped[float]  # validate-models: ignore[flaot-money] misspelt
    title: Mapped[str]  # validate-models: ignore[reserved-word]
    text: Mapped[str] = mapped_column(default="# validate-models: ignore[float-money] no comment")
"""


def unused(result: subprocess.CompletedProcess[str]) -> list[str]:
    """Line and rule of the comments that ignore nothing."""
    lines = [line for line in result.stdout.splitlines() if "unused-ignore" in line]
    return [f"{line.split(':')[1]} {line.split(': ')[3].split()[0]}" for line in lines]


def test_unused_ignores_are_told(project: Path) -> None:
    path = project / "src/shop/models.py"
    path.write_text(f"from shop.base import *\n\n{IGNORED}")
    concise = ("--output-format", "concise")
    result = run_script(*concise, "shop.models", cwd=project)
    told = ["8 naive-timestamp", "10 float-money", "11 flaot-money", "12 reserved-word"]
    assert unused(result) == told
    assert result.returncode == 1
    # A rule that was not asked is not judged; what the class or the base narrows is.
    result = run_script(*concise, "--ignore", "types", "shop.models", cwd=project)
    assert unused(result) == ["11 flaot-money", "12 reserved-word"]
    for target in ("shop.models:Ticket", "shop", "src/shop/models.py"):
        assert unused(run_script(*concise, target, cwd=project)) == told
    assert unused(run_script(*concise, "shop.base:Base", "shop.models", cwd=project)) == told


def test_what_was_left_out_is_not_judged(project: Path) -> None:
    """Another base, a class that cannot be configured, a module that cannot be imported."""
    other = (
        "\n\nclass Second(DeclarativeBase): pass\n\n\nclass Tag(Second):\n"
        "    __tablename__ = 'tags'\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    price: Mapped[float]  # validate-models: ignore[float-money] of the bank\n"
        "    fee: Mapped[Decimal]  # validate-models: ignore[float-money] was one\n"
    )
    path = project / "src/shop/models.py"
    path.write_text(f"from shop.base import *\n\n{RIGHT}{other}")
    concise = ("--output-format", "concise")
    assert unused(run_script(*concise, "shop.models:Base", cwd=project)) == []
    assert unused(run_script(*concise, "shop.models:Second", cwd=project)) == ["18 float-money"]
    assert unused(run_script(*concise, "shop.models", cwd=project)) == ["18 float-money"]
    broken = "    files: Mapped[list['Nobody']] = relationship()\n"
    path.write_text(path.read_text() + broken)
    assert unused(run_script(*concise, "shop.models", cwd=project)) == []
    path.write_text(path.read_text().removesuffix(broken))
    (project / "src/shop/more.py").write_text("1 / 0  # mapped_column\n")
    assert unused(run_script(*concise, "shop", cwd=project)) == []


def test_the_place_is_the_mixin_that_has_it(project: Path) -> None:
    (project / "src/shop/mixins.py").write_text(
        "from shop.base import *\n\n\nclass Dated:\n"
        "    created_at: Mapped[datetime] = mapped_column(server_default='now()')\n"
    )
    (project / "src/shop/models.py").write_text(
        "from shop.base import *\nfrom shop.mixins import Dated\n\n\n"
        "class Ticket(Dated, Base):\n    __tablename__ = 'tickets'\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
    )
    result = run_script("--output-format", "concise", "shop.models", cwd=project)
    assert result.stdout.startswith("src/shop/mixins.py:5:5: error: quoted-sql-default")


def test_core_tables_and_imperative_mappings(project: Path) -> None:
    (project / "src/shop/models.py").write_text(
        "from shop.base import *\n\nmappers = registry()\n"
        "tickets = Table(\n    'tickets',\n    mappers.metadata,\n"
        "    Column('id', BigInteger, primary_key=True),\n"
        "    Column('made', DateTime(timezone=True), server_default='now()'),\n)\n\n\n"
        "class Ticket:\n    pass\n\n\nmappers.map_imperatively(Ticket, tickets)\n"
        "logs = Table('logs', MetaData(), Column('at', DateTime, primary_key=True))\n"
    )
    result = run_script("--output-format", "concise", "shop.models", cwd=project)
    places = [line.partition(" ")[0] for line in result.stdout.splitlines()]
    assert places == ["src/shop/models.py:8:5:", "src/shop/models.py:17:34:"]


# --- What goes wrong ------------------------------------------------------------------------------


def test_a_broken_mapper_does_not_hide_the_rest(project: Path) -> None:
    broken = (
        "\n\nclass Broken(Base):\n    __tablename__ = 'broken'\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    files: Mapped[list['Nobody']] = relationship()\n"
        "\n\nclass Worse(Base):\n    __tablename__ = 'worse'\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    broken: Mapped[Broken] = relationship()\n"
    )
    path = project / "src/shop/models.py"
    path.write_text(path.read_text() + broken)
    result = run_script("--output-format", "concise", "shop.models", cwd=project)
    rules = [line.split(": ")[2] for line in result.stdout.splitlines()]
    assert rules == ["quoted-sql-default", "broken-mapper", "broken-mapper"]
    assert "src/shop/models.py:14:5: error: broken-mapper: Broken cannot" in result.stdout
    assert "src/shop/models.py:20:5: error: broken-mapper: Worse cannot" in result.stdout
    assert result.returncode == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_of_this_name", "the project's own interpreter"),
        ("import os\nos.environ['SHOP_URL']", "--set SHOP_URL=VALUE"),
        ("raise SystemExit(3)", "this one ends the program when imported"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def (", "SyntaxError"),
        ("raise ValueError('postgresql://me:secret@host/x')", "postgresql://me:***@host/x"),
    ],
)
def test_an_import_that_fails_is_told(project: Path, code: str, said: str) -> None:
    (project / "src/shop/models.py").write_text(code + "\n")
    result = run_script("shop.models", cwd=project)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert "secret" not in result.stderr
    for word in ("received shop.models", "expected: ", "try: "):
        assert word in result.stderr


def test_settings_are_set(project: Path) -> None:
    path = project / "src/shop/models.py"
    path.write_text("import os\nassert os.environ['SHOP_URL'] == 'x=y'\n" + path.read_text())
    assert run_script("shop.models", cwd=project).returncode == 2
    assert run_script("--set", "SHOP_URL=x=y", "shop.models", cwd=project).returncode == 1
    (project / ".env").write_text("# a comment\nexport SHOP_URL='x=y'\n")
    assert run_script("--env-file", ".env", "shop.models", cwd=project).returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing.of.this.name"],
        ["no/such/file.py"],
        ["examples.models:Nobody"],
        ["json"],
        ["--select", "quoted-sql", "examples.models"],
        ["--ignore", "nobody", "examples.models"],
        ["--explain", "quoted-sql-defalt"],
        ["--explain", "types"],
        ["--severity", "bad", "examples.models"],
        ["--fail-on", "never", "examples.models"],
        ["--max-findings", "-1", "examples.models"],
        ["--max-findings", "many", "examples.models"],
        ["--set", "NAME", "examples.models"],
        ["--env-file", "no/such/file", "examples.models"],
        ["--root", "no/such/folder", "examples.models"],
        ["--output-format", "xml", "examples.models"],
        ["\x00"],
        ["a b"],
    ],
    ids=lambda arguments: " ".join(arguments).replace("\x00", "NUL") or "nothing",
)
def test_wrong_usage_is_told(arguments: list[str]) -> None:
    if "\x00" in arguments:
        arguments = ["..."]
    result = run_script(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    assert "try: " in result.stderr or "usage: " in result.stderr


def test_a_rule_that_fails_is_no_clean_bill(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_project: Any) -> Any:
        raise RuntimeError("no idea")

    from dataclasses import replace

    from validate_models import api

    broken = replace(all_rules()["int4-key"], check=fail)
    monkeypatch.setattr(api, "all_rules", lambda: {"int4-key": broken})
    outcome = api.run(["examples.models"], root=ROOT)
    assert outcome.findings == []
    assert "the rule int4-key could not be proved: RuntimeError: no idea" in outcome.problems[0]


# --- The rules by name ----------------------------------------------------------------------------


def test_the_rules_are_listed() -> None:
    listed = run_script("--list-rules")
    assert len(listed.stdout.splitlines()) == len(all_rules())
    document = json.loads(run_script("--list-rules", "--output-format", "json").stdout)
    assert [item["rule"] for item in document["rules"]] == list(all_rules())
    assert {item["severity"] for item in document["rules"]} == set(SEVERITIES)
    assert not all(item["default"] for item in document["rules"])


def test_a_rule_explains_itself() -> None:
    told = run_script("--explain", "quoted-sql-default")
    assert told.returncode == 0
    for word in ("why: ", "fix: ", "wrong:", "right:", "see: https://"):
        assert word in told.stdout
    assert "# found" not in told.stdout


# --- Anywhere -------------------------------------------------------------------------------------


def test_a_bare_copy_runs_with_the_standard_library_and_sqlalchemy(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """From a path with a space, isolated from the environment, and as a module."""
    copy = tmp_path_factory.mktemp("a copy")
    shutil.copy(SCRIPT, copy)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(SCRIPT.parent / "validate_models", copy / "validate_models", ignore=ignore)
    command = [sys.executable, "-I", str(copy / SCRIPT.name), "shop.models"]
    result = subprocess.run(command, cwd=project, check=False, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    code = (
        f"import sys; sys.path.insert(0, {str(copy)!r}); "
        "from validate_models.__main__ import main; sys.exit(main(['shop.models']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=project, check=False, capture_output=True, text=True
    )
    assert result.returncode == 1, result.stderr


def test_no_module_but_the_named_is_imported() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import sqlalchemy.orm, "
        "sqlalchemy.ext.hybrid, sqlalchemy.dialects.postgresql; before = set(sys.modules); "
        "from validate_models import api, report, __main__; api.all_rules(); "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    result = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert result.strip() == "['validate_models']"


def test_the_desk_is_clean_to_the_last_rule() -> None:
    """What it lives with stands in pyproject.toml, with the reason; an ignore too many is told."""
    result = run_script("--select", "all", "--fail-on", "info", "examples", cwd=ROOT)
    assert (result.returncode, result.stdout) == (0, ""), result.stdout


def test_from_a_test() -> None:
    from examples.models import Base

    assert validate(Base) == []
    assert validate("examples.models", select=["all"]) == []
    with pytest.raises(TargetError, match="received 3"):
        validate(3)
