"""Each form in which the skill is installed, as it comes out of the tools that make it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.pages.blocks import broken_links
from tools.build_skill import build, pack
from tools.pages import routes

ROOT = Path(__file__).resolve().parent.parent
NAME = "sqlalchemy-orm-expert"
FORMS = ("folder", "zip", "without __init__.py", "wheel")
SKILL_IN_WHEEL = f"sqlalchemy_orm_expert/.agents/skills/{NAME}"
COMMANDS = ("validate-models", "test-connection", "generate-migration", "start-postgres")
MODELS = """\
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

class Base(DeclarativeBase):
    pass

class Ticket(Base):
    __tablename__ = "tickets"
    id: Mapped[int] = mapped_column(primary_key=True)
    opened: Mapped[str] = mapped_column(server_default="now()")
"""

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made as an installer makes it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def forms(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The skill's folder in each form, and ``site``, where the wheel is installed."""
    made = {form: tmp_path_factory.mktemp("form") / NAME for form in FORMS[:3]}
    build(made["folder"])
    with zipfile.ZipFile(pack(made["folder"])) as archive:
        archive.extractall(made["zip"].parent)
    # As some installers leave it.
    shutil.copytree(made["folder"], made["without __init__.py"])
    for path in made["without __init__.py"].rglob("__init__.py"):
        path.unlink()
    made["site"] = tmp_path_factory.mktemp("site packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(made["site"])
    made["wheel"] = made["site"] / SKILL_IN_WHEEL
    return made


def run(*command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in *folder*, which is nobody's project."""
    return subprocess.run(
        command,
        cwd=folder,
        # The forms are shared: bytecode of one test is not what another finds in them.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_validator_takes_it(form: str, forms: dict[str, Path], tmp_path: Path) -> None:
    validator = (sys.executable, "-m", "skills_ref.cli", "validate")
    result = run(*validator, str(forms[form]), folder=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("form", FORMS)
def test_it_is_whole_and_holds_nothing_of_ours(form: str, forms: dict[str, Path]) -> None:
    skill = forms[form]
    top = {path.name for path in skill.iterdir()}
    files = {"SKILL.md", "AGENTS.md", "EXAMPLES.md", "LICENSE"}
    assert top == files | {"references", "examples", "scripts"}
    for page in skill.rglob("*.md"):
        assert "[[[" not in page.read_text(), page
        assert broken_links(page) == [], page
    assert not list(skill.rglob("__pycache__"))


def test_a_form_that_lost_a_page_would_be_seen(forms: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / NAME
    shutil.copytree(forms["folder"], copy)
    (copy / "references" / "sessions.md").unlink()
    assert "references/sessions.md" in broken_links(copy / "SKILL.md")


@pytest.mark.parametrize("form", FORMS)
def test_its_scripts_run_where_it_lies(form: str, forms: dict[str, Path], tmp_path: Path) -> None:
    scripts = forms[form] / "scripts"
    (tmp_path / "models.py").write_text(MODELS)
    command = [sys.executable, str(scripts / "validate-models.py"), "--output-format", "json"]
    result = run(*command, "models.py", folder=tmp_path)
    assert result.returncode == 1, result.stderr
    rules = {finding["rule"] for finding in json.loads(result.stdout)["findings"]}
    assert "quoted-sql-default" in rules
    for name in ("test-connection.py", "start-postgres.py"):
        result = run(sys.executable, str(scripts / name), "--help", folder=tmp_path)
        assert (result.returncode, result.stderr) == (0, "")
        assert "exit codes" in result.stdout
    # The shell finds the interpreter by itself, or is told.
    migration = ("sh", str(scripts / "generate-migration.sh"), "--help")
    result = run(*migration, folder=tmp_path, PYTHON=sys.executable)
    assert (result.returncode, result.stderr) == (0, "")
    assert "exit codes" in result.stdout


def test_the_zip_has_one_folder_and_the_right_to_run(forms: dict[str, Path]) -> None:
    archive = pack(forms["folder"])
    once = archive.read_bytes()
    with zipfile.ZipFile(archive) as opened:
        assert {name.partition("/")[0] for name in opened.namelist()} == {NAME}
        modes = {item.filename: item.external_attr >> 16 for item in opened.infolist()}
    assert modes[f"{NAME}/scripts/validate-models.py"] & 0o111
    assert not modes[f"{NAME}/SKILL.md"] & 0o111
    assert pack(forms["folder"]).read_bytes() == once, "of an equal folder an equal file"


def test_the_wheel_has_one_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"sqlalchemy_orm_expert"}
    assert not [name for name in names if "__pycache__" in name]
    for package in ("validate_models", "test_connection", "generate_migration"):
        assert f"sqlalchemy_orm_expert/{package}/py.typed" in names


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_wheel(command: str, forms: dict[str, Path], tmp_path: Path) -> None:
    entry = (
        "import sys; from importlib.metadata import entry_points; "
        "(found,) = entry_points(group='console_scripts', name=sys.argv.pop(1)); "
        "sys.exit(found.load()())"
    )
    site = str(forms["site"])
    called = (sys.executable, "-c", entry, command)
    result = run(*called, "--help", folder=tmp_path, PYTHONPATH=site)
    assert (result.returncode, result.stderr) == (0, "")
    assert "exit codes" in result.stdout
    result = run(
        sys.executable, "-c", entry, command, "--nonsense", folder=tmp_path, PYTHONPATH=site
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_the_wheel_serves_tests(forms: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(MODELS)
    code = (
        "from models import Base; from sqlalchemy_orm_expert.validate_models.api import validate; "
        "print(sorted({finding.rule for finding in validate(Base)}))"
    )
    result = run(sys.executable, "-c", code, folder=tmp_path, PYTHONPATH=str(forms["site"]))
    assert result.returncode == 0, result.stderr
    assert "quoted-sql-default" in result.stdout


def version() -> str:
    """Of the project."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: str = tomllib.load(file)["project"]["version"]
    return found


def test_one_version_everywhere(wheel: Path) -> None:
    assert f"-{version()}-" in wheel.name
    assert f'\n  version: "{version()}"\n' in (ROOT / "SKILL.md").read_text()
    assert marketplace()["metadata"]["version"] == version()


def marketplace() -> dict[str, Any]:
    """What offers the skill as a plugin."""
    found: dict[str, Any] = json.loads((ROOT / ".claude-plugin" / "marketplace.json").read_text())
    return found


def test_the_marketplace_offers_the_skill() -> None:
    """The shape is the documented one: no program that reads it can be had here."""
    offered = marketplace()
    assert offered["name"] == NAME
    assert offered["owner"]["name"]
    (plugin,) = offered["plugins"]
    assert plugin["name"] == NAME
    # Without a manifest of its own: the entry says all.
    assert plugin["strict"] is False
    (skill,) = plugin["skills"]
    assert plugin["source"].startswith("./")
    assert f"\nname: {NAME}\n" in (ROOT / plugin["source"] / skill / "SKILL.md").read_text()


def test_the_index_names_every_page() -> None:
    text = (ROOT / "AGENTS.md").read_text()
    assert len(text.encode()) < 8_000
    named = set(re.findall(r"references/[\w.-]+\.md", text))
    assert named == {f"references/{page.name}" for page in (ROOT / "references").glob("*.md")}
    for script in re.findall(r"scripts/[\w-]+\.\w+", text):
        assert (ROOT / script).is_file(), script


def test_a_row_of_several_pages_is_one_line() -> None:
    table = (
        "\n## Read by task\n\n| Task | Page |\n|---|---|\n| a, b | [x](r/x.md) |\n"
        "| `c` | [y](r/y.md), [z](r/z.md#t) |\n\n## Read by symptom\n\n| d | [x](r/x.md) |\n"
    )
    assert routes(table) == {("r/x.md",): ["a, b", "d"], ("r/y.md", "r/z.md"): ["`c`"]}
