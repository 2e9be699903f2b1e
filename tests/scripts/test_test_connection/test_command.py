"""The program as it is called: help, files, waiting, a bare copy in somebody else's project."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.scripts.test_test_connection import servers
from tests.scripts.test_test_connection.conftest import Run
from tests.scripts.test_test_connection.servers import PASSWORD, SCRIPT, Cluster

# isort: split
from test_connection import __main__ as program
from test_connection.__main__ import main, read_env_file
from test_connection.core import Report
from test_connection.drivers import installed

DRIVERS = ("psycopg", "psycopg2", "asyncpg")


def call(script: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own, from another folder."""
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd="/",
        env=os.environ | more,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The scripts as an installer leaves them: without ``__init__.py``, in a path with a space."""
    target = tmp_path / "the skill" / "scripts"
    shutil.copytree(
        SCRIPT.parent, target, ignore=shutil.ignore_patterns("__pycache__", "__init__.py")
    )
    assert not list(target.rglob("__init__.py"))
    return target / SCRIPT.name


def stubs(folder: Path, *names: str) -> str:
    """A folder to put on the path, in which these modules cannot be imported."""
    folder.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(f'raise ImportError("No module named {name!r}")')
    return str(folder)


def test_a_bare_copy_with_one_driver(
    copy: Path, driver: str, database_url: str, tmp_path: Path
) -> None:
    others = [name for name in DRIVERS if name != driver]
    path = stubs(tmp_path / "stubs", *others, "alembic")
    result = call(copy, database_url, "--driver", "all", "--output-format", "json", PYTHONPATH=path)
    assert "Traceback" not in result.stderr
    found = json.loads(result.stdout)
    assert [report["driver"] for report in found["drivers"]] == [driver]
    assert found["drivers"][0]["failure"] is None
    for other in others:
        result = call(copy, database_url, "--driver", other, PYTHONPATH=path)
        assert (result.returncode, "Traceback" in result.stderr) == (2, False)
        assert f"installed drivers: {driver}" in result.stdout


@pytest.mark.once
def test_without_sqlalchemy(copy: Path, tmp_path: Path) -> None:
    result = call(copy, "postgresql://h/d", PYTHONPATH=stubs(tmp_path / "stubs", "sqlalchemy"))
    assert (result.returncode, result.stdout) == (2, "")
    assert "expected: SQLAlchemy 2.0 or 2.1" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.once
def test_help_tells_the_exit_codes_and_shows_examples(copy: Path) -> None:
    result = call(copy, "--help")
    assert result.returncode == 0
    for code in range(7):
        assert f"\n  {code}  " in result.stdout
    assert "examples:" in result.stdout
    assert "--env-file .env" in result.stdout
    assert all(len(line) <= 100 for line in result.stdout.splitlines())


@pytest.mark.once
@pytest.mark.parametrize(
    "arguments", [["--timeout", "0"], ["--timeout", "x"], ["--pings", "-1"], ["--no-such"]]
)
def test_a_wrong_call(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.once
def test_data_and_diagnostics(capsys: pytest.CaptureFixture[str]) -> None:
    """What failed is data; how it ended is told beside it."""
    with servers.closed_port() as port:
        code = main([f"postgresql+psycopg://app@127.0.0.1:{port}/desk"])
        printed = capsys.readouterr()
        assert code == 3
        assert f"app@127.0.0.1:{port}/desk by psycopg" in printed.out
        assert "  TCP             FAILED" in printed.out
        assert "  likely causes\n    1. PostgreSQL is not running there" in printed.out
        assert "  try\n    pg_isready" in printed.out
        assert printed.err == "test-connection: failed at TCP (exit 3)\n"
        arguments = [f"postgresql+psycopg://app@127.0.0.1:{port}/desk", "--output-format"]
        main([*arguments, "concise"])
        printed = capsys.readouterr()
        assert printed.out == (f"psycopg: TCP: failure: 127.0.0.1:{port}: connection refused\n")


@pytest.mark.once
def test_the_drivers_differ(capsys: pytest.CaptureFixture[str], primary: Cluster) -> None:
    """libpq's parameter, which asyncpg does not know: it is told where they part."""
    code = main([primary.url() + "?sslmode=require", "--driver", "all", "--pings", "0"])
    printed = capsys.readouterr()
    assert code == 2
    assert "the drivers differ: psycopg: connects, psycopg2: connects, asyncpg: URL" in printed.err


@pytest.mark.once
def test_the_drivers_agree(capsys: pytest.CaptureFixture[str], primary: Cluster) -> None:
    assert main([primary.url(), "--driver", "all", "--output-format", "json"]) == 0
    printed = capsys.readouterr()
    assert [each["driver"] for each in json.loads(printed.out)["drivers"]] == list(installed())
    assert printed.err == "test-connection: fine: 0 failures, 0 warnings (exit 0)\n"


# --- --env-file -----------------------------------------------------------------------------------


@pytest.mark.once
def test_an_env_file(run: Run, driver: str, primary: Cluster, tmp_path: Path) -> None:
    """It wins over the environment; one that names no URL is not outdone by another's."""
    file = tmp_path / ".env"
    os.environ["DATABASE_URL"] = "postgresql://app@nowhere.invalid/desk"
    file.write_text(f"# ours\nexport DATABASE_URL='{primary.url()}'\n")
    assert run("--env-file", str(file), "--driver", driver)["code"] == 0
    os.environ["DATABASE_URL"] = "postgresql://app@nowhere.invalid/desk"
    lines = ["PGHOST=127.0.0.1", f"PGPORT={primary.port}", "PGUSER=app", "PGDATABASE=desk  # ours"]
    file.write_text("\n".join([*lines, f'PGPASSWORD="{PASSWORD}"']))
    report = run("--env-file", str(file), "--driver", driver)
    assert report["code"] == 0
    assert report["target"].startswith("app@127.0.0.1")


@pytest.mark.once
@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("  export A = b ", "b"),
        ("A='b # c'", "b # c"),
        ('A="b"  # c', "b"),
        ("A=b # c", "b"),
        ("A=b#c", "b#c"),
        ("A=b'", "b'"),
        ("A='b", "'b"),
        ("A=", ""),
        ("A=postgresql://u:p=q@h/d", "postgresql://u:p=q@h/d"),
        ("A=a\u2028b\r", "a\u2028b"),
    ],
)
def test_a_line_of_an_env_file(tmp_path: Path, line: str, value: str) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"\xef\xbb\xbf\n" + line.encode())
    assert read_env_file(file) == {"A": value}


@pytest.mark.once
@pytest.mark.parametrize("content", [b"secret-without-a-name", b"A=\xff", b"A=b\0c"])
def test_an_env_file_that_is_none(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / ".env"
    file.write_bytes(content)
    assert main(["--env-file", str(file)]) == 2
    printed = capsys.readouterr()
    assert "received --env-file" in printed.err
    assert "secret" not in printed.err
    assert main(["--env-file", str(tmp_path / "gone")]) == 2


@pytest.mark.once
def test_alembic_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["postgresql://h/d", "--alembic", str(tmp_path / "gone.ini")]) == 2
    assert "there is no such file" in capsys.readouterr().err
    broken = tmp_path / "alembic.ini"
    broken.write_text("[alembic]\n")
    assert main(["postgresql://h/d", "--alembic", str(broken)]) == 2
    assert "alembic.ini" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "alembic.config", None)
    assert main(["postgresql://h/d", "--alembic", str(broken)]) == 2
    assert "pip install alembic" in capsys.readouterr().err


# --- --wait ---------------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.usefixtures("leaping")
def test_waiting_in_vain(run: Run, starting: Cluster) -> None:
    report = run(starting.url("owner", "postgres"), "--wait", "250")
    assert report["code"] == 6
    assert "waiting: server: the server is not ready" in report["printed"]


@pytest.mark.once
def test_what_no_waiting_mends_is_not_waited_for(run: Run, primary: Cluster) -> None:
    report = run(primary.url("app", "desk", "another"), "--wait", "600")
    assert report["code"] == 4


def opening(until_ready: Callable[..., None], door: threading.Event) -> Callable[..., None]:
    """*until_ready*, whose first attempt comes to a closed door, and the others to an open one."""

    def wrapped(seconds: float, attempt: Callable[[float], Report]) -> None:
        def once_more(left: float) -> Report:
            found = attempt(left)
            door.set()
            return found

        until_ready(seconds, once_more)

    return wrapped


@pytest.fixture
def late(primary: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port that refuses the first, then leads to the server: one that starts just now."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
        loop = asyncio.new_event_loop()
        knocked, over = threading.Event(), threading.Event()

        async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            except OSError:
                pass
            finally:
                writer.close()

        async def through(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            further = await asyncio.open_connection("127.0.0.1", primary.port)
            await asyncio.gather(pipe(reader, further[1]), pipe(further[0], writer))

        async def serve() -> None:
            await loop.run_in_executor(None, knocked.wait)
            server = await asyncio.start_server(through, sock=door)
            async with server:
                await loop.run_in_executor(None, over.wait)
            await asyncio.sleep(0.1)
            await loop.shutdown_default_executor()

        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
        thread.start()
        # The program pauses when it was refused: that opens the door.
        monkeypatch.setattr(program, "PAUSE", 0.05)
        monkeypatch.setattr(program, "until_ready", opening(program.until_ready, knocked))
        yield port
        over.set()
        knocked.set()
        thread.join()
        loop.close()


@pytest.mark.once
def test_it_waits_for_a_server_that_comes(
    run: Run, driver: str, primary: Cluster, late: int
) -> None:
    url = make_url(primary.url()).set(port=late).render_as_string(hide_password=False)
    report = run(url, "--wait", "60", "--driver", driver)
    assert report["code"] == 0
    assert "waiting: TCP: " in report["printed"]
