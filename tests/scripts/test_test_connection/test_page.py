"""The page quotes what drivers really say: each row of its tables against real failures."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import psycopg
import psycopg2
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from tests.scripts.test_test_connection import servers
from tests.scripts.test_test_connection.servers import CERTIFICATES, CONNECTIONS, ROOT, Cluster

# isort: split
from test_connection.__main__ import EXAMPLES, parser
from test_connection.api import look

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:Exception ignored in. <function _SelectorTransport"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket fd"),
]

PAGE = (ROOT / "references" / "test-connection.md").read_text()
DRIVERS = ("psycopg", "psycopg2", "asyncpg")


def rows_of(section: str) -> list[list[str]]:
    """The rows of the table below that heading, without its head."""
    text = PAGE.partition(f"\n### {section}\n")[2].partition("\n#")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


LAYERS = ("DNS and TCP", "TLS", "Authentication", "Connections, and a server that is not ready")
QUOTED = [row for section in LAYERS for row in rows_of(section)]


def quoted(cell: str, driver: str) -> list[str]:
    """The words in *cell* that are said to be of *driver*."""
    found = re.findall(r"`([^`]+)`(?: \((\w+)\))?", cell)
    return [words for words, owner in found if owner in {"", driver}]


def says(words: str, text: str) -> bool:
    """Whether *text* has *words*, in which … stands for anything."""
    return re.search(".*?".join(map(re.escape, words.split("…"))), text) is not None


@pytest.fixture(scope="module")
def said(
    primary: Cluster, german: Cluster, starting: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """What each driver says, failure by failure."""
    heard: dict[str, list[str]] = {driver: [] for driver in DRIVERS}
    home = tmp_path_factory.mktemp("home")
    authority = home / "ca.pem"
    CERTIFICATES.authority.cert_pem.write_to_path(str(authority))

    def listen(url: str, **variables: str) -> None:
        saved = dict(os.environ)
        os.environ.update(variables, HOME=str(home))
        for driver in DRIVERS:
            failure = look(url, driver=driver, timeout=20).failure
            assert failure is not None
            assert failure.said
            heard[driver].append(failure.said)
        os.environ.clear()
        os.environ.update(saved)

    with ExitStack() as stack:
        listen("postgresql://app@nowhere.invalid/desk")
        closed = stack.enter_context(servers.closed_port())
        listen(f"postgresql://app@127.0.0.1:{closed}/desk")
        web = stack.enter_context(servers.stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        listen(f"postgresql://app@127.0.0.1:{web}/desk")
        listen(primary.url("app", "desk", "another"))
        listen(primary.url("app", "desk", ""))
        for user in ("ghost", "nologin", "outsider", "rejected", "mapped"):
            listen(primary.url(user))
        for database in ("desc", "private"):
            listen(primary.url("trusted", database))
        listen(german.url("owner", "postgres"), PGSSLMODE="require")
        listen(primary.url(), PGSSLMODE="verify-full")
        for certificate in (
            CERTIFICATES.expired, CERTIFICATES.of_another_host, CERTIFICATES.untrusted,
        ):  # fmt: skip
            primary.present(certificate)
            listen(primary.url(), PGSSLMODE="verify-full", PGSSLROOTCERT=str(authority))
        primary.present(CERTIFICATES.right)
        listen(starting.url("owner", "postgres"))
        with ExitStack() as held:
            for _ in range(CONNECTIONS):
                try:
                    held.enter_context(psycopg.connect(primary.url("trusted")))
                except psycopg.OperationalError:
                    break
            listen(primary.url("trusted"))
        for driver, words in time_outs().items():
            heard[driver].append(words)
    return heard


def time_outs() -> dict[str, str]:
    """What each says of a black hole, within the least time that libpq takes."""
    found = {}
    with servers.black_hole() as port:
        url = f"postgresql://app@127.0.0.1:{port}/desk?connect_timeout=2"
        with pytest.raises(psycopg.OperationalError) as first:
            psycopg.connect(url)
        with pytest.raises(psycopg2.OperationalError) as second:
            psycopg2.connect(url)

        async def ask() -> None:
            await asyncpg.connect(host="127.0.0.1", port=port, user="app", timeout=0.2)

        with pytest.raises(TimeoutError) as third:
            asyncio.run(ask())
        for driver, caught in zip(DRIVERS, (first, second, third), strict=True):
            found[driver] = f"{type(caught.value).__name__}: {caught.value}"
    assert found["asyncpg"] == "TimeoutError: "
    return found


@pytest.mark.parametrize("row", QUOTED, ids=lambda row: row[0][:40])
def test_a_driver_says_so(said: dict[str, list[str]], row: list[str]) -> None:
    for driver in DRIVERS:
        for words in quoted(row[1 if driver == "asyncpg" else 0], driver):
            assert any(says(words, text) for text in said[driver]), f"{driver}: {words}"


def connect(url: str) -> None:
    """By an engine."""
    create_engine(url).connect()


def connect_by_asyncio(url: str) -> None:
    """By an asynchronous one."""

    async def inside() -> None:
        async with create_async_engine(url).connect():
            pass

    asyncio.run(inside())


BEFORE: dict[str, tuple[Callable[[str], None], str]] = {
    "Can't load plugin": (connect, "postgres://a@127.0.0.1:1/d"),
    "The asyncio extension": (connect_by_asyncio, "postgresql+psycopg2://a@127.0.0.1:1/d"),
    "connect() got": (connect_by_asyncio, "postgresql+asyncpg://a@127.0.0.1:1/d?sslmode=require"),
    "invalid connection option": (connect, "postgresql+psycopg2://a@127.0.0.1:1/d?ssl=require"),
    "sslmode": (connect_by_asyncio, "postgresql+asyncpg://a@127.0.0.1:1/d?ssl=true"),
    "invalid literal": (connect, "postgresql://a:p@s:s@127.0.0.1/d"),
    "Could not parse": (connect, "127.0.0.1:1/d"),
    "greenlet_spawn": (connect, "postgresql+asyncpg://a@127.0.0.1:1/d"),
    "No module named": (connect, "postgresql+psycopg2://a@127.0.0.1:1/d"),
}


@pytest.mark.filterwarnings("ignore:coroutine .connect. was never awaited")
@pytest.mark.parametrize("row", rows_of("Before anything is sent"), ids=lambda row: row[0][:30])
def test_sqlalchemy_says_so(
    row: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (key,) = [key for key in BEFORE if row[0].startswith(f"`{key}")]
    if key == "No module named":
        import sys

        monkeypatch.delitem(sys.modules, "psycopg2")
        (tmp_path / "psycopg2.py").write_text("raise ImportError(\"No module named 'psycopg2'\")")
        monkeypatch.syspath_prepend(str(tmp_path))
    act, url = BEFORE[key]
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each has a class of its own
        act(url)
    for words in quoted(row[0], ""):
        assert words in str(caught.value)


def test_the_page_has_the_exit_codes_of_the_help() -> None:
    told = dict(re.findall(r"^\| (\d) \| (.+) \|$", PAGE, re.M))
    helped = dict(re.findall(r"^  (\d)  (.+)$", EXAMPLES, re.M))
    assert {code: text.replace("`", "") for code, text in told.items()} == helped


def test_the_page_names_no_option_that_is_gone() -> None:
    known = {option for action in parser()._actions for option in action.option_strings}
    ours = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) - {"--exec"}
    assert ours <= known
    assert known - ours <= {"-h", "--help", "--alembic-version-table"}
