"""Where the project is, which revisions it has, and when it may not get a new one."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from sqlalchemy import URL, text

from tests.scripts.test_generate_migration.projects import (
    FIRST,
    SECOND,
    committed,
    git,
    revision,
    shop,
    write,
)

# isort: split
from generate_migration.core import NOT_READY, USAGE, Refused
from generate_migration.project import (
    Project,
    after,
    find,
    folder_of,
    inside,
    names_in,
    require_one_head,
)
from generate_migration.run import Runner, below
from generate_migration.scratch import with_connection
from generate_migration.state import (
    changed,
    heads_in,
    require_at_head,
    require_committed,
    uncommitted,
)

THIRD = "cccc00000003"


def project_of(ini: Path) -> Project:
    """The project at *ini*, from its folder."""
    return find(ini, ini.parent, "alembic", ())


def test_it_is_found_upward(tmp_path: Path) -> None:
    ini = shop(tmp_path)
    below_it = ini.parent / "migrations" / "versions"
    found = find(None, below_it, "alembic", ())
    assert (found.file, found.folder) == (ini, ini.parent)
    assert [each.revision for each in after(found.scripts(), "base")] == [FIRST]


def test_pyproject_toml(tmp_path: Path) -> None:
    ini = shop(tmp_path)
    write(tmp_path / "db" / "pyproject.toml", "[tool.black]\n")
    assert find(None, ini.parent, "alembic", ()).file == ini
    ini.unlink()
    with pytest.raises(Refused):
        find(None, ini.parent, "alembic", ())
    settings = '[tool.alembic]\nscript_location = "%(here)s/migrations"\n'
    toml = write(tmp_path / "db" / "pyproject.toml", settings)
    found = find(None, ini.parent, "alembic", ())
    assert found.file == toml
    assert names_in(found.scripts())
    assert find(toml, tmp_path, "alembic", ()).folder == tmp_path
    assert found.config().config_file_name is None


def test_alembics_own_variable(tmp_path: Path) -> None:
    ini = shop(tmp_path)
    os.environ["ALEMBIC_CONFIG"] = str(ini)
    assert find(None, Path("/"), "alembic", ()).file == ini


def test_options_reach_env_py(tmp_path: Path) -> None:
    project = find(shop(tmp_path), tmp_path, "alembic", ("tenant=a", "dry=1"))
    options = project.config("revision", "--autogenerate", "-m", "x").cmd_opts
    assert options is not None
    assert (options.x, options.autogenerate, options.message) == (["tenant=a", "dry=1"], True, "x")
    plain = project.config("upgrade", "heads").cmd_opts
    assert plain is not None
    assert (plain.revision, plain.name) == ("heads", "alembic")


def test_a_relative_location_means_the_file_s_folder_or_ours(tmp_path: Path) -> None:
    """``alembic -c db/alembic.ini`` takes it from the working folder; many run it from db/."""
    ini = shop(tmp_path)
    ini.write_text(ini.read_text().replace("%(here)s/migrations", "migrations"))
    assert find(ini, tmp_path, "alembic", ()).folder == ini.parent
    ini.write_text(ini.read_text().replace("= migrations", "= db/migrations"))
    assert find(ini, tmp_path, "alembic", ()).folder == tmp_path


def test_the_command_is_what_one_would_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ini = shop(tmp_path / "a shop")
    monkeypatch.chdir(tmp_path)
    assert Project(ini, tmp_path).command == "alembic -c 'a shop/db/alembic.ini'"
    monkeypatch.chdir(ini.parent)
    assert Project(ini, tmp_path, "other").command == "alembic -n other"


@pytest.mark.parametrize(
    ("change", "exit_code", "said"),
    [
        ("gone", USAGE, "there is no such file"),
        ("[alembic]\nno equals sign", NOT_READY, "line 2 is neither .*\n.*\ntry: mend .*ini:2"),
        ("sqlalchemy.url = x\n", NOT_READY, "line 1 stands before .*\n.*\ntry: mend .*ini:1: "),
        ("[alembic]\n\nscript_location = a%b\n", NOT_READY, "write %% for each %(.*\n)*.*ini:3"),
        ("[other]\n", NOT_READY, "it cannot be read"),
        ("[alembic]\nscript_location = x\ndatabases = a, b\n", NOT_READY, "several databases"),
    ],
)
def test_settings_that_are_none(change: str, exit_code: int, said: str, tmp_path: Path) -> None:
    ini = tmp_path / "alembic.ini"
    if change != "gone":
        ini.write_text(change)
    with pytest.raises(Refused, match=said) as caught:
        find(ini, tmp_path, "alembic", ())
    assert caught.value.exit_code == exit_code
    assert "expected: " in str(caught.value)
    assert "try: " in str(caught.value)


def test_no_project(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="neither it nor one above it") as caught:
        find(None, tmp_path, "alembic", ())
    assert caught.value.exit_code == NOT_READY
    assert "alembic init" in str(caught.value)


def test_no_location(tmp_path: Path) -> None:
    ini = write(tmp_path / "alembic.ini", "[alembic]\n")
    project = project_of(ini)
    assert folder_of(project, tmp_path) == tmp_path
    with pytest.raises(Refused, match="No 'script_location'") as caught:
        project.scripts()
    assert caught.value.exit_code == NOT_READY


def test_a_location_that_is_no_folder(tmp_path: Path) -> None:
    ini = write(tmp_path / "alembic.ini", "[alembic]\n\nscript_location = %(here)s/nowhere\n")
    said = rf"ini:3, whose script_location is {tmp_path}/nowhere, and there is no such folder"
    with pytest.raises(Refused, match=said) as caught:
        project_of(ini).scripts()
    assert caught.value.exit_code == NOT_READY


@pytest.mark.parametrize("broken", ["1 / 0", "def (", "revision = 'x'"])
def test_a_broken_revision(broken: str, tmp_path: Path) -> None:
    ini = shop(tmp_path)
    path = write(tmp_path / "db" / "migrations" / "versions" / "broken.py", f"{broken}\n")
    with pytest.raises(Refused, match="whose revisions cannot be read") as caught:
        project_of(ini).scripts()
    assert f"{path}:1" in str(caught.value) or broken.startswith("revision")


def test_several_heads(tmp_path: Path) -> None:
    ini = shop(tmp_path)
    scripts = project_of(ini).scripts()
    require_one_head(project_of(ini), scripts, None)
    revision(tmp_path, SECOND, FIRST, message="Notes.")
    revision(tmp_path, THIRD, FIRST, message="Prices.")
    project = project_of(ini)
    with pytest.raises(Refused, match="received 2 heads") as caught:
        require_one_head(project, project.scripts(), None)
    assert caught.value.exit_code == NOT_READY
    assert f"{SECOND} (Notes.)" in str(caught.value)
    assert re.search(r'alembic .*merge heads -m "merge"', str(caught.value))
    require_one_head(project, project.scripts(), SECOND)


def test_the_revisions_since(tmp_path: Path) -> None:
    ini = shop(tmp_path)
    revision(tmp_path, SECOND, FIRST)
    revision(tmp_path, THIRD, SECOND)
    scripts = project_of(ini).scripts()
    names = [each.revision for each in after(scripts, "base")]
    assert names == [FIRST, SECOND, THIRD]
    assert [each.revision for each in after(scripts, FIRST[:6])] == [SECOND, THIRD]
    assert after(scripts, THIRD) == []
    for wrong in ("dddd", "", "head+1", "'"):
        with pytest.raises(Refused, match="received --since"):
            after(scripts, wrong)


def test_down_from_a_merge_and_from_a_root(tmp_path: Path, empty: URL) -> None:
    """One revision alone is undone; what stands beside it stays."""
    ini = shop(tmp_path)
    revision(tmp_path, SECOND, FIRST)
    revision(tmp_path, THIRD, FIRST)
    revision(tmp_path, "dddd00000004", (SECOND, THIRD))
    revision(tmp_path, "eeee00000005", None)
    project = project_of(ini)
    runner = Runner(project)
    with inside(project):
        runner.upgrade(empty, "heads")
        for name, left in (
            ("dddd00000004", {SECOND, THIRD, "eeee00000005"}),
            ("eeee00000005", {SECOND, THIRD}),
            (THIRD, {SECOND}),
            (SECOND, {FIRST}),
            (FIRST, set()),
        ):
            runner.downgrade(empty, name)
            assert set(heads_in(empty, "alembic_version", None)) == left
    assert below(project.scripts().get_revision(FIRST)) == f"{FIRST}@base"


# --- git ------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A project under git, with one revision committed."""
    folder = tmp_path / "a répository"
    shop(folder)
    committed(folder)
    return folder


def files(folder: Path) -> list[Path]:
    """The revisions of the project there."""
    return sorted((folder / "db" / "migrations" / "versions").glob("*.py"))


def test_uncommitted_revisions(repository: Path) -> None:
    assert uncommitted(files(repository)) == []
    path = revision(repository, SECOND, FIRST)
    write(repository / "src" / "shop" / "other.py", "")
    assert uncommitted(files(repository)) == [path]
    project = project_of(repository / "db" / "alembic.ini")
    with pytest.raises(Refused, match="1 uncommitted revision:") as caught:
        require_committed(project, files(repository))
    assert str(path) in str(caught.value)
    assert "--allow-uncommitted" in str(caught.value)
    git(repository, "add", ".")
    assert uncommitted(files(repository)) == [path]
    git(repository, "commit", "-q", "-m", "second")
    assert uncommitted(files(repository)) == []
    path.write_text(path.read_text() + "# changed\n")
    assert uncommitted(files(repository)) == [path]


def test_without_git_nothing_is_uncommitted(tmp_path: Path) -> None:
    shop(tmp_path)
    assert uncommitted(files(tmp_path)) == []
    assert changed(files(tmp_path)) is None
    git(tmp_path, "init", "-q")  # and no commit
    assert uncommitted(files(tmp_path)) == []
    assert changed(files(tmp_path)) is None


def test_what_is_new_against_the_default_branch(repository: Path) -> None:
    assert changed(files(repository)) == ([], "main")
    git(repository, "checkout", "-q", "-b", "topic")
    path = revision(repository, SECOND, FIRST)
    assert changed(files(repository)) == ([path], "main")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "second")
    assert changed(files(repository)) == ([path], "main")
    # Main goes on meanwhile: what is new there is not ours.
    git(repository, "checkout", "-q", "main")
    revision(repository, THIRD, FIRST)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "third")
    git(repository, "checkout", "-q", "topic")
    assert changed(files(repository)) == ([path], "main")
    git(repository, "branch", "-q", "-m", "main", "trunk")
    assert changed(files(repository)) is None


# --- A database -----------------------------------------------------------------------------------


def test_a_database_that_is_not_at_head(repository: Path, empty: URL) -> None:
    revision(repository, SECOND, FIRST)
    project = project_of(repository / "db" / "alembic.ini")
    table = ("alembic_version", None)

    def look() -> None:
        require_at_head(project, empty, [SECOND], {FIRST, SECOND}, table)

    with pytest.raises(Refused, match="at no revision") as caught:
        look()
    assert "upgrade head; or stamp head" in str(caught.value)
    runner = Runner(project)
    with inside(project):
        runner.upgrade(empty, FIRST)
        with pytest.raises(
            Refused, match=f"at {FIRST}\nexpected: at {SECOND}\ntry: .*upgrade head"
        ):
            look()
        runner.upgrade(empty, SECOND)
    look()

    def stamp(connection: object) -> None:
        connection.execute(text("UPDATE alembic_version SET version_num = 'ffff'"))  # type: ignore[attr-defined]
        connection.commit()  # type: ignore[attr-defined]

    with_connection(empty, stamp)
    with pytest.raises(Refused, match="a branch of git that has ffff") as caught:
        look()
    assert caught.value.exit_code == NOT_READY
    assert f":{empty.password}@" not in str(caught.value)


def test_a_database_that_does_not_answer(repository: Path) -> None:
    project = project_of(repository / "db" / "alembic.ini")
    url = URL.create("postgresql+psycopg", "u", "hush-hush", "127.0.0.1", 1, "d")
    with pytest.raises(Refused, match="received --database-url") as caught:
        require_at_head(project, url, [FIRST], {FIRST}, ("alembic_version", None))
    assert caught.value.exit_code == USAGE
    assert "hush" not in str(caught.value)
