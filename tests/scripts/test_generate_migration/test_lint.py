"""What the comments of a revision excuse, and that our own revisions are clean."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from examples.migration_guide.checks import alembic_config
from examples.postgres import temporary_database
from tests.examples.test_migration_guide.desk import REVISIONS, fill
from tests.scripts.test_generate_migration.observing import (
    DOWN,
    Project,
    desk_url,
    linted,
    named,
    project,
    squawk,
)

# isort: split
from generate_migration import prove, repair
from generate_migration.core import Finding, Statement
from generate_migration.lint import TOLD_BETTER, WHEN_WRITTEN, accepted, ignores, lint
from generate_migration.watch import Watch

__all__ = ["desk_url", "project"]  # fixtures


def test_the_revisions_of_the_guide_are_silent(postgres_url: str) -> None:
    """Up and down, with rows in the tables, and with the squawk of this environment."""
    with temporary_database(postgres_url) as url:
        config = alembic_config(url)
        scripts = {
            script.revision: Path(script.path)
            for script in ScriptDirectory.from_config(config).walk_revisions()
        }
        files = {str(path): revision for revision, path in scripts.items()}
        ran: list[Statement] = []
        command.upgrade(config, REVISIONS[0])
        fill(url, 300)
        for step, way in ((command.upgrade, REVISIONS[1:]), (command.downgrade, REVISIONS[::-1])):
            for revision in way:
                watch = Watch(files, upgrade=step is command.upgrade)
                with watch.on():
                    step(config, revision if step is command.upgrade else "-1")
                ran += watch.statements
    assert {each.revision for each in ran} == set(REVISIONS)
    for revision, path in scripts.items():
        mine = [each for each in ran if each.revision == revision]
        assert linted(mine, path) == [], revision


IGNORE = "# generate-migration: ignore[blocking-index] nobody writes before noon"
INDEX = 'op.create_index("ix", "tickets", ["title"])'


@pytest.mark.parametrize(
    "upgrade",
    [
        f"{INDEX}  {IGNORE}",
        f"{IGNORE}\n{INDEX}",
        f"{IGNORE}\n# and on it goes\n{INDEX}",
        f'op.create_index(\n    "ix",\n    "tickets",  {IGNORE}\n    ["title"],\n)',
        f'op.create_index(\n    "ix", "tickets", ["title"]\n)  {IGNORE}',
        f'op.create_index(\n    {IGNORE}\n    "ix", "tickets", ["title"]\n)',
        f"{INDEX}  {IGNORE.replace('[blocking-index]', '[ blocking-index,blocking-scan ]')}",
    ],
)
def test_a_comment_excuses_its_statement(project: Project, upgrade: str) -> None:
    found = project.lint(upgrade)
    idle = "blocking-scan" in upgrade
    assert named(found) == ["unused-ignore"] * idle
    assert [each.message for each in found] == ["ignore[blocking-scan] excuses nothing"] * idle


@pytest.mark.parametrize(
    ("upgrade", "message"),
    [
        (f"{INDEX}\n{IGNORE}", "ignore[blocking-index] excuses nothing"),
        (f"{IGNORE}\n\n{INDEX}", "ignore[blocking-index] excuses nothing"),
        (f"{INDEX}  {IGNORE.replace('blocking', 'bloking')}", "ignore[bloking-index] excuses no"),
        (f"{INDEX}  # generate-migration: ignore it is small", "without a rule"),
        (f"{INDEX}  # generate-migration: ignore[] it is small", "without a rule"),
    ],
)
def test_a_comment_that_excuses_nothing_is_found(
    project: Project, upgrade: str, message: str
) -> None:
    found = project.lint(upgrade)
    assert sorted(named(found)) == ["blocking-index", "unused-ignore"]
    (idle,) = (each for each in found if each.rule == "unused-ignore")
    assert message in idle.message
    assert idle.line


def test_a_comment_without_a_reason_is_found(project: Project) -> None:
    found = project.lint(f"{INDEX}  # generate-migration: ignore[blocking-index]")
    assert [each.message for each in found] == ["an ignore without a reason"]


def test_text_is_no_comment(project: Project) -> None:
    path = project.write(f"op.execute({IGNORE!r})")
    assert ignores(path) == []
    path = project.write(f"{INDEX}  {IGNORE}")
    (found,) = ignores(path)
    assert (found.rules, found.reason) == (("blocking-index",), "nobody writes before noon")
    assert accepted(path) == {"blocking-index"}
    path = project.write(f"{INDEX}  {IGNORE[:-25]}")
    assert accepted(path) == frozenset()


def test_a_comment_excuses_what_others_find(project: Project) -> None:
    path = project.write("op.execute('SELECT 1')  # generate-migration: ignore[rows-lost] old")
    other = Finding("rows-lost", "error", "9 rows lost", path=path, line=12)

    def found(**options: object) -> list[str]:
        return named(lint([], path, squawk=None, postgres_version="18", **options))  # type: ignore[arg-type]

    assert found(more=[other]) == []
    assert found(others={"rows-lost"}) == []
    assert found() == ["unused-ignore"]


def test_what_others_tell_better_is_told_once(project: Project) -> None:
    path = project.write('op.drop_column("tickets", "title")')
    ran = project.run(path)
    other = Finding("drops-data", "warning", "title is dropped with all that it holds")

    def found(*more: Finding) -> list[str]:
        return named(lint(ran, path, squawk=squawk(), postgres_version="18", more=more))

    assert found() == ["squawk/ban-drop-column"]
    assert found(other) == ["drops-data"]
    assert set(TOLD_BETTER) <= {*WHEN_WRITTEN, *prove.RULES.values()}


@pytest.mark.parametrize("rule", ["drops-data", "squawk/ban-drop-column"])
def test_one_comment_excuses_one_thing_under_both_of_its_names(project: Project, rule: str) -> None:
    """The repair tells of it when the revision is written, squawk at every later look."""
    line = f'op.drop_column("tickets", "title")  # generate-migration: ignore[{rule}] unread'
    path = project.write(line)
    ran = project.run(path)
    (where,) = {each.line for each in ran if each.upgrade}
    told = Finding("drops-data", "warning", "title is dropped", path=path, line=where)
    for more in ([], [told]):
        assert named(lint(ran, path, squawk=squawk(), postgres_version="18", more=more)) == []
    other = replace(told, rule="no-cast")
    assert named(lint(ran, path, squawk=squawk(), postgres_version="18", more=[other])) == [
        "no-cast"
    ]


def test_what_was_said_when_it_was_written_stays_excused(project: Project) -> None:
    path = project.write("op.execute('SELECT 1')  # generate-migration: ignore[drops-data] empty")
    assert named(linted([], path)) == []


def test_every_rule_of_the_repair_is_known() -> None:
    found: set[str] = set()
    package = Path(repair.__file__).parent
    for file in (package / "repair.py", *(package / "repairs").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding":
                (rule, *_) = node.args or [word.value for word in node.keywords]
                found |= set(strings(rule))
    assert found == WHEN_WRITTEN


def strings(node: ast.AST) -> list[str]:
    """The text in *node*: a rule may be one of two."""
    constants = (each for each in ast.walk(node) if isinstance(each, ast.Constant))
    return [each.value for each in constants if isinstance(each.value, str)]


def test_without_squawk_its_comments_are_not_judged(project: Project) -> None:
    path = project.write(
        "# generate-migration: ignore[squawk/ban-drop-column] no release reads it\n"
        'op.drop_column("tickets", "title")'
    )
    ran = project.run(path)
    assert lint(ran, path, squawk=None, postgres_version="18") == []
    assert linted(ran, path) == []


def test_a_comment_of_a_function(project: Project) -> None:
    down = "def downgrade() -> None:  # generate-migration: ignore[no-downgrade] a view\n"
    assert named(project.lint(INDEX, f"{down}    pass\n")) == ["blocking-index"]
    assert named(project.lint("op.execute('SELECT 1')", DOWN)) == []


def test_a_line_that_runs_again_is_told_once(project: Project) -> None:
    found = project.lint(
        """
        for number in range(3):
            op.execute("ALTER TABLE settings ADD CHECK (value <> 'x')")
        """
    )
    assert sorted(named(found)) == ["blocking-scan", "nameless-constraint"]
