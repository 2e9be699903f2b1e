"""The session of curl calls on the page is one that was run."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys

import psycopg
import pytest

from examples.fastapi_app.__main__ import listening
from tests.pages.blocks import Block, blocks_of
from tests.pages.test_pages import ROOT

PAGE = ROOT / "references" / "fastapi.md"


def session_of_curl() -> Block:
    """The page's block of shell."""
    (block,) = (block for block in blocks_of(PAGE.read_text()) if block.language == "sh")
    return block


def start(*arguments: str) -> subprocess.Popen[str]:
    """``python -m examples.fastapi_app`` on any free port."""
    command = [sys.executable, "-W", "error", "-m", "examples.fastapi_app", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.once
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_pages_session(postgres_url: str, number: signal.Signals) -> None:
    assert shutil.which("curl"), "the page's session needs curl"
    name = f"page-{secrets.token_hex(4)}"
    server = start("--port", "0", "--database-url", f"{postgres_url}?application_name={name}")
    block = session_of_curl()
    assert block.not_run
    assert block.expected is not None
    with server, psycopg.connect(postgres_url, autocommit=True) as admin:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.code],
                env={**os.environ, "DESK": url},
                check=False,
                capture_output=True,
                text=True,
                timeout=120,
            )
            query = "SELECT datname FROM pg_stat_activity WHERE application_name = %s"
            used = {row[0] for row in admin.execute(query, [name])}
        finally:
            server.send_signal(number)
            _, told = server.communicate(timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.strip() == block.expected.strip()
        assert (server.returncode, told) == (0, "")
        known = {row[0] for row in admin.execute("SELECT datname FROM pg_database")}
    assert used, "it was connected"
    assert not used & known, "its database is dropped"


@pytest.mark.once
def test_a_port_that_is_taken_is_told(postgres_url: str) -> None:
    with listening(0) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        server = start("--port", port, "--database-url", postgres_url)
        _, told = server.communicate(timeout=120)
    assert server.returncode == 2
    assert told.startswith("error: ")
