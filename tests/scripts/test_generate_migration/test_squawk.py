"""squawk: each of its rules is weighed, its lines lead back, and it is never silent for nothing."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.scripts.test_generate_migration.observing import (
    Project,
    desk_url,
    named,
    project,
    squawk,
)

# isort: split
from generate_migration.core import USAGE, Finding, Refused, Statement
from generate_migration.squawk import (
    LEFT_OUT,
    OPT_IN,
    SHOWN,
    WHERE_UNSEEN,
    Said,
    find_squawk,
    findings,
    joined,
    judged,
    owner,
    version_of,
)

__all__ = ["desk_url", "project"]  # fixtures

PLAIN = Statement("one", True, "SELECT 1", Path("one.py"), 7, transaction=1)
# squawk takes these for names of rules and does not know them where it is told to leave them out.
OF_ITSELF = {"unused-ignore"}


def ask(*statements: Statement, folder: Path | None = None) -> list[Finding]:
    """What squawk says of them."""
    return list(findings(statements, squawk(), postgres_version="18.1", folder=folder))


def of(sql: str, **more: object) -> list[str]:
    """What it says of one statement."""
    return [each.rule for each in ask(replace(PLAIN, sql=sql, **more))]  # type: ignore[arg-type]


# --- Its rules ------------------------------------------------------------------------------------


def test_every_rule_of_squawk_is_weighed_once() -> None:
    """squawk cannot list its rules, but its program holds their names, one behind the other."""
    lists: list[Sequence[str]] = [list(SHOWN), list(WHERE_UNSEEN), list(OPT_IN), list(LEFT_OUT)]
    known = [rule for each in lists for rule in each]
    assert len(known) == len(set(known))
    program = Path(find_squawk()).resolve().read_bytes()
    start = program.index(b"require-concurrent-index-creationrequire-concurrent-index-deletion")
    run = program[start : program.index(b"TryFromIntError", start)].decode("ascii")
    for rule in sorted(known, key=len, reverse=True):
        run = run.replace(rule, "|")
    assert set(run) == {"|"}, f"not weighed: {run}"


def test_squawk_knows_every_rule_that_is_weighed() -> None:
    known = {*SHOWN, *WHERE_UNSEEN, *OPT_IN, *LEFT_OUT} - OF_ITSELF

    def told(rules: str) -> subprocess.CompletedProcess[str]:
        command = [find_squawk(), f"--exclude={rules}"]
        return subprocess.run(command, check=False, input="", capture_output=True, text=True)

    assert told(",".join(sorted(known))).returncode == 0
    assert "invalid rule name" in told("no-such-rule").stderr


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("ALTER TABLE t DROP COLUMN a", ["squawk/ban-drop-column"]),
        ("DROP TABLE t", ["squawk/ban-drop-table"]),
        ("ALTER TABLE t RENAME TO u", ["squawk/renaming-table"]),
        ("ALTER TABLE t RENAME COLUMN a TO b", ["squawk/renaming-column"]),
        ("ALTER TYPE e RENAME VALUE 'a' TO 'b'", ["squawk/renaming-object"]),
        ("ALTER INDEX i RENAME TO j", []),
        ("TRUNCATE t CASCADE", ["squawk/ban-truncate-cascade"]),
        ("ALTER TABLE t ADD COLUMN a int NOT NULL", ["squawk/adding-required-field"]),
        ("ALTER TABLE t ALTER COLUMN a DROP NOT NULL", []),
        ("ALTER TABLE t DROP CONSTRAINT c", []),
        ("CREATE TABLE t (id serial PRIMARY KEY, a varchar(9), b char(3), c timestamp)", []),
        (f"ALTER TABLE t ADD COLUMN {'a' * 64} int", ["squawk/identifier-too-long"]),
        ("COMMIT", ["squawk/transaction-nesting"]),
    ],
)
def test_what_is_shown(sql: str, expected: list[str]) -> None:
    assert of(sql) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE t ALTER COLUMN a SET NOT NULL",
        "ALTER TABLE t ALTER COLUMN a TYPE bigint",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)",
        "ALTER TABLE t ADD CONSTRAINT c UNIQUE (a)",
        "CREATE INDEX ix ON t (a)",
        "DROP INDEX ix",
        "REINDEX TABLE t",
    ],
)
def test_of_locks_it_speaks_where_nobody_could_look(sql: str) -> None:
    assert of(sql) == []
    assert of(sql, transaction=None)
    assert all(rule.removeprefix("squawk/") in WHERE_UNSEEN for rule in of(sql, transaction=None))


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        (("ALTER TABLE t RENAME a TO b",), 1),
        (("ALTER TABLE t RENAME id TO old_id", "ALTER TABLE t RENAME new_id TO id"), 0),
        (("ALTER TABLE s.t RENAME TO old", "ALTER TABLE s.new RENAME TO t"), 0),
        (("ALTER TABLE t RENAME TO u", "CREATE VIEW t AS SELECT * FROM u"), 0),
        (("ALTER TABLE t RENAME TO u", "CREATE VIEW tt AS SELECT * FROM u"), 1),
        (("ALTER TABLE t RENAME COLUMN a TO b", "ALTER TABLE t ADD COLUMN a text"), 0),
        (("ALTER TABLE t RENAME a TO b", "ALTER TABLE t RENAME b TO c"), 2),
        (("ALTER TABLE t RENAME CONSTRAINT a TO b",), 0),
        (("ALTER TYPE s.e RENAME TO e_old", "CREATE TYPE s.e AS ENUM ('a')"), 0),
    ],
)
def test_a_name_that_is_given_away_again_is_kept(statements: Sequence[str], expected: int) -> None:
    found = ask(*(replace(PLAIN, sql=sql) for sql in statements))
    assert len(found) == expected
    assert {each.rule for each in found} <= {"squawk/renaming-column", "squawk/renaming-table"}


# --- Its lines, and what it cannot read -----------------------------------------------------------


def test_a_finding_is_at_the_line_of_its_statement() -> None:
    found = ask(
        replace(PLAIN, sql="SELECT 'a\\nb\\nc';", line=1),
        replace(PLAIN, sql="ALTER TABLE t\n  ADD COLUMN x int, -- ü\n  DROP COLUMN a", line=2),
        replace(PLAIN, sql="SELECT 1 -- it ends in a comment;", line=3),
        replace(PLAIN, sql="DROP TABLE u;\n", line=4),
        replace(PLAIN, sql="DROP TABLE v", line=5, transaction=2),
        replace(PLAIN, sql="DROP TABLE w", line=6, upgrade=False),
    )
    assert [(each.rule, each.line) for each in found] == [
        ("squawk/ban-drop-column", 2),
        ("squawk/ban-drop-table", 4),
        ("squawk/ban-drop-table", 5),
    ]
    assert all(each.path == PLAIN.path and each.revision == "one" for each in found)
    assert found[1].statement == "DROP TABLE u"
    assert found[1].url == "https://squawkhq.com/docs/ban-drop-table"
    assert "ignore[squawk/ban-drop-table]" in found[1].fix


def test_lines_belong_to_statements() -> None:
    text, ends = joined([replace(PLAIN, sql="a\nb;"), replace(PLAIN, sql="c -- d")])
    assert text == "a\nb\n;\nc -- d\n;\n"
    assert [owner(line, ends) for line in range(6)] == [0, 0, 0, 1, 1, 1]


def test_what_it_cannot_read_is_said_and_the_rest_is_linted() -> None:
    found = ask(
        replace(PLAIN, sql="DROP TABLE t", line=1),
        replace(PLAIN, sql="SELEC nonsense FROM", line=2),
        replace(PLAIN, sql="DROP TABLE u", line=3),
        replace(PLAIN, sql="FROM FROM FROM", line=4),
    )
    assert [(each.rule, each.line, each.severity) for each in found if each.line in {2, 4}] == [
        ("squawk/not-linted", 2, "info"),
        ("squawk/not-linted", 4, "info"),
    ]
    dropped = [each.line for each in found if each.rule == "squawk/ban-drop-table"]
    assert dropped == [1, 3]


def test_what_the_revision_made_is_no_finding(project: Project) -> None:
    """Also where another transaction made it, which squawk does not see."""
    found = project.lint(
        """
        op.create_table("teams", sa.Column("id", sa.BigInteger), sa.Column("old", sa.Text))
        with op.get_context().autocommit_block():
            op.execute("SELECT 1")
        op.drop_column("teams", "old")
        op.rename_table("teams", "groups")
        """
    )
    assert named(found) == []


# --- The program ----------------------------------------------------------------------------------


def program(folder: Path, script: str) -> str:
    """A squawk of ours."""
    path = folder / "squawk"
    path.write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_it_is_found_beside_the_interpreter_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, path = tmp_path / "bin", tmp_path / "path"
    beside.mkdir()
    path.mkdir()
    found = [program(folder, "print('squawk 2.0.0')") for folder in (beside, path)]
    monkeypatch.setattr(sys, "executable", str(beside / "python"))
    monkeypatch.setenv("PATH", str(path))
    assert find_squawk() == found[0]
    Path(found[0]).unlink()
    assert find_squawk() == found[1]
    Path(found[1]).unlink()
    with pytest.raises(Refused, match=r"pip install squawk-cli, or --no-squawk") as caught:
        find_squawk()
    assert caught.value.exit_code == USAGE


@pytest.mark.parametrize("script", ["print('squawk 1.5.0')", "print('Squawk VM')", "sys.exit(1)"])
def test_another_program_of_that_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    program(tmp_path, script)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(Refused, match="expected squawk 2 or above"):
        find_squawk()


@pytest.mark.parametrize(
    "script",
    [
        "sys.exit(101)",
        "print('no JSON')",
        "print('[{\"line\": 0}]')",
        "sys.stderr.write('\\x1b[31mConfiguration error\\x1b[0m'); sys.exit(1)",
    ],
)
def test_a_squawk_that_fails_is_not_silence(tmp_path: Path, script: str) -> None:
    broken = program(tmp_path, script)
    with pytest.raises(Refused, match="or --no-squawk") as caught:
        list(findings([PLAIN], broken, postgres_version="18", folder=tmp_path))
    assert "\x1b" not in str(caught.value)


def test_colours_are_taken_out(tmp_path: Path) -> None:
    said = '[{"line": 0, "rule_name": "ban-drop-table", "message": "\\\\u001b[1mno\\\\u001b[0m"}]'
    coloured = program(tmp_path, f"print('\\x1b[1m' + '{said}' + '\\x1b[0m')")
    (found,) = findings([PLAIN], coloured, postgres_version="18", folder=None)
    assert (found.rule, found.message) == ("squawk/ban-drop-table", "no")


def test_the_projects_own_configuration_holds(tmp_path: Path) -> None:
    folder = tmp_path / "alembic" / "versions"
    folder.mkdir(parents=True)
    drop = replace(PLAIN, sql="ALTER TABLE t DROP COLUMN a")
    add = replace(PLAIN, sql="ALTER TABLE t ADD COLUMN a text")
    assert [each.rule for each in ask(drop, add, folder=folder)] == ["squawk/ban-drop-column"]
    (tmp_path / ".squawk.toml").write_text(
        'excluded_rules = ["ban-drop-column"]\nincluded_rules = ["ban-add-column"]\n'
        "assume_in_transaction = true\n"
    )
    assert [each.rule for each in ask(drop, add, folder=folder)] == ["squawk/ban-add-column"]
    (tmp_path / ".squawk.toml").write_text('excluded_rules = ["no-such-rule"]\n')
    with pytest.raises(Refused, match="no-such-rule"):
        ask(drop, folder=folder)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "ALTER TABLE s.t RENAME medium TO channel",
            'channel: Mapped[…] = mapped_column("medium")',
        ),
        ("ALTER TABLE t RENAME TO u", '__tablename__ = "t"'),
        ("ALTER TYPE e RENAME VALUE 'a' TO 'b'", "Leave it its name."),
        ("ALTER TABLE s.t ADD a int NOT NULL", 'op.add_column("t", column, schema="s")'),
    ],
)
def test_a_recipe_has_the_names_of_the_statement(sql: str, expected: str) -> None:
    (found,) = ask(replace(PLAIN, sql=sql))
    assert expected in found.fix
    assert "old_name" not in found.fix


def test_versions_of_postgresql() -> None:
    given = ("18.1", "18beta1", "15.14 (Debian 15.14-1)", "16")
    assert [version_of(each) for each in given] == ["18", "18", "15", "16"]


def test_reports_may_be_new() -> None:
    said = Said(0, "a-rule-of-tomorrow", "Mind the gap.", "Step over it.")
    found = judged(PLAIN, said, [])
    assert found is not None
    assert (found.rule, found.severity, found.fix) == (
        "squawk/a-rule-of-tomorrow",
        "warning",
        "Step over it.",
    )
