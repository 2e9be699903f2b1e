"""Changes planted into models: each gets a revision that goes up, down and up, and leaves nothing.

The second time up it is broken off after each of its commits, and run again.

The project is a foreign one: no naming convention, an ``env.py`` without any option, its database
made by somebody else.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from sqlalchemy import MetaData
from sqlalchemy.schema import CreateSchema

from tests.scripts.test_generate_migration.observing import linted, named
from tests.scripts.test_generate_migration.planted import CASES, Case
from tests.scripts.test_generate_migration.planting import Project, models, planted_project

# isort: split
from generate_migration.core import BrokenOff
from generate_migration.resume import has_commits
from generate_migration.schema import excused
from generate_migration.watch import Watch


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_round_trip(case: Case, tmp_path: Path, postgres_url: str) -> None:
    """Up, nothing left to write; down, all as it was; and up again."""
    driver = ("psycopg2", "psycopg")[len(case.name) % 2]
    before, after = models(case.before), models(case.after)
    with planted_project(tmp_path / "a project", postgres_url, driver) as project:
        project.options = case.options
        for schema in {table.schema for table in before.tables.values() if table.schema}:
            project.execute(CreateSchema(schema))
        project.create(before)
        if case.rows:
            project.execute(f"INSERT INTO tickets {case.rows} FROM generate_series(1, 50) AS n")
        standing = project.lines()
        source = project.generate(after)
        ast.parse(source)
        assert project.rules() == case.findings
        for word in case.words:
            assert word in source
        [path] = (project.folder / "versions").glob("*.py")
        watch = Watch({str(path): "0001"}, upgrade=True)
        with watch.on():
            project.upgrade(after)
        assert set(named(linted(watch.statements, path))) == case.linted
        there = project.lines()
        assert there != standing
        assert project.check(after) == []
        if case.stays:  # a row that holds what came
            project.execute("INSERT INTO tickets (title, status) VALUES ('x', 'late')")
        back = Watch({str(path): "0001"}, upgrade=False)
        with back.on():
            project.downgrade(after)
        assert named(linted(back.statements, path)) == []  # what we wrote ourselves
        if case.stays:
            assert excused(standing, project.lines()) == ([], list(case.stays))
        else:
            assert project.lines() == standing
        assert has_commits(watch.statements) == (upgrade_by_and_by(project, after, path) > 1)
        assert project.lines() == there


def upgrade_by_and_by(project: Project, after: MetaData, path: Path) -> int:
    """Break the upgrade off after its first commit, then its second, and so on: the attempts."""
    for number in range(1, 50):
        try:
            with Watch({str(path): "0001"}, upgrade=True, break_at=number).on():
                project.upgrade(after)
        except BrokenOff:
            continue
        return number
    raise AssertionError("it comes to no end")
