"""Whatever env.py names, it is the scratch database that it gets, and nobody else is asked."""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import URL, Connection, NullPool, create_engine, inspect, make_url, text
from sqlalchemy.pool import QueuePool

from tests.scripts.test_generate_migration import projects
from tests.scripts.test_generate_migration.projects import (
    FIRST,
    MODELS,
    MORE,
    SECOND,
    env,
    never_asked,
    shop,
)

# isort: split
from generate_migration.__main__ import main
from generate_migration.core import NOT_READY, Refused
from generate_migration.project import find, inside
from generate_migration.redirect import Redirection, Unasked, at, named
from generate_migration.run import Runner
from generate_migration.scratch import Scratch, with_connection
from generate_migration.state import heads_in

BY_VARIABLE = 'os.environ["DATABASE_URL"]'
FROM_CONFIG = "engine_from_config(config.get_section(config.config_ini_section)"
ENGINES = {
    "engine_from_config": f'{FROM_CONFIG}, "sqlalchemy.", poolclass=pool.NullPool)',
    "DATABASE_URL": f"create_engine({BY_VARIABLE})",
    "connect_args": f"create_engine({BY_VARIABLE}, connect_args={{"
    '"host": "127.0.0.1", "port": 1, "password": "wrong", "options": "-c lock_timeout=77ms"})',
    "creator": f"create_engine({BY_VARIABLE}, creator=lambda: 1 / 0)",
}
ASYNC_ENGINES = {
    "engine_from_config": f'async_{FROM_CONFIG}, "sqlalchemy.", poolclass=pool.NullPool)',
    "DATABASE_URL": f"create_async_engine({BY_VARIABLE})",
    "creator": f"create_async_engine({BY_VARIABLE}, async_creator=lambda: 1 / 0)",
}
SERVER_SETTINGS = 'connect_args={"server_settings": {"lock_timeout": "77ms"}, "timeout": 9}'
PARAMETERS = [
    ("psycopg2", "engine_from_config", env(ENGINES["engine_from_config"])),
    ("psycopg2", "connect_args", env(ENGINES["connect_args"])),
    *[("psycopg", way, env(text)) for way, text in ENGINES.items()],
    *[("asyncpg", way, env(text)) for way, text in ASYNC_ENGINES.items()],
    ("psycopg", "async", env(ASYNC_ENGINES["DATABASE_URL"])),
    ("asyncpg", "connect_args", env(f"create_async_engine({BY_VARIABLE}, {SERVER_SETTINGS})")),
]


def upgraded(ini: Path, url: URL) -> list[str]:
    """Bring the database at *url* to head by the project's own env.py: each ``lock_timeout``."""
    project = find(ini, ini.parent, "alembic", ())
    with inside(project):
        statements = Runner(project).upgrade(url, "heads")
    assert heads_in(url, "alembic_version", None) == (FIRST,)
    return [each.lock_timeout for each in statements]


@pytest.mark.parametrize(
    ("driver", "way", "env_py"), PARAMETERS, ids=[f"{d}-{w}" for d, w, _ in PARAMETERS]
)
def test_a_poisoned_url_leads_to_the_scratch_database(
    driver: str, way: str, env_py: str, tmp_path: Path, empty: URL
) -> None:
    with never_asked() as port:
        poison = f"postgresql+{driver}://nobody:wr%40ng@127.0.0.1:{port}/never"
        ini = shop(tmp_path / "a shop", url=poison, env_py=env_py)
        os.environ["DATABASE_URL"] = poison
        found = upgraded(ini, empty)
    assert found == ["77ms" if way == "connect_args" else "0"]
    assert os.environ["DATABASE_URL"] == poison


def test_the_port_notices_who_asks() -> None:
    with pytest.raises(AssertionError, match="must never be asked"), never_asked() as port:
        socket.create_connection(("127.0.0.1", port)).close()


def test_options_of_the_url_stay(tmp_path: Path, empty: URL) -> None:
    poison = "postgresql+psycopg://nobody@127.0.0.1:1/never?options=-c%20lock_timeout%3D55ms"
    os.environ["DATABASE_URL"] = poison + "&sslmode=verify-full&target_session_attrs=standby"
    ini = shop(tmp_path, env_py=env(f"create_engine({BY_VARIABLE})"))
    assert upgraded(ini, empty) == ["55ms"]


def test_without_a_variable_there_is_one(tmp_path: Path, empty: URL) -> None:
    ini = shop(tmp_path, env_py=env(f"create_engine({BY_VARIABLE})"))
    assert upgraded(ini, empty) == ["0"]
    assert "DATABASE_URL" not in os.environ


def test_a_pool_that_was_kept_leads_to_the_next_database(tmp_path: Path, scratch: Scratch) -> None:
    """The application's own engine, made once, and asked for again with each run."""
    engine = f"create_engine({BY_VARIABLE})"
    kept = env("kept").replace("from shop.models", "from shop.db import kept\nfrom shop.models")
    kept = kept.replace("connectable.dispose()", "assert connectable.pool.checkedin() == 1")
    ini = shop(tmp_path, env_py=kept)
    projects.write(
        tmp_path / "src" / "shop" / "db.py",
        f"import os\nfrom sqlalchemy import create_engine\nkept = {engine}\n",
    )
    project = find(ini, tmp_path, "alembic", ())
    with inside(project), scratch.empty() as one, scratch.empty() as other:
        runner = Runner(project)
        for url in (one, other, one):
            runner.upgrade(url, "heads")
            assert heads_in(url, "alembic_version", None) == (FIRST,)
        # A copy of a database to which the pool still holds a connection.
        with scratch.clone(one) as copy:
            runner.downgrade(copy, FIRST)
            assert heads_in(copy, "alembic_version", None) == ()
        assert heads_in(one, "alembic_version", None) == (FIRST,)
        sys.modules["shop.db"].kept.dispose()


# --- What a revision imports ----------------------------------------------------------------------

# The application's engine, as a revision finds it that imports the application.
MADE_AT_IMPORT = {
    "creator": 'create_engine("postgresql+psycopg://", creator=connect)',
    "pool": 'create_engine("postgresql+psycopg://", pool=QueuePool(connect))',
    "asyncpg": 'create_async_engine("postgresql+asyncpg://", async_creator=connect_async)',
    "url": "create_engine(URL, connect_args={'options': '-c lock_timeout=900ms'})",
    "connected": "connected(create_engine(URL))",
}
DB = """
import asyncpg, psycopg
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import QueuePool

URL, DSN = {url!r}, {dsn!r}
def connect(): return psycopg.connect(DSN)
async def connect_async(*_, **__): return await asyncpg.connect(DSN)
def connected(engine):
    engine.connect().close()
    return engine
kept = {engine}
"""


def shop_that_imports(folder: Path, engine: str, url: URL) -> Path:
    """A project whose second revision imports the application's engine, as its env.py does."""
    name = "async_kept" if "async" in engine else "kept"
    kept = env(name).replace("\nconnectable.dispose()", "")  # its pool stays as it is
    ini = shop(folder, env_py=f"from shop.db import kept as {name}\n{kept}", models=MODELS + MORE)
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    shown = url.render_as_string(hide_password=False)
    projects.write(folder / "src" / "shop" / "db.py", DB.format(url=shown, dsn=dsn, engine=engine))
    add = 'op.add_column("orders", sa.Column("note", sa.Text))'
    path = projects.revision(folder, SECOND, FIRST, add, 'op.drop_column("orders", "note")')
    path.write_text(f"import shop.db\n{path.read_text()}")
    return ini


@pytest.fixture
def theirs(scratch: Scratch, tmp_path: Path) -> Iterator[URL]:
    """A database of somebody's, at the second revision, with a note."""

    def fill(connection: Connection) -> None:
        connection.execute(text("INSERT INTO orders (customer, note) VALUES ('me', 'kept')"))
        connection.commit()

    with scratch.empty() as url:
        ini = shop_that_imports(tmp_path / "before", "create_engine(URL)", url)
        project = find(ini, tmp_path, "alembic", ())
        with inside(project):
            Runner(project).upgrade(url, "heads")
        sys.modules["shop.db"].kept.dispose()
        for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
            del sys.modules[name]
        with_connection(url, fill)
        yield url


def notes_in(url: URL) -> list[str]:
    """What the database at *url* holds."""
    return with_connection(
        url, lambda connection: list(connection.scalars(text("SELECT note FROM orders")))
    )


@pytest.mark.parametrize("way", MADE_AT_IMPORT)
def test_what_a_revision_imports_leads_nowhere_else(
    way: str, theirs: URL, tmp_path: Path, postgres_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is imported when the revisions are read, before there is a scratch database."""
    ini = shop_that_imports(tmp_path / "shop", MADE_AT_IMPORT[way], theirs)
    usual = ("-c", str(ini), "--scratch-url", postgres_url, "--no-squawk", "--rows", "5")
    code = main([*usual, "--check", "--since", FIRST])
    printed = capfd.readouterr()
    if way != "asyncpg" and "shop.db" in sys.modules:
        sys.modules["shop.db"].kept.dispose()
    # Down and up again would have taken the notes with it.
    assert notes_in(theirs) == ["kept"]
    assert heads_in(theirs, "alembic_version", None) == (SECOND,)
    if way == "connected":
        assert code == 3
        assert "whose revisions import what connects to a database" in printed.err
        assert f"{tmp_path / 'shop' / 'src' / 'shop' / 'db.py'}:10" in printed.err
    else:
        assert code in {0, 1}, printed.err
        assert "ok     second upgrade" in printed.out


def test_nobody_is_asked_while_revisions_are_read(tmp_path: Path) -> None:
    with never_asked() as port:
        poison = make_url(f"postgresql+psycopg://nobody:wr%40ng@127.0.0.1:{port}/never")
        ini = shop_that_imports(tmp_path, MADE_AT_IMPORT["connected"], poison)
        project = find(ini, tmp_path, "alembic", ())
        with inside(project), pytest.raises(Refused, match="connects to a database") as caught:
            Runner(project).scripts()
    assert caught.value.exit_code == NOT_READY


def test_a_creator_is_not_asked_afterwards(empty: URL) -> None:
    """Its pool may outlive the run."""
    with Redirection().to(empty):
        creator = {"creator": lambda: 1 / 0, "poolclass": NullPool}
        other = create_engine("postgresql+psycopg://", **creator)
        with other.connect() as connection:
            assert connection.scalar(text("SELECT current_database()")) == empty.database
    with pytest.raises(Unasked):
        other.raw_connection()


# --- What leads elsewhere all the same ------------------------------------------------------------


def test_a_connection_that_was_open_before_is_refused(
    tmp_path: Path, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can redirect it: its database is asked for its name before anything runs there."""
    imports, body = "from shop.db import connection", "run(connection)"
    ini = shop(tmp_path, env_py=projects.ENV.format(imports=imports, body=body, options=""))
    application: Any = ModuleType("shop.db")
    monkeypatch.setitem(sys.modules, "shop.db", application)
    with scratch.empty() as ours, scratch.empty() as other:
        engine = create_engine(other, poolclass=NullPool)
        application.connection = engine.connect()
        with application.connection, pytest.raises(Refused, match="is no scratch") as caught:
            upgraded(ini, ours)
        assert f"/{other.database}" in str(caught.value)
        assert f":{other.password}@" not in str(caught.value)
        assert caught.value.exit_code == NOT_READY
        for url in (ours, other):
            assert with_connection(url, lambda found: inspect(found).get_table_names()) == []


def test_another_sort_of_database_is_refused(tmp_path: Path, empty: URL) -> None:
    file = tmp_path / "theirs.db"
    engine = f'create_engine("sqlite:///{file}", poolclass=pool.NullPool)'
    with pytest.raises(Refused, match="connects to sqlite:///"):
        upgraded(shop(tmp_path / "shop", env_py=env(engine)), empty)
    with closing(sqlite3.connect(file)) as found:
        names = {name for (name,) in found.execute("SELECT name FROM sqlite_master")}
    assert "orders" not in names


def test_afterwards_all_is_as_it_was(empty: URL) -> None:
    redirection, plain = Redirection(), QueuePool.__init__
    with redirection.to(empty):
        other = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/never")
        with other.connect() as connection:
            assert connection.scalar(text("SELECT current_database()")) == empty.database
        other.dispose()
    assert redirection.target is None
    assert QueuePool.__init__ is plain
    with pytest.raises(Exception, match="refused"):
        other.connect()
    name = with_connection(empty, lambda found: found.scalar(text("SELECT current_database()")))
    assert name == empty.database


# --- The environment ------------------------------------------------------------------------------

TARGET = make_url("postgresql+psycopg://me:s%40cret@127.0.0.1:5555/soe_1")


def test_every_variable_that_names_a_postgresql_names_ours() -> None:
    found = named(
        TARGET,
        {
            "APP_DB": "postgresql+asyncpg://a:b@prod.example/app?ssl=require&timeout=3",
            "OLD": "postgres://a:b@prod.example/app",
            "BROKEN": "postgresql://a:b@[prod:x/app",
            "PGHOST": "prod.example",
            "PGPASSWORD": "b",
            "HOME": "/home/me",
            "REDIS_URL": "redis://cache",
        },
    )
    ours = "me:s%40cret@127.0.0.1:5555/soe_1"
    assert found == {
        "DATABASE_URL": f"postgresql+psycopg://{ours}",
        "APP_DB": f"postgresql+asyncpg://{ours}?timeout=3",
        "OLD": f"postgres://{ours}",
        "BROKEN": f"postgresql://{ours}",
        "PGHOST": "127.0.0.1",
        "PGPASSWORD": "s@cret",
    }


def test_each_driver_gets_the_parameters_that_it_knows() -> None:
    url = TARGET.update_query_dict({"sslmode": "require", "host": "/run/x"})
    assert at(url, "psycopg2").query == url.query
    assert at(url, "asyncpg").query == {"ssl": "require", "host": "/run/x"}
    assert at(url, "pg8000").query == {}
