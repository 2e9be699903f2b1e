"""The throw-away server serves, says what is wrong, and never outlives who asked for it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import asyncpg
import psycopg
import psycopg2
import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "start-postgres.py"
WORLD = "/var/tmp" if os.getuid() == 0 else "/tmp"  # noqa: S108 - where nobody can pass


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder for temporary files of our own, short enough for a socket, that nobody can pass."""
    made = Path(subprocess.check_output(["mktemp", "-d", "-p", WORLD], text=True).strip())
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """The script as a module, for what no run can be made to meet."""
    spec = spec_from_file_location("start_postgres", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def command(*arguments: str) -> list[str]:
    """The script with *arguments*."""
    return [sys.executable, str(SCRIPT), *arguments]


def environment(room: Path, **more: str) -> dict[str, str]:
    """Ours, without what decides about the provider or leads elsewhere."""
    deciding = ("POSTGRES_", "DATABASE_", "PG")
    ours = {k: v for k, v in os.environ.items() if not k.startswith(deciding)}
    return ours | {"TMPDIR": str(room)} | more


def run(room: Path, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the script to its end."""
    extra = more.pop("env", {})
    return subprocess.run(
        command(*arguments),
        env=environment(room, **extra),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        **more,
    )


@contextmanager
def running(room: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The script while it serves, and the facts that it printed."""
    process = subprocess.Popen(
        command("--provider", "embedded", "--output-format", "json", *arguments),
        env=environment(room),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    with process.stdin, process.stdout:
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(30)


def eventually(condition: Callable[[], bool], within: float = 60.0) -> bool:
    """Whether *condition* holds before so many seconds are over."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def answers(url: str) -> bool:
    """Whether a server answers there."""
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def states(room: Path) -> list[Path]:
    """The folders of servers in *room*."""
    return list((room / f"soe-postgres-{os.getuid()}").iterdir())


def test_every_driver_reaches_it_and_it_goes(room: Path) -> None:
    with running(room, "--database", "desk", "--extension", "pg_trgm") as (_, facts):
        url = facts["url"]
        assert facts["provider"] == "embedded"
        assert facts["version"].startswith("18.")
        query = "SELECT current_database() || extname FROM pg_extension WHERE extname = 'pg_trgm'"
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            row = connection.execute("SHOW shared_preload_libraries").fetchone()
            assert row == ("pg_stat_statements",)
        old = psycopg2.connect(url)
        with old.cursor() as cursor:
            cursor.execute(query)
            assert cursor.fetchone() == ("deskpg_trgm",)
        old.close()

        async def ask() -> Any:
            connection = await asyncpg.connect(url)
            try:
                return await connection.fetchval(query)
            finally:
                await connection.close()

        assert asyncio.run(ask()) == "deskpg_trgm"
        socket_url = url.replace(url.partition("@")[2], f"/desk?host={facts['socket_dir']}")
        assert answers(f"{socket_url}&port={facts['port']}")
    assert not answers(url)
    assert states(room) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_no_server(room: Path, number: signal.Signals) -> None:
    with running(room) as (process, facts):
        process.send_signal(number)
        assert process.wait(10) == (-number if number == signal.SIGKILL else 0)
        assert eventually(lambda: not answers(facts["url"]))
        assert eventually(lambda: states(room) == [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_is_no_success(room: Path, number: signal.Signals) -> None:
    """As of a shell, so that ``--exec pytest && ./deploy`` stops there."""
    process = subprocess.Popen(
        command("--provider", "embedded", "--exec", "sh", "-c", "echo $$; exec sleep 60"),
        env=environment(room),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    with process.stdout:
        child = int(process.stdout.readline())
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert states(room) == []


def test_a_signal_while_the_command_starts_leaves_no_command(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    children: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            children.append(self)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(script.subprocess, "Popen", Interrupted)
    stop = partial(script.stop_on_signal, False)
    before = signal.signal(signal.SIGTERM, stop)
    server = script.Server("postgresql://127.0.0.1/postgres", "url", "18.6")
    try:
        with pytest.raises(SystemExit) as ended:
            script.execute(["sleep", "60"], server, os.getppid())
    finally:
        signal.signal(signal.SIGTERM, before)
    (child,) = children
    with child:
        code = child.poll()
        child.kill()
    assert ended.value.code == 143
    assert code == -signal.SIGTERM


def test_a_killed_parent_leaves_no_server(room: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time\n"
            # The server's standard input stays open: only the parent's death can end it.
            "subprocess.Popen(sys.argv[1:], stdin=sys.stdin); time.sleep(60)",
            *command("--provider", "embedded"),
        ],
        env=environment(room),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdin
    assert parent.stdout
    with parent.stdin, parent.stdout:
        url = parent.stdout.readline().strip()
        assert answers(url)
        parent.kill()
        parent.wait()
        assert eventually(lambda: not answers(url))
        assert eventually(lambda: states(room) == [])


def test_the_next_start_clears_a_power_cut(room: Path) -> None:
    with running(room) as (process, facts):
        (state,) = states(room)
        guards = subprocess.check_output(["pgrep", "-f", f"guard {state}"], text=True).split()
        for pid in guards:  # the guard first: nobody is left to clean up
            os.kill(int(pid), signal.SIGKILL)
        process.kill()
        process.wait()
        assert answers(facts["url"])
        assert run(room, "--provider", "embedded", "--exec", "true").returncode == 0
        assert eventually(lambda: not answers(facts["url"]))
        assert states(room) == []


def test_two_at_once_do_no_harm(room: Path) -> None:
    with running(room) as (_, first), running(room) as (_, second):
        assert first["url"] != second["url"]
        assert answers(first["url"])
        assert answers(second["url"])


def test_exec_ends_with_the_commands_code(room: Path) -> None:
    code = "import os, sys; sys.exit(7 if os.environ['DATABASE_URL'] else 1)"
    assert run(room, "--provider", "embedded", "--exec", sys.executable, "-c", code).returncode == 7


def test_a_bare_copy_serves_a_project_that_is_not_ours(room: Path) -> None:
    (room / "examples").mkdir()
    (room / "examples" / "__init__.py").write_text("raise SystemExit('the wrong examples')")
    copy = shutil.copy(SCRIPT, room / "start-postgres.py")
    result = subprocess.run(
        [sys.executable, copy, "--provider", "embedded", "--exec", "psql", "-Atc", "select 1"],
        cwd=room,
        env=environment(room),
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "1\n", result.stderr


def test_a_kept_cluster_is_found_again(room: Path) -> None:
    keep = room / "kept"
    arguments = ("--keep", str(keep), "--database", "desk", "--exec", "psql", "-Atc")
    assert run(room, *arguments, "create table t as select 42 as n").returncode == 0
    assert run(room, *arguments, "select n from t").stdout == "42\n"
    asked = "select current_setting('fsync'), current_setting('scram_iterations')"
    assert run(room, *arguments, asked).stdout == "on|4096\n"
    assert run(room, *arguments[2:], asked).stdout == "off|1\n", "thrown away: fast"


def test_of_two_starts_on_one_folder_the_second_leaves_the_first_alone(
    script: ModuleType, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second looked a moment before the first one's server was there."""
    keep = room / "kept"
    state = script.new_state(room)
    with running(room, "--keep", str(keep)) as (_, first):
        monkeypatch.setattr(script, "postmaster_pid", lambda *_: None)
        second = script.embedded(state, keep, None)
        with pytest.raises(script.StartError, match="lock file"), second:
            pass
        assert not state.exists(), "its guard has cleaned up"
        assert answers(first["url"])
    assert not answers(first["url"])


def test_a_long_command_line_is_whole_without_proc(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS, where ps cuts what no terminal sees."""

    def no_proc(path: Path) -> bytes:
        raise FileNotFoundError(path)

    monkeypatch.setattr(script.Path, "read_bytes", no_proc)
    monkeypatch.setenv("COLUMNS", "40")
    words = [sys.executable, "-c", "input()", "x" * 200, "the end"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        assert script.command_line(process.pid).rstrip().endswith("the end")
    assert script.command_line(process.pid) == ""


@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [
        (["--database-url", "postgresql://u:hunter2@127.0.0.1:1/x"], {}, "Connection refused"),
        (["--database-url", "mysql://u:hunter2@127.0.0.1/x"], {}, "expected: postgresql://"),
        (["--provider", "url"], {}, "no URL"),
        (["--provider", "embedded", "--version", "9"], {}, "gives PostgreSQL 18"),
        (["--version", "new"], {}, "a major version"),
        (["--provider", "embedded", "--extension", "no_such"], {}, "--extension no_such"),
        (["--exec"], {}, "without a command"),
        (["--provider", "embedded", "--exec", "no-such-program"], {}, "cannot be run"),
        ([], {"POSTGRES_PROVIDER": "cloud"}, "expected: one of auto, url"),
        ([], {"DATABASE_URL": "postgresql://u:hunter2@db.example/x"}, "not this machine"),
        (["--provider", "container"], {"DOCKER_HOST": "tcp://127.0.0.1:1"}, "it cannot serve"),
        (["--provider", "embedded"], {"TMPDIR": "/proc"}, "TMPDIR=/another/folder"),
        (["--keep", "/proc/nothing"], {}, "cannot be made"),
        (["--keep", "postgresql://u:hunter2@h/d"], {}, "received --keep with a connection string"),
        (
            ["--keep", " jdbc:postgresql://u:hunter2@h/d"],
            {},
            "received --keep with a connection string",
        ),
        (["--keep", "host=h password = hunter2"], {}, "received --keep with a connection string"),
        (
            ["--database", "postgresql+asyncpg://u:hunter2@h/d"],
            {},
            "received --database with a connection string",
        ),
        (
            ["--provider", "embedded", "--database-url", "postgresql://127.0.0.1:1/x"],
            {},
            "expected: one of the two",
        ),
        (
            ["--database-url", "postgresql://u:hunter2@127.0.0.1:1/x"],
            {"POSTGRES_PROVIDER": "embedded"},
            "Connection refused",
        ),
    ],
)
def test_errors_are_clear(room: Path, arguments: list[str], env: dict[str, str], said: str) -> None:
    result = run(room, *arguments, env=env, stdin=subprocess.DEVNULL)
    assert result.returncode == 2
    assert said in result.stderr
    assert "expected: " in result.stderr
    assert "try: " in result.stderr
    assert "Traceback" not in result.stderr
    assert "hunter2" not in result.stderr + result.stdout
    assert "ter2" not in result.stderr
    assert result.stdout == ""


def test_only_root_needs_the_cache_and_is_told(room: Path) -> None:
    unwritable = {"SOE_CACHE_DIR": "/proc/cache"}
    result = run(room, "--provider", "embedded", "--exec", "true", env=unwritable)
    if os.getuid() == 0:
        assert result.returncode == 2
        assert "received the cache folder /proc/cache" in result.stderr
        assert "try: SOE_CACHE_DIR=" in result.stderr
    else:
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("what", ["keep", "TMPDIR"])
def test_a_folder_that_the_servers_user_cannot_reach_is_told(room: Path, what: str) -> None:
    private = room / "private"
    private.mkdir(mode=0o700)
    arguments = ["--keep", str(private / "kept")] if what == "keep" else []
    env = {"TMPDIR": str(private)} if what == "TMPDIR" else {}
    result = run(room, "--provider", "embedded", *arguments, "--exec", "true", env=env)
    if os.getuid() == 0:
        assert result.returncode == 2
        assert "nobody, who serves for root, cannot reach" in result.stderr
        assert private.stat().st_mode & 0o777 == 0o700, "no permission elsewhere is changed"
    else:
        assert result.returncode == 0, result.stderr


def test_a_wrong_password_is_told_and_not_shown(room: Path) -> None:
    with running(room) as (_, facts):
        authority = facts["url"].partition("@")[2]
        wrong = f"postgresql://postgres:hunter2@{authority}"
        result = run(room, "--database-url", wrong, stdin=subprocess.DEVNULL)
    assert result.returncode == 2
    assert "password authentication failed" in result.stderr
    assert "hunter2" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_given_server_gets_a_database_that_goes(room: Path) -> None:
    listing = "SELECT datname FROM pg_database ORDER BY 1"
    with running(room) as (_, facts), psycopg.connect(facts["url"], autocommit=True) as admin:
        before = admin.execute(listing).fetchall()
        result = run(
            room,
            "--database-url",
            facts["url"],
            "--exec",
            sys.executable,
            "-c",
            "import os; print(os.environ['DATABASE_URL'])",
        )
        assert "/soe_" in result.stdout
        assert admin.execute(listing).fetchall() == before


def test_a_full_disk_is_told(room: Path) -> None:
    # A limit on the size of files fails as a full disk does, without the right to mount one.
    limited = ["bash", "-c", 'ulimit -f 2000; exec "$@"', "-"]
    result = subprocess.run(
        [*limited, *command("--provider", "embedded", "--exec", "true")],
        env=environment(room),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 2
    assert "failed" in result.stderr
    assert "room on the disk" in result.stderr
    assert "Traceback" not in result.stderr
    assert states(room) == []


def test_without_exec_the_end_of_its_input_is_told(room: Path) -> None:
    result = run(room, "--provider", "embedded", stdin=subprocess.DEVNULL)
    assert result.returncode == 0
    assert "standard input is closed: stopping" in result.stderr


def test_the_command_runs_in_the_users_environment_not_in_the_scripts(room: Path) -> None:
    """As under ``uv run``, which makes an environment for the script alone."""
    made = room / "environments-v2" / "start-postgres-0"
    venv.create(made, symlinks=True, with_pip=False)
    packages = made / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (packages / "ours.pth").write_text(sysconfig.get_path("purelib"))
    inherited = environment(room, VIRTUAL_ENV=str(made))
    inherited["PATH"] = f"{made / 'bin'}:{inherited['PATH']}"
    result = subprocess.run(
        [
            *(str(made / "bin" / "python"), str(SCRIPT), "--provider", "embedded", "--exec"),
            *("sh", "-c", 'command -v python3; echo "${VIRTUAL_ENV-none}"'),
        ],
        env=inherited,
        check=True,
        capture_output=True,
        text=True,
    )
    python, active = result.stdout.splitlines()
    assert not python.startswith(str(made))
    assert active == "none"


def test_a_folder_that_is_just_made_is_nobodys_leftover(
    script: ModuleType, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another start clears leftovers between the making of the lock's file and its locking."""
    state = room / "state"
    state.mkdir()
    lock = fcntl.flock

    def meanwhile(descriptor: int, how: int) -> None:
        monkeypatch.setattr(script.fcntl, "flock", lock)
        script.clear_leftovers(room)
        lock(descriptor, how)

    monkeypatch.setattr(script.fcntl, "flock", meanwhile)
    descriptor = script.own(state)
    assert state.is_dir()
    script.clear_leftovers(room)
    assert state.is_dir(), "its owner lives"
    os.close(descriptor)
    script.clear_leftovers(room)
    assert not state.exists()
