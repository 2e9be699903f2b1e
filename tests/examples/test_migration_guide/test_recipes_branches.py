"""Branches and merges, each claim by Alembic itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import ProgrammingError

from examples.migration_guide.recipes.branches import (
    check_head,
    note_head,
    only_head,
    pending,
    rebase,
)
from tests.examples.test_migration_guide.projects import (
    Rev,
    config_of,
    project,
    tables,
    versions,
    write_revision,
)

# Ann and Bob both started at "start".
FORKED = {"start": Rev(), "ann": Rev("start"), "bob": Rev("start"), "bob2": Rev("bob")}


@pytest.fixture
def forked(tmp_path: Path, empty: str) -> Config:
    """Alembic on a project with two heads and an empty database."""
    return config_of(project(tmp_path / "a project", FORKED), empty)


def folder_of(config: Config) -> Path:
    """The project of *config*."""
    return Path(ScriptDirectory.from_config(config).dir)


def test_two_heads_stop_a_deployment(forked: Config, empty: str) -> None:
    with pytest.raises(CommandError, match="Multiple head revisions are present"):
        command.upgrade(forked, "head")
    with pytest.raises(CommandError, match=r"2 heads: ann \(Make ann\); bob2 \(Make bob2\)"):
        only_head(forked)
    command.upgrade(forked, "heads")
    assert tables(empty) == ["ann", "bob", "bob2", "start"]
    assert versions(empty) == ["ann", "bob2"]


def test_no_revision_is_no_head(tmp_path: Path, empty: str) -> None:
    with pytest.raises(CommandError, match="0 heads: no revision"):
        only_head(config_of(project(tmp_path / "new", {}), empty))


def test_a_merge_gives_each_deployment_what_it_lacks(forked: Config, empty: str) -> None:
    """One ran Ann's branch only: it gets Bob's, and nothing twice."""
    command.upgrade(forked, "ann")
    assert pending(forked, ["ann"]) == ["bob", "bob2"]
    command.merge(forked, "heads", message="merge", rev_id="merged")
    assert only_head(forked) == "merged"
    assert pending(forked, versions(empty)) == ["bob", "bob2", "merged"]
    command.upgrade(forked, "head")
    assert tables(empty) == ["ann", "bob", "bob2", "start"]
    assert versions(empty) == ["merged"]
    assert pending(forked, ["merged"]) == []
    # Nothing is known of a new one: all of it, parents first.
    every = pending(forked, [])
    assert every[0] == "start"
    assert every[-1] == "merged"
    assert every.index("bob") < every.index("bob2")


def test_a_merge_orders_nothing(tmp_path: Path, empty: str) -> None:
    """Where both alter one thing, one of the two must be changed by hand."""
    same = "op.execute('CREATE TABLE same (id int)')"
    both = {"start": Rev(), "ann": Rev("start", upgrade=same), "bob": Rev("start", upgrade=same)}
    config = config_of(project(tmp_path / "both", both), empty)
    command.merge(config, "heads", message="merge", rev_id="merged")
    with pytest.raises(ProgrammingError, match='relation "same" already exists'):
        command.upgrade(config, "head")


def test_below_a_merge_there_are_two_heads_again(forked: Config, empty: str) -> None:
    command.merge(forked, "heads", message="merge", rev_id="merged")
    command.upgrade(forked, "head")
    with pytest.raises(CommandError, match="Ambiguous walk"):
        command.downgrade(forked, "-1")
    # One of the two that it merged: the merge goes, and both stay.
    command.downgrade(forked, "ann")
    assert versions(empty) == ["ann", "bob2"]
    with pytest.warns(UserWarning, match="downgrade -1 from multiple heads is ambiguous"):
        command.downgrade(forked, "-1")
    command.upgrade(forked, "head")
    # A branch down to where it began: the other one stays.
    command.downgrade(forked, "ann@start")
    assert versions(empty) == ["bob2"]
    assert tables(empty) == ["bob", "bob2", "start"]


def test_a_revision_that_nobody_has_run_is_rebased(forked: Config, empty: str) -> None:
    command.upgrade(forked, "bob2")
    path = rebase(forked, "ann", "bob2")
    source = path.read_text()
    assert 'down_revision: str | tuple[str, ...] | None = "bob2"\n' in source
    assert "Revises: bob2\n" in source
    assert only_head(forked) == "ann"
    command.upgrade(forked, "head")
    assert tables(empty) == ["ann", "bob", "bob2", "start"]
    assert versions(empty) == ["ann"]


def test_what_follows_a_rebased_revision_moves_along(forked: Config, empty: str) -> None:
    rebase(forked, "bob", "ann")
    assert only_head(forked) == "bob2"
    assert pending(forked, []) == ["start", "ann", "bob", "bob2"]


def test_a_database_that_has_run_it_skips_the_others(forked: Config, empty: str) -> None:
    """The wrong way: its revision is taken back first, or nobody ever notices."""
    command.upgrade(forked, "ann")
    rebase(forked, "ann", "bob2")
    assert pending(forked, versions(empty)) == []
    command.upgrade(forked, "head")
    assert tables(empty) == ["ann", "start"]  # bob and bob2 are missing, and Alembic is content


def test_downgraded_before_it_gets_them(forked: Config, empty: str) -> None:
    command.upgrade(forked, "ann")
    command.downgrade(forked, "-1")
    rebase(forked, "ann", "bob2")
    command.upgrade(forked, "head")
    assert tables(empty) == ["ann", "bob", "bob2", "start"]


@pytest.mark.parametrize(
    ("revision", "onto"), [("start", "bob2"), ("bob", "bob2"), ("ann", "ann"), ("merged", "ann")]
)
def test_what_cannot_be_rebased_is_refused(forked: Config, revision: str, onto: str) -> None:
    command.merge(forked, "heads", message="merge", rev_id="merged")
    files = {path: path.read_text() for path in folder_of(forked).glob("versions/*.py")}
    with pytest.raises(CommandError, match=r"received \w+ to come after \w+; expected"):
        rebase(forked, revision, onto)
    assert {path: path.read_text() for path in files} == files


def test_an_unknown_revision_is_named(forked: Config) -> None:
    with pytest.raises(CommandError, match="nobody"):
        rebase(forked, "ann", "nobody")


def test_a_label_and_a_dependency(tmp_path: Path, empty: str) -> None:
    """Two parts that ship apart: each its own base and label; one needs a table of the other."""
    parts = {
        "desk1": Rev(labels=("desk",)),
        "desk2": Rev("desk1"),
        "billing1": Rev(labels=("billing",)),
        "billing2": Rev("billing1", depends="desk1"),
    }
    config = config_of(project(tmp_path / "parts", parts), empty)
    command.upgrade(config, "billing@head")
    assert tables(empty) == ["billing1", "billing2", "desk1"]
    # What it depends on is no head of its own there.
    assert versions(empty) == ["billing2"]
    # Else "Multiple heads are present": a new revision must name its part.
    with pytest.raises(CommandError, match="Multiple heads are present"):
        command.revision(config, "more")
    command.revision(config, "more", head="desk@head", rev_id="desk3")
    command.upgrade(config, "heads")
    assert versions(empty) == ["billing2", "desk3"]
    command.revision(config, "new", head="base", branch_label="search", rev_id="search1")
    command.upgrade(config, "search@head")
    assert versions(empty) == ["billing2", "desk3", "search1"]
    command.downgrade(config, "billing@base")
    assert tables(empty) == ["desk1", "desk2"]
    assert versions(empty) == ["desk3", "search1"]


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """git, as somebody without a configuration of his own."""
    nobody = {f"GIT_{who}_{what}": "ann@example.org" for who in ("AUTHOR", "COMMITTER")
              for what in ("NAME", "EMAIL")}  # fmt: skip
    environment = (
        os.environ | nobody | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    )
    environment = {key: value for key, value in environment.items() if key != "GIT_DIR"}
    return subprocess.run(
        ["git", *words], cwd=folder, env=environment, check=False, capture_output=True, text=True
    )


@pytest.mark.once
@pytest.mark.parametrize("noted", [False, True])
def test_a_file_with_the_head_makes_git_conflict(tmp_path: Path, empty: str, noted: bool) -> None:
    folder = project(tmp_path / "shared", {"start": Rev()})
    config = config_of(folder, empty)

    def commit(name: str) -> None:
        if noted:
            note_head(config)
        git(folder, "add", "--", "versions/*.py", *(["HEAD"] if noted else []))
        assert git(folder, "commit", "-m", name).returncode == 0

    assert git(folder, "init", "-b", "main").returncode == 0
    commit("start")
    for name in ("ann", "bob"):
        git(folder, "checkout", "-b", name, "main", "--")
        write_revision(folder, name, Rev("start"))
        commit(name)
    merged = git(folder, "merge", "ann")
    assert (folder / "versions" / "ann.py").is_file()
    if noted:
        assert merged.returncode != 0
        assert "conflict in HEAD" in merged.stdout
        rebase(config, "bob", "ann")
        note_head(config)
        check_head(config)
    else:
        assert merged.returncode == 0
        with pytest.raises(CommandError, match="2 heads"):
            check_head(config)


def test_a_head_that_nobody_noted_is_found(forked: Config) -> None:
    command.merge(forked, "heads", message="merge", rev_id="merged")
    with pytest.raises(CommandError, match="received 'nothing' in HEAD; expected 'merged'"):
        check_head(forked)
    assert note_head(forked).read_text() == "merged\n"
    check_head(forked)
    write_revision(folder_of(forked), "later", Rev("merged"))
    with pytest.raises(CommandError, match="received 'merged' in HEAD; expected 'later'"):
        check_head(forked)
