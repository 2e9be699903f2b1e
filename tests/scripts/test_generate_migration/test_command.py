"""The command, in this process: what it writes, refuses, finds, and says."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import Any, TypeAlias

import pytest
from sqlalchemy import URL, Column, Date, Index, MetaData, Table

from tests.scripts.test_generate_migration.projects import (
    ENGINE,
    FIRST,
    MODELS,
    MORE,
    POISON,
    SECOND,
    committed,
    env,
    git,
    revision,
    shop,
    versions,
    write,
)

# isort: split
from generate_migration import lint as linting
from generate_migration import prove as proving
from generate_migration.__main__ import main
from generate_migration.changes import in_words
from generate_migration.core import Proof, Refused
from generate_migration.options import called, parser, read_env_file, whole
from generate_migration.project import find, inside
from generate_migration.run import Runner

TABLE = Table("invoices", MetaData(), Column("due", Date), schema="billing")
INDEX = Index("ix", TABLE.c.due)
ADD_NOTE = 'op.add_column("orders", sa.Column("note", sa.Text))'
Run: TypeAlias = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def run(folder: Path, postgres_url: str, capfd: pytest.CaptureFixture[str]) -> Run:
    """The command on that project: its exit code, its JSON, what it told beside."""

    def call(*arguments: str) -> tuple[int, dict[str, Any], str]:
        usual = ("-c", str(folder / "db" / "alembic.ini"), "--scratch-url", postgres_url)
        code = main([*usual, "--output-format", "json", "--rows", "20", *arguments])
        printed = capfd.readouterr()
        assert "Traceback" not in printed.err
        found = json.loads(printed.out) if printed.out else {}
        assert found.get("exit_code", code) == code
        for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
            del sys.modules[name]  # the next run is another process's
        return code, found, printed.err

    return call


@pytest.fixture
def unproved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the proof out, where another thing is looked at: it takes a second."""

    def prove(_alembic: object, _scratch: object, _url: URL, name: str, **_: object) -> Proof:
        return Proof(name)

    monkeypatch.setattr(proving, "prove", prove)


def rules(found: dict[str, Any]) -> set[str]:
    """What was found."""
    return {each["rule"] for one in found["revisions"] for each in one["findings"]}


# --- Generate -------------------------------------------------------------------------------------


def test_a_revision_is_written_and_proved(run: Run, folder: Path) -> None:
    code, found, told = run("-m", "add a note", "--rev-id", SECOND)
    assert (code, found["mode"]) == (0, "generate")
    assert versions(folder) == {f"{FIRST}.py", f"{SECOND}_add_a_note.py"}
    (made,) = found["revisions"]
    sql = "ALTER TABLE orders ADD COLUMN note TEXT"
    assert [each["sql"] for each in made["statements"] if each["upgrade"]] == [sql]
    assert made["proof"]["passed"]
    assert made["proof"]["rows"]["public.orders"] > 10
    assert f"git add {quote(made['path'])}" in found["to_do"][0]
    # What env.py and Alembic print is no data.
    assert "said by env.py" in told
    assert "1 revision, 1 proved: 0 findings" in told
    # It is not in git: the next one does not go on from it.
    code, found, told = run("-m", "again")
    assert (code, found) == (3, {})
    assert "1 uncommitted revision" in told
    code, found, told = run("-m", "again", "--allow-uncommitted")
    assert (code, found) == (3, {})
    assert "nothing is new" in told
    code, found, _ = run("--check")
    assert (code, found["missing"]) == (0, [])
    assert [each["revision"] for each in found["revisions"]] == [SECOND]
    assert found["notes"][0] == "new against main: 1 of 2 revisions"
    assert len(found["notes"]) == 1  # one revision shares its transaction with none


@pytest.mark.usefixtures("unproved")
def test_a_dry_run_writes_nothing(run: Run, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    code, found, _ = run("-m", "add a note", "--dry-run", "--rev-id", SECOND)
    assert (code, found["mode"]) == (0, "dry-run")
    (made,) = found["revisions"]
    assert made["path"].endswith(f"/db/migrations/versions/{SECOND}_add_a_note.py")
    assert 'op.add_column("orders"' in made["source"].replace("'", '"')
    assert sorted(folder.rglob("*")) == before


@pytest.mark.usefixtures("unproved")
def test_the_first_revision_of_all(tmp_path: Path, run: Run, folder: Path) -> None:
    for path in (folder / "db" / "migrations" / "versions").iterdir():
        path.unlink()
    git(folder, "commit", "-q", "-a", "-m", "none")
    code, found, _ = run("-m", "first", "--rev-id", FIRST)
    assert code == 0
    assert "create_table" in Path(found["revisions"][0]["path"]).read_text()
    assert versions(folder) == {f"{FIRST}_first.py"}


@pytest.mark.usefixtures("unproved")
def test_the_placeholder_of_alembic_init_is_explained(run: Run, folder: Path) -> None:
    """The first run of all stops there: what the URL may be, and that nothing happens to it."""
    (folder / "db" / "alembic.ini").unlink()
    shop(folder, url="driver://user:pass@localhost/dbname", models=MODELS + MORE)
    git(folder, "commit", "-q", "-a", "-m", "as alembic init leaves it")
    code, found, told = run("-m", "add a note")
    assert (code, found) == (3, {})
    assert "Can't load plugin: sqlalchemy.dialects:driver" in told
    assert "try: sqlalchemy.url = postgresql+psycopg://localhost/app, in alembic.ini" in told
    assert "no database of yours is touched" in told


@pytest.mark.usefixtures("unproved")
def test_an_empty_revision(run: Run, folder: Path) -> None:
    write(folder / "src" / "shop" / "models.py", MODELS)
    git(folder, "commit", "-q", "-a", "-m", "as before")
    code, found, told = run("-m", "nothing")
    assert (code, found) == (3, {})
    assert "nothing is new" in told
    assert "import the module of the new models" in told
    assert versions(folder) == {f"{FIRST}.py"}
    code, found, _ = run("-m", "by hand", "--allow-empty")
    assert (code, found["revisions"][0]["statements"]) == (0, [])
    assert len(versions(folder)) == 2


@pytest.mark.usefixtures("unproved")
def test_what_fails_afterwards_says_what_stands(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise Refused("received no luck")

    monkeypatch.setattr(linting, "lint", fail)
    code, found, told = run("-m", "add a note", "--rev-id", SECOND)
    assert (code, found) == (2, {})
    assert f"{SECOND}_add_a_note.py was written and stands" in told
    assert "received no luck" in told
    assert len(versions(folder)) == 2


def test_what_fails_before_leaves_nothing(run: Run, folder: Path) -> None:
    """The column's type has no representation in a file: Alembic has written when it finds out."""
    template = folder / "db" / "migrations" / "script.py.mako"
    write(template, "${message}\n1 / 0\n")
    git(folder, "commit", "-q", "-a", "-m", "broken")
    code, found, told = run("-m", "add a note")
    assert (code, found) == (3, {})
    assert "generating the revision failed" in told
    assert versions(folder) == {f"{FIRST}.py"}


@pytest.mark.usefixtures("unproved")
def test_options_of_the_revision(run: Run, folder: Path) -> None:
    revision(folder, SECOND, FIRST)
    revision(folder, "cccc00000003", FIRST)
    committed(folder)
    code, _, told = run("-m", "x")
    assert code == 3
    assert 'merge heads -m "merge"' in told
    arguments = ("--head", SECOND, "--branch-label", "notes", "--rev-id", "dddd00000004")
    code, found, _ = run("-m", "x", *arguments)
    assert code == 0
    source = Path(found["revisions"][0]["path"]).read_text().replace("'", '"')
    assert f'down_revision = "{SECOND}"' in source
    assert 'branch_labels = ("notes",)' in source
    code, _, told = run("-m", "x", "--head", "nobody", "--allow-uncommitted")
    assert code == 3
    assert "Can't locate revision" in told


@pytest.mark.usefixtures("unproved")
def test_a_database_that_is_not_at_head(
    run: Run, folder: Path, empty: URL, capfd: pytest.CaptureFixture[str]
) -> None:
    database = empty.render_as_string(hide_password=False)
    os.environ["MINE"] = database
    code, _, told = run("-m", "x", "--database-url", "env:MINE")
    assert code == 3
    assert f"expected: at {FIRST}" in told
    assert str(empty.password) not in told
    project = find(folder / "db" / "alembic.ini", folder, "alembic", ())
    with inside(project):
        Runner(project).upgrade(empty, "head")
    capfd.readouterr()
    code, found, _ = run("-m", "x", "--database-url", database, "--dry-run")
    assert (code, len(found["revisions"])) == (0, 1)


# --- env.py ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said", "advised"),
    [
        ("import not_there", "No module named 'not_there'", "prepend_sys_path"),
        ("import os; os.environ['SECRET']", "KeyError: 'SECRET'", "--set SECRET=VALUE"),
        ("raise SystemExit('bye')", "SystemExit: bye", "do not end the program"),
        ("x = (", "SyntaxError", "alembic current"),
        (f"raise ValueError('{POISON}')", "nobody:***@127.0.0.1", "alembic current"),
    ],
)
def test_models_that_fail(line: str, said: str, advised: str, run: Run, folder: Path) -> None:
    path = write(folder / "src" / "shop" / "models.py", f"{line}\n{MODELS}")
    code, found, told = run("-m", "x")
    assert (code, found) == (3, {})
    assert said in told
    assert advised in told
    assert f"{path}:1" in told
    assert "wrong" not in told
    assert told.count("received") == 1


@pytest.mark.usefixtures("unproved")
def test_settings_that_env_py_needs(run: Run, folder: Path, tmp_path: Path) -> None:
    models = folder / "src" / "shop" / "models.py"
    write(models, f"import os\nassert os.environ['SECRET'] == 'a b'\n{MODELS}{MORE}")
    file = write(tmp_path / ".env", "# ours\nexport SECRET='of the file'\n")
    given = ("--set", "SECRET=a b", "--env-file", str(file))
    assert run("-m", "x", "--dry-run", *given)[0] == 0
    assert "SECRET" not in os.environ


def test_env_py_that_migrates_nothing(run: Run, folder: Path) -> None:
    write(folder / "db" / "migrations" / "env.py", "import shop.models\n")
    code, _, told = run("-m", "x")
    assert code == 3
    assert "the scratch database is at no revision" in told
    assert "context.run_migrations()" in told


def test_a_revision_that_does_not_run_on_an_empty_database(run: Run, folder: Path) -> None:
    path = revision(folder, SECOND, FIRST, 'op.execute("SELECT * FROM not_there")')
    committed(folder)
    code, _, told = run("-m", "x")
    assert code == 3
    assert "whose revisions do not run on an empty database" in told
    assert 'relation "not_there" does not exist (42P01)' in told
    assert f"{path}:13" in told


@pytest.mark.usefixtures("unproved")
def test_env_py_with_a_hook_of_its_own(run: Run, folder: Path) -> None:
    """The one of Alembic's cookbook, which expects that there is a revision."""
    hook = """
def hook(context, revision, directives):
    if directives[0].upgrade_ops.is_empty():
        directives[:] = []
"""
    text = env(ENGINE, options=", process_revision_directives=hook")
    write(folder / "db" / "migrations" / "env.py", hook + text)
    assert run("-m", "x", "--dry-run")[0] == 0
    write(folder / "src" / "shop" / "models.py", MODELS)
    code, _, told = run("-m", "x", "--dry-run")
    assert code == 3
    assert "nothing is new" in told


# --- Check ----------------------------------------------------------------------------------------


def test_a_version_table_of_another_name_is_known_before_the_first_revision(
    run: Run, folder: Path
) -> None:
    env_py = folder / "db" / "migrations" / "env.py"
    asked = env_py.read_text()
    named = asked.replace("context.configure(", 'context.configure(version_table="shop_versions", ')
    assert named != asked
    env_py.write_text(named)
    _, found, _ = run("--check", "--since", "base")
    (made,) = found["revisions"]
    failed = [step["name"] for step in made["proof"]["steps"] if not step["passed"]]
    # The models have a column more (told as missing); the version table is no leftover.
    assert (failed, rules(found)) == (["models"], set())


def test_a_missing_migration_and_an_unsafe_one(run: Run, folder: Path) -> None:
    index = 'op.create_index("ix_orders_customer", "orders", ["customer"])'
    drop = 'op.drop_index("ix_orders_customer", "orders")'
    path = revision(folder, SECOND, FIRST, index, drop)
    code, found, _ = run("--check")
    # Told once: the revision may still be corrected, and once it is in git another must come.
    assert (code, found["missing"]) == (1, [])
    assert rules(found) >= {"models-differ", "blocking-index"}
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "index")
    before = sorted(folder.rglob("*.py"))
    code, found, _ = run("--check", "--since", FIRST)
    assert code == 1
    assert found["missing"][0]["rule"] == "missing-migration"
    assert found["missing"][0]["statement"].splitlines()[0] == "add_column orders.note TEXT"
    assert "models-differ" not in rules(found)
    assert "blocking-index" in rules(found)
    assert f"-c {folder}" in found["to_do"][0].replace("'", "")
    (made,) = found["revisions"]
    first = next(each for each in made["findings"] if each["rule"] == "blocking-index")
    assert (first["path"], first["line"]) == (made["path"], 13)
    assert Path(first["path"]).name == path.name
    assert sorted(folder.rglob("*.py")) == before


@pytest.mark.parametrize(
    ("upgrade", "downgrade", "rule"),
    [
        (ADD_NOTE, "pass", "downgrade-leaves"),
        ('op.execute("SELECT 1 / 0")', "pass", "upgrade-fails"),
    ],
)
def test_a_seeded_fault(upgrade: str, downgrade: str, rule: str, run: Run, folder: Path) -> None:
    revision(folder, SECOND, FIRST, upgrade, downgrade)
    code, found, _ = run("--check", "--since", FIRST)
    assert code == 1
    assert rule in rules(found)
    assert not found["revisions"][0]["proof"]["passed"]


def test_an_accepted_failure_hides_nothing_behind_it(run: Run, folder: Path) -> None:
    """The whole is linted and shown from a run on empty tables; what read rows still says so."""
    upgrade = """
op.execute("UPDATE orders SET customer = customer")
# generate-migration: ignore[upgrade-fails] filled by job 42
op.add_column("orders", sa.Column("due", sa.Integer, nullable=False))
op.create_index("ix_orders_due", "orders", ["due"])
"""
    path = revision(folder, SECOND, FIRST, upgrade, 'op.drop_column("orders", "due")')
    code, found, _ = run("--check", "--since", FIRST)
    (made,) = found["revisions"]
    assert code == 1
    assert "upgrade-fails" not in rules(found)
    assert "blocking-index" in rules(found)
    ran = [each for each in made["statements"] if each["upgrade"]]
    assert [each["sql"].split()[0] for each in ran] == ["UPDATE", "ALTER", "CREATE"]
    assert ran[0]["written"]["public.orders"] > 10
    assert any(
        each["sql"].startswith("ALTER") for each in made["statements"] if not each["upgrade"]
    )
    step = made["proof"]["steps"][0]
    assert step["passed"]
    assert f"contains null values (23502) ({path}:15)" in step["seen"]


@pytest.mark.parametrize(
    "comment", ["", "  # generate-migration: ignore[drops-data] read by nobody"]
)
def test_a_table_dropped_on_purpose_is_one_finding(comment: str, run: Run, folder: Path) -> None:
    revision(folder, SECOND, FIRST, 'op.create_table("old", sa.Column("a", sa.Integer))')
    again = 'op.create_table("old", sa.Column("a", sa.Integer))'
    path = revision(folder, "cccc00000003", SECOND, f'op.drop_table("old"){comment}', again)
    _, found, _ = run("--check", "--since", SECOND)
    about = {"drops-data", "rows-lost", "squawk/ban-drop-table", "unused-ignore"}
    (made,) = found["revisions"]
    told = [(each["rule"], each["line"]) for each in made["findings"] if each["rule"] in about]
    line = next(n for n, row in enumerate(path.read_text().splitlines(), 1) if "drop_t" in row)
    assert told == ([] if comment else [("drops-data", line)])


def test_a_revision_that_ends_the_program(run: Run, folder: Path) -> None:
    revision(folder, SECOND, FIRST, 'raise SystemExit("bye")')
    code, found, _ = run("--check")
    assert code == 1
    assert "upgrade-fails" in rules(found)
    assert "SystemExit" in found["revisions"][0]["findings"][0]["message"]


@pytest.mark.usefixtures("unproved")
def test_check_without_git_looks_at_the_head(run: Run, folder: Path) -> None:
    shutil.rmtree(folder / ".git")
    write(folder / "src" / "shop" / "models.py", MODELS)
    code, found, _ = run("--check", "--fail-on", "error")
    assert code == 0
    assert [each["revision"] for each in found["revisions"]] == [FIRST]
    assert "the head alone is looked at" in found["notes"][0]


@pytest.mark.usefixtures("unproved")
def test_squawk_is_wanted(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    code, _, told = run("--check")
    assert code == 2
    assert "--no-squawk" in told


# --- Arguments ------------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-m", " "],
        ["-m"],
        ["--no-such"],
        ["-m", "x", "--check"],
        ["--check", "--dry-run"],
        ["--check", "--head", "x"],
        ["-m", "x", "--since", "base"],
        ["-m", "x", "--rows", "0"],
        ["-m", "x", "--rows", "many"],
        ["-m", "x", "--fail-on", "never"],
        ["-m", "x", "--output-format", "xml"],
        ["-m", "x", "--set", "secret"],
        ["-m", "x", "--set", "a-b=secret"],
        ["-m", "x", "--env-file", "/not/there"],
        ["-m", "x", "-c", "/not/there.ini"],
        ["-m", "x", "--scratch-url", "secret"],
        ["-m", "x", "--scratch-url", "env:NOT_SET"],
        ["-m", "x\0"],
        ["stray"],
        ["-m", "x", "postgresql://me:secret@127.0.0.1/x"],
    ],
    ids=" ".join,
)
def test_garbage(
    arguments: list[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder / "db")
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = int(str(ended.code))
    printed = capfd.readouterr()
    assert (code, printed.out) == (2, "")
    assert "Traceback" not in printed.err
    assert "secret" not in printed.err


@pytest.mark.once
def test_the_command_as_it_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be run as it is printed; what may be secret is left out."""
    monkeypatch.chdir(tmp_path)
    words = ["-m", "x", "-c", "a b/x.ini", "-n", "two", "--set", "KEY=secret", "-x", "url=secret"]
    options = parser().parse_args([*words, "--scratch-url", "env:SCRATCH"])
    script = write(tmp_path / "my scripts" / "generate-migration.sh", "")
    monkeypatch.setattr(sys, "argv", [str(script.with_suffix(".py"))])
    given = "-c 'a b/x.ini' -n two --scratch-url env:SCRATCH --set KEY=… -x url=…"
    assert called(options) == f"sh 'my scripts/generate-migration.sh' {given}"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/generate-migration"])
    assert called(options) == f"generate-migration {given}"


@pytest.mark.once
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("add_table", TABLE), "add_table billing.invoices"),
        (("add_column", "a", "b", TABLE.c.due), "add_column a.b.due DATE"),
        (("remove_index", INDEX), "remove_index ix on billing.invoices (due)"),
        (
            ("modify_nullable", None, "invoices", "due", {}, True, False),
            "modify_nullable invoices.due: True -> False",
        ),
        (("add_table_comment", TABLE, "old"), "add_table_comment billing.invoices"),
        (("execute", "CREATE\n SCHEMA a"), "execute CREATE SCHEMA a"),
        (("nothing",), "nothing"),
    ],
)
def test_a_change_in_words(change: tuple[Any, ...], expected: str) -> None:
    assert in_words(change) == expected


@pytest.mark.once
def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for code in range(4):
        assert f"\n  {code}  " in text
    assert "examples:" in text
    assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.once
def test_lines_of_an_env_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"\xef\xbb\xbf\nexport A = b # c\nB='x # y'\nC=\"q\" # r\nD=a=b\n")
    assert read_env_file(file) == {"A": "b", "B": "x # y", "C": "q", "D": "a=b"}
    for content in (b"secret", b"A=\xff", b"A=b\0c"):
        file.write_bytes(content)
        with pytest.raises(Refused, match="received --env-file") as caught:
            read_env_file(file)
        assert "secret" not in str(caught.value)
    assert whole("7") == 7
