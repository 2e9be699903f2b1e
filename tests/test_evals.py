"""The graders tell right from hasty, and no workspace spoils more than its own checks."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema
import psycopg
import pytest
from sqlalchemy import __version__

from evals import grading as module_of_grading
from evals import workspace as module_of_workspace
from evals.__main__ import EVALS, joined, main
from evals.grading import (
    ROOT,
    EvalError,
    Task,
    checks_of,
    grade,
    load_task,
    prepare,
    refuse_older,
    server_url,
    solution,
    task_ids,
    text_of,
)
from evals.workspace import Workspace
from examples.postgres import temporary_database
from tests.waiting import until

SA_21 = not __version__.startswith("2.0")
TASKS = task_ids()
# In CI some stand for all, and two of them are graded three times; where tests are repeated, all.
SOME = ["locking", "migration_enum", "models", "search", "soft_delete", "upgrading"]
FEW = ["models", "search"]
FEW_WAYS = ["an error by the name of its driver"]
FEW_FAULTS = ["a migration that fills each source in one transaction"]
ENTRY = {
    "type": "object",
    "required": ["id", "prompt", "expected_output", "files", "assertions"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
        "prompt": {"type": "string", "minLength": 40, "maxLength": 1000},
        "expected_output": {"type": "string", "minLength": 40},
        "files": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "assertions": {
            "type": "array",
            "minItems": 5,
            "maxItems": 8,
            "uniqueItems": True,
            "items": {"type": "string", "minLength": 10, "maxLength": 160},
        },
    },
}
OURS = Path(__file__).resolve().parent / "data" / "evals"
ENDLESS = 10.0  # seconds: each check of the others takes less than one
HOSTILE = {
    "leaves": "raise SystemExit(0)",
    "leaves without a word": "__import__('os')._exit(0)",
    "never ends": "__import__('time').sleep(10_000)",
    "closes everything": "__import__('os').closerange(0, 1024)",
    "raises": "raise KeyboardInterrupt",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Some tasks, or all of them where ``--repetitions`` asks for the long form."""
    long = metafunc.config.option.repetitions > 1
    for name, every, chosen in (
        ("graded", TASKS, SOME),
        ("repeated", TASKS, FEW),
        ("way", list(OTHER_WAYS), FEW_WAYS),
        ("fault", list(FAULTS), FEW_FAULTS),
    ):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, every if long else chosen)


def require_21() -> None:
    """The tasks are about 2.1."""
    if not SA_21:
        pytest.skip("requires SQLAlchemy 2.1")


def failed(grading: dict[str, Any]) -> list[str]:
    """The assertions that did not pass, with their evidence."""
    return [
        f"{result['text']}: {result['evidence']}"
        for result in grading["assertion_results"]
        if not result["passed"]
    ]


def make_workspace(task: Task, target: Path, kind: str = "reference") -> Path:
    """A workspace in *target* that holds this solution."""
    with solution(task, kind) as made:
        shutil.copytree(made, target)
    return target


def without_imports(task: Task, target: Path) -> Path:
    """The reference, every module of which raises when it is imported."""
    make_workspace(task, target)
    for path in target.rglob("*.py"):
        path.write_text("1 / 0\n", encoding="utf-8")
    return target


# --- the tasks ------------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.requires_postgres(18)
def test_right_hasty_empty_and_broken(graded: str, tmp_path: Path, postgres_url: str) -> None:
    require_21()
    task = load_task(graded)
    empty = tmp_path / "an empty one"
    empty.mkdir()
    workspaces = [
        make_workspace(task, tmp_path / "reference"),
        make_workspace(task, tmp_path / "naive", "naive"),
        empty,
        without_imports(task, tmp_path / "broken"),
    ]
    right, hasty, nothing, broken = grade(graded, workspaces, postgres_url)
    assert failed(right) == []
    assert right["summary"]["total"] == len(task.assertions)
    assert failed(hasty), "the naive solution passes every check"
    assert nothing["summary"]["pass_rate"] == 0.0, "an empty workspace scores"
    assert broken["summary"]["pass_rate"] == 0.0, "a workspace that cannot be imported scores"
    every = [result for each in (hasty, nothing, broken) for result in each["assertion_results"]]
    assert all(result["evidence"] for result in every), "without evidence"


@pytest.mark.once
@pytest.mark.requires_postgres(18)
def test_another_way_to_delete_softly_is_right(tmp_path: Path, postgres_url: str) -> None:
    """An archive: what is deleted leaves its table."""
    require_21()
    work = make_workspace(load_task("soft_delete"), tmp_path / "work")
    shutil.copytree(OURS / "soft_delete_by_archive", work, dirs_exist_ok=True)
    assert failed(grade("soft_delete", [work], postgres_url)[0]) == []


CHANNEL = "migrations/versions/0002_channel.py"
LOOP = "for start in range(first or 0, (last or -1) + 1, BATCH):\n            "
ROUND = 'connection.execute(fill, {"first": start, "next": start + BATCH})'
# Right, too: the task, the file of its solution, what stands there, and what else may.
OTHER_WAYS: dict[str, tuple[str, str, dict[str, str]]] = {
    "relationships that load on purpose alone": (
        "relationships",
        "models.py",
        {"relationship(": 'relationship(lazy="raise", '},
    ),
    "an index of those that refer to somebody": (
        "models",
        "models.py",
        {
            'ondelete="SET NULL"), index=True': 'ondelete="SET NULL")',
            "class Comment(Base)": 'Index("ix_assigned", Ticket.assignee_id, '
            "postgresql_where=Ticket.assignee_id.is_not(None))\n\n\nclass Comment(Base)",
        },
    ),
    "one waits for the other": (
        "cancellation",
        "service.py",
        {
            "        ticket = await": "        await session.get_one(Agent, agent_id, "
            'with_for_update={"key_share": True})\n        ticket = await',
        },
    ),
    "enumerations by name": (
        "models",
        "models.py",
        {
            "(enum.StrEnum)": "(enum.Enum)",
            **{
                f'{word.upper()} = "{word}"': f"{word} = {number}"
                for number, word in enumerate(
                    ("open", "pending", "solved", "low", "normal", "high")
                )
            },
            "member.value for": "member.name for",
        },
    ),
    "an author who has to exist": (
        "audit_trail",
        "audit.py",
        {"user_id bigint,": "user_id bigint REFERENCES users (id),"},
    ),
    "an error by the name of its driver": (
        "soft_delete",
        "soft_delete.py",
        {
            "except IntegrityError:\n": "except IntegrityError as error:\n"
            '        if error.orig.sqlstate != "23505":\n            raise\n',
        },
    ),
    "a default for most rows, and the others in batches": (
        "migration_not_null",
        CHANNEL,
        {
            'EXISTS channel text"': "EXISTS channel text DEFAULT 'email'\"",
            "id >= :first AND id < :next AND channel IS NULL": "id IN (SELECT id FROM tickets"
            " WHERE source = 'portal' AND channel = 'email' LIMIT 50000)",
            f"{LOOP}{ROUND}": "while connection.execute(fill).rowcount:\n            pass",
            "SET NOT NULL": "SET NOT NULL, ALTER COLUMN channel DROP DEFAULT",
        },
    ),
}
# Wrong: the same, and how the assertions begin that it fails; it passes all others.
FAULTS: dict[str, tuple[str, str, dict[str, str], list[str]]] = {
    "cursors whose key is anything": (
        "pagination",
        "pages.py",
        {"type(key) is not int or not -BIGGEST <= key <= BIGGEST": "key is None"},
        ["Strings that are no cursor"],
    ),
    "a migration that runs once": (
        "migration_not_null",
        CHANNEL,
        {
            "COLUMN IF NOT EXISTS": "COLUMN",
            '        connection.execute(text("ALTER TABLE tickets DROP CONSTRAINT IF EXISTS'
            ' channel_present"))\n': "",
        },
        ["Wherever a change of the table fails"],
    ),
    "a migration that fills each source in one transaction": (
        "migration_not_null",
        CHANNEL,
        {
            "id >= :first AND id < :next AND": "source = :source AND",
            LOOP: LOOP.replace(LOOP.strip(), 'for source in ("portal", "mail"):'),
            ROUND: 'connection.execute(fill, {"source": source})',
        },
        ["Rows are filled while readers are let in"],
    ),
    "a migration that waits for five seconds": (
        "migration_not_null",
        CHANNEL,
        {"SET lock_timeout = '2s'": "SET lock_timeout = '5s'"},
        ["Behind a reader's long transaction"],
    ),
    "pools that wait for six seconds": (
        "connections",
        "db.py",
        {'"pool_timeout": 2': '"pool_timeout": 6'},
        ["There are never more than size connections", "The same holds on asyncio"],
    ),
}


def make_changed(name: str, file: str, changes: dict[str, str], target: Path) -> Path:
    """A workspace in *target* of the reference, in whose *file* these pieces are others."""
    work = make_workspace(load_task(name), target)
    solution = (work / file).read_text(encoding="utf-8")
    for ours, theirs in changes.items():
        assert ours in solution
        solution = solution.replace(ours, theirs)
    (work / file).write_text(solution, encoding="utf-8")
    return work


@pytest.mark.once
@pytest.mark.requires_postgres(18)
def test_another_right_way_passes(way: str, tmp_path: Path, postgres_url: str) -> None:
    require_21()
    name, file, changes = OTHER_WAYS[way]
    work = make_changed(name, file, changes, tmp_path / "work")
    assert failed(grade(name, [work], postgres_url)[0]) == []


@pytest.mark.once
@pytest.mark.requires_postgres(18)
def test_a_fault_fails_its_own_checks(fault: str, tmp_path: Path, postgres_url: str) -> None:
    require_21()
    name, file, changes, expected = FAULTS[fault]
    work = make_changed(name, file, changes, tmp_path / "work")
    told = failed(grade(name, [work], postgres_url)[0])
    assert len(told) == len(expected), told
    for line, beginning in zip(told, expected, strict=True):
        assert line.startswith(beginning)


@pytest.mark.once
@pytest.mark.requires_postgres(18)
def test_pages_are_judged_by_the_rows_they_need(tmp_path: Path, postgres_url: str) -> None:
    """Not by the word OFFSET: one of none is right, and row_number() is no better than one."""
    require_21()
    limit = ".limit(size + 1)"
    right, hasty = tmp_path / "right", tmp_path / "hasty"
    for work in (right, hasty):
        make_workspace(load_task("pagination"), work)
    pages = (right / "pages.py").read_text(encoding="utf-8")
    assert limit in pages
    (right / "pages.py").write_text(pages.replace(limit, f"{limit}.offset(0)"), encoding="utf-8")
    wrong = []
    for way in ("offset", "number"):
        wrong.append(shutil.copytree(hasty, tmp_path / way))
        shutil.copy(OURS / f"pages_by_{way}.py", wrong[-1] / "pages.py")
    asked, *others = grade("pagination", [right, *wrong], postgres_url)
    assert failed(asked) == []
    for grading in others:
        (cost,) = [line for line in failed(grading) if line.startswith("A page takes at most")]
        assert "rows to find a page of 10 among the last 100" in cost


@pytest.mark.once
@pytest.mark.requires_postgres(18)
def test_three_runs_agree(repeated: str, tmp_path: Path, postgres_url: str) -> None:
    require_21()
    naive = make_workspace(load_task(repeated), tmp_path / "naive", "naive")
    runs = grade(repeated, [naive] * 3, postgres_url)
    first, *others = [[one["passed"] for one in run["assertion_results"]] for run in runs]
    assert others == [first, first]


@pytest.mark.parametrize("name", TASKS)
def test_task_is_well_formed(name: str) -> None:
    task = load_task(name)
    jsonschema.validate(vars(task), ENTRY)
    assert task.id == name
    assert [text_of(check) for check in checks_of(name)[1]] == task.assertions
    start = task.folder / "files"
    files = [path for path in start.rglob("*") if path.is_file() and "__pycache__" not in str(path)]
    assert task.files == sorted(str(path.relative_to(ROOT)) for path in files)
    for kind in ("reference", "naive"):
        assert any((task.folder / kind).iterdir()), f"no {kind} solution"


@pytest.mark.parametrize("name", TASKS)
def test_prompt_names_the_driver(name: str) -> None:
    """Of the engine that a solution gets: its cursors and its errors are the driver's."""
    task = load_task(name)
    source = (task.folder / "grade.py").read_text(encoding="utf-8")
    drivers = re.findall(r"\w = work\.engine\(\s*(?:driver=([\w\"]+))?", source)
    named = {name.strip('"') for name in drivers if name.startswith('"')}
    for driver in named:
        assert ("psycopg 3" if driver == "psycopg" else driver) in task.prompt
    # Where the prompt names versions and an argument that is an engine or has one.
    if "SQLAlchemy 2.1" in task.prompt and re.search(
        "engine: Engine|session: Session", task.prompt
    ):
        assert drivers
        assert all(drivers), "an engine of the default driver"


def test_readme_says_which_tasks_need_a_database() -> None:
    readme = (EVALS.parent / "README.md").read_text(encoding="utf-8")
    (named,) = re.findall(r"`DATABASE_URL` \(([^)]*)\)", readme)
    needed = [name for name in TASKS if "DATABASE_URL" in load_task(name).prompt]
    assert re.findall(r"\w+", named) == needed
    filled = [name for name in TASKS if hasattr(checks_of(name)[0], "fill")]
    assert re.findall(r"--fill (\w+)", readme) == filled


def test_tasks_are_joined() -> None:
    assert len(TASKS) >= 20
    assert EVALS.read_text(encoding="utf-8") == joined(), "run: python -m evals --write"


def test_triggers() -> None:
    triggers = json.loads((EVALS.parent / "triggers.json").read_text(encoding="utf-8"))
    queries = [one["query"] for one in triggers]
    assert all(set(one) == {"query", "should_trigger"} for one in triggers)
    assert len(set(queries)) == len(queries)
    wanted = [one["should_trigger"] for one in triggers]
    # Twenty, half of them near misses, and two controls that name the skill or its subject.
    assert (wanted.count(True), wanted.count(False)) == (12, 10)
    assert any("sqlalchemy-orm-expert" in query for query in queries)


def test_code_to_upgrade_works_on_its_own_line(tmp_path: Path, postgres_url: str) -> None:
    prepare(load_task("upgrading"), tmp_path / "desk")
    told = failed(grade("upgrading", [tmp_path / "desk"], postgres_url)[0])
    assert bool(told) is SA_21, told


# --- what a workspace may do ----------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize("deed", HOSTILE)
def test_hostile_workspace_spoils_one_check(deed: str, tmp_path: Path, postgres_url: str) -> None:
    """Only one check asks for pages of three."""
    workspace = make_workspace(load_task("search"), tmp_path / "work")
    module = workspace / "search.py"
    start = "    where = ["
    source = module.read_text(encoding="utf-8").replace(
        start, f"    if limit == 3:\n        {HOSTILE[deed]}\n{start}"
    )
    module.write_text(f"{source}\nprint('noise' * 10_000)\n", encoding="utf-8")
    (workspace / "dangling").symlink_to("nowhere")
    os.mkfifo(workspace / "pipe")
    before = sorted(workspace.rglob("*"))
    grading = grade(
        "search", [workspace], postgres_url, seconds=ENDLESS if deed == "never ends" else 30
    )[0]
    assert [line.partition(":")[0] for line in failed(grading)] == [
        "The number of hits is right on a page beyond the last"
    ], failed(grading)
    assert sorted(workspace.rglob("*")) == before, "the grader wrote into the workspace"


def test_evidence_is_whole_and_the_same_each_time(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was printed is there; no random name, and nothing of the environment, is."""
    monkeypatch.setenv("PGAPPNAME", "ours")
    work = tmp_path / "work"
    work.mkdir()
    (work / "search.py").write_text(
        "import os\n"
        "print('printed by it')\n"
        "raise RuntimeError(f\"{os.getcwd()} {os.environ['DATABASE_URL'].rpartition('/')[2]}\""
        " f\" {os.environ.get('PGAPPNAME')}\")\n"
    )
    results = grade("search", [work], postgres_url)[0]["assertion_results"]
    (evidence,) = {result["evidence"].replace("?", " ") for result in results}
    assert "RuntimeError: WORKSPACE DATABASE" in evidence
    assert " None" in evidence
    assert "printed: …printed by it" in evidence


@pytest.mark.once
def test_evidence_shows_no_password(tmp_path: Path, postgres_url: str) -> None:
    """Neither as the URL has it nor as it reads, nor the half of it that a cut leaves."""
    parts = urlsplit(postgres_url)
    password = unquote(parts.password or "") or "nobody asks for it"
    written = "".join(f"%{byte:02X}" for byte in password.encode())
    place = parts.netloc.rpartition("@")[2]
    netloc = f"{parts.username or 'postgres'}:{written}@{place}"
    work = tmp_path / "work"
    work.mkdir()
    (work / "search.py").write_text(
        "import os\n"
        "from urllib.parse import unquote, urlsplit\n"
        "url = os.environ['DATABASE_URL']\n"
        "password = unquote(urlsplit(url).password)\n"
        "print(url, password + '.' * 295)\n"  # the last 300 characters begin within it
        "raise RuntimeError('.' * 580 + password + url)\n"  # the first 600 end within it
    )
    grading = grade("search", [work], parts._replace(netloc=netloc).geturl())[0]
    shown = json.dumps(grading)
    assert "***" in shown
    assert "printed: " in shown
    for secret in (written, password, password[:6], password[-5:]):
        assert secret not in shown


def test_commands_print_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a grader cuts what they print: half of a password would not be found."""
    monkeypatch.setattr(module_of_workspace, "PASSWORDS", set())
    url = "postgresql://ann:pa%40ss%2Fword@nowhere/desk?sslpassword=o%3Fther"
    work = Workspace(tmp_path, url)
    words = "$DATABASE_URL 'pa@ss/word' 'o?ther'"
    done = work.command(["sh", "-c", f"echo {words}; echo {words} >&2"])
    hidden = "postgresql+psycopg2://ann:***@nowhere/desk?sslpassword=*** *** ***\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, hidden, hidden)


@pytest.mark.once
def test_nothing_outlives_a_check(tmp_path: Path, postgres_url: str) -> None:
    workspace = make_workspace(load_task("search"), tmp_path / "work")
    told = tmp_path / "told"
    module = workspace / "search.py"
    start = (
        "import os, subprocess\n"
        "database = os.environ['DATABASE_URL'].rpartition('/')[2]\n"
        "for leaves in (False, True):\n"  # the group; the second's parent has ended besides
        "    shell = 'sleep 300 & echo $!' if leaves else 'echo $$; exec sleep 300'\n"
        "    process = subprocess.Popen(['sh', '-c', shell], start_new_session=leaves,\n"
        "        stdout=subprocess.PIPE, text=True)\n"
        "    pid = int(process.stdout.readline())\n"
        "    if leaves:\n"
        "        process.wait()\n"
        f"    with open({str(told)!r}, 'a') as file:\n"
        "        print(pid, database, file=file)\n"
    )
    source = module.read_text(encoding="utf-8").replace("from __future__ import annotations\n", "")
    module.write_text(start + source, encoding="utf-8")
    grading = grade("search", [workspace], postgres_url)[0]
    assert failed(grading) == []
    lines = [line.split() for line in told.read_text(encoding="utf-8").splitlines()]
    databases = [name.partition("?")[0] for _, name in lines]
    assert len(set(databases)) == grading["summary"]["total"], "checks share a database"
    assert len(lines) == 2 * grading["summary"]["total"]
    for pid, _ in lines:
        command = Path("/proc", pid, "cmdline")
        until(partial(is_gone, command), "the end of what a check started")
    with psycopg.connect(postgres_url) as connection:
        left = connection.execute(
            "SELECT datname FROM pg_database WHERE datname = ANY(%s)", [databases]
        ).fetchall()
    assert left == []


@pytest.mark.once
def test_no_role_outlives_a_check(tmp_path: Path, postgres_url: str) -> None:
    """Also where the check is killed, which then drops nothing itself."""
    workspace = make_workspace(load_task("connections"), tmp_path / "work")
    told = tmp_path / "told"
    module = workspace / "db.py"
    start = "def make_engine("
    source = module.read_text(encoding="utf-8").replace(start, f"def made_engine{start[15:]}", 1)
    module.write_text(
        f"{source}\n\n{start}url, **options):\n"
        "    engine = made_engine(url, **options)\n"
        "    if engine.url.password == 'pa@ss/word':\n"
        f"        with open({str(told)!r}, 'a') as file:\n"
        "            print(engine.url.username, file=file)\n"
        "        __import__('os').kill(__import__('os').getpid(), 9)\n"
        "    return engine\n",
        encoding="utf-8",
    )
    (killed,) = failed(grade("connections", [workspace], postgres_url)[0])
    assert killed.startswith("A password with @ and /")
    (role,) = told.read_text(encoding="utf-8").split()
    with psycopg.connect(postgres_url) as connection:
        left = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchall()
    assert left == []


def is_gone(command: Path) -> bool:
    """Whether a process has ended: no command line is left of it, or no entry."""
    try:
        return not command.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return True


# --- the command line -----------------------------------------------------------------------------


def told(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    code = main(arguments)
    output = capsys.readouterr()
    return code, output.out, output.err


def test_list_and_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, ["--list"]) == (0, "\n".join(TASKS) + "\n", "")
    assert told(capsys, ["--prompt", "search"]) == (0, load_task("search").prompt + "\n", "")


def test_prepare_refuses_what_is_not_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "my work"
    assert told(capsys, ["--prepare", "search", str(work)])[0] == 0
    assert [path.name for path in work.iterdir()] == ["models.py"]
    code, _, error = told(capsys, ["--prepare", "search", str(work)])
    assert code == 2
    assert "not an empty folder" in error


def test_fill(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the prompt of testing says of the database is true then; another's is left alone."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    code, _, error = told(capsys, ["--fill", "testing"])
    assert code == 2
    assert "DATABASE_URL" in error
    with temporary_database(postgres_url) as url:
        monkeypatch.setenv("DATABASE_URL", url)
        assert told(capsys, ["--fill", "testing"]) == (0, "", "")
        code, _, error = told(capsys, ["--fill", "testing"])
        assert code == 2
        assert "a database that holds tables" in error
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM tickets").fetchone() == (3,)


@pytest.mark.parametrize("place", ["127.0.0.1:x/db", "127.0.0.1:1/db?bogus=hunter2"])
def test_fill_shows_no_password(
    place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:hunter2@{place}")
    assert main(["--fill", "testing"]) == 2
    told = capsys.readouterr().err
    assert "received a DATABASE_URL that cannot be filled" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["search"],
        ["search", "a", "b"],
        ["unknown", "."],
        ["--prompt", "unknown"],
        ["--fill", "search"],
    ],
    ids=str,
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = told(capsys, arguments)
    assert code == 2
    assert "received" in error
    assert "try: " in error


@pytest.mark.parametrize(
    ("orm", "server", "right"),
    [
        ("2.1.0", "18.0", True),
        ("2.1.0rc1", "19beta1", True),
        ("2.2.0", "18.1", True),
        ("2.0.58", "18.1", False),
        ("2.1.9", "17.6", False),
    ],
)
def test_older_versions_are_refused(orm: str, server: str, right: bool) -> None:
    if right:
        refuse_older(orm, server)
        return
    with pytest.raises(EvalError, match=f"received SQLAlchemy {orm} and PostgreSQL {server}") as it:
        refuse_older(orm, server)
    assert "expected: SQLAlchemy 2.1 and PostgreSQL 18" in str(it.value)
    assert "try: " in str(it.value)


def test_an_older_server_ends_the_program(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    monkeypatch.setenv("POSTGRES_PROVIDER", "url")
    monkeypatch.setattr(module_of_grading, "POSTGRESQL", 99)
    with pytest.raises(EvalError), server_url():
        pass
    code, output, error = told(capsys, ["--reference", "models"])
    assert (code, output) == (2, "")
    assert "and PostgreSQL 99, or later" in error


@pytest.mark.once
@pytest.mark.requires_postgres(18)
def test_grading_is_written_and_printed(
    tmp_path: Path,
    postgres_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_21()
    monkeypatch.setenv("DATABASE_URL", postgres_url)
    monkeypatch.setenv("POSTGRES_PROVIDER", "url")
    task = load_task("search")
    right = make_workspace(task, tmp_path / "right")
    hasty = make_workspace(task, tmp_path / "hasty", "naive")
    for workspace, expected in ((right, 0), (hasty, 1)):
        code, output, error = told(capsys, ["search", str(workspace)])
        assert code == expected
        document = json.loads(output)
        assert json.loads((workspace / "grading.json").read_text(encoding="utf-8")) == document
        assert set(document) == {"assertion_results", "summary"}
        results = document["assertion_results"]
        assert all(set(result) == {"text", "passed", "evidence"} for result in results)
        passed = sum(result["passed"] for result in results)
        assert document["summary"] == {
            "passed": passed,
            "failed": len(results) - passed,
            "total": len(results),
            "pass_rate": round(passed / len(results), 4),
        }
        assert f"{passed} of {len(results)} passed" in error
    assert told(capsys, ["search", str(tmp_path / "none")])[0] == 2
    (right / "grading.json").unlink()
    (right / "grading.json").mkdir()  # as of a folder that root, too, cannot write to
    code, output, error = told(capsys, ["search", str(right)])
    assert code == 2
    assert json.loads(output)["summary"]["failed"] == 0, "what was graded is lost"
    assert "grading.json" in error
