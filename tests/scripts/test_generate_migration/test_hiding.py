"""No piece of a password is shown, whatever is wrong around it."""

from __future__ import annotations

import configparser
import json
import sys
from pathlib import Path

import pytest

from tests.scripts.test_generate_migration.projects import (
    ENGINE,
    MODELS,
    env,
    revision,
    shop,
    write,
)

# isort: split
from generate_migration.__main__ import main
from generate_migration.core import Refused
from generate_migration.hiding import hidden
from generate_migration.project import find
from generate_migration.refusal import reason

PASSWORDS = ["hunter2", "top/sec@ret", "p%ss:word?x#y", "ab@cd@ef/gh", "%2024Summer", "it's,(mine)"]
LEAST = 4  # characters that are a piece


def pieces(password: str) -> set[str]:
    """All that must not be seen."""
    return {password[n : n + LEAST] for n in range(len(password) - LEAST + 1)}


def shown(text: str, password: str) -> set[str]:
    """The pieces of *password* in *text*."""
    return {piece for piece in pieces(password) if piece in text and piece not in {"word", "pass"}}


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize(
    "form",
    [
        "postgresql+psycopg://me:{}@127.0.0.1:5432/shop",
        "Could not parse 'postgresql://me:{}@db.example/shop'.",
        "two: a://me:{}@h/d b://you:{}@h/d",
        "postgres:/me:{}@host",
        "me:{}@host/d",
        "password={} host=db",
        "PGPASSWORD={}",
        "db_password: {}",
        "unrecognized arguments: --password {} -x",
        "--db-password two {}",
        "--pwd=two {}",
        "settings: [type=url, input_value='{}', input_type=str]",
    ],
)
def test_no_piece_is_seen(form: str, password: str) -> None:
    text = form.replace("{}", password)
    assert shown(text, password)
    assert not shown(hidden(text), password)
    assert "***" in hidden(text)


@pytest.mark.parametrize("password", [each for each in PASSWORDS if "@" not in each])
def test_no_piece_is_seen_of_one_cut_off(password: str) -> None:
    assert not shown(hidden(f"input was 'postgresql://me:{password}..."), password)


@pytest.mark.parametrize("password", [*PASSWORDS, "two words", 'a "quoted" one'])
def test_no_piece_is_seen_of_a_quoted_one(password: str) -> None:
    found = {"user": "me", "password": password, "port": 1}
    for text in (json.dumps(found), json.dumps(json.dumps(found)), repr(found), f"{found!r}, x=1"):
        assert not shown(hidden(text), password), text
    url = f"said: {f'postgresql://me:{password}@h/d'!r}"
    if '"' not in password and "'" not in password:
        assert not shown(hidden(url), password)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql+psycopg://user:password@host:5432/database",
        "postgresql://me:***@127.0.0.1/d failed",
        "http://127.0.0.1:5432/shop and more, me@example.org",
        "postgresql://127.0.0.1:5432",
        'FATAL: password authentication failed for user "me" (28P01)',
        "Key (email)=(admin@example.org) already exists. (23505)",
        "try: --set SECRET=VALUE, --set SECRET_KEY=x, or export DB_PASSWORD=…",
        "try: alembic -c 'a shop/db/alembic.ini' upgrade head",
        "the pre-password age, --set SECRET=x",
        "/srv/a shop/models.py:12: KeyError: 'DATABASE_URL'",
        "https://alembic.sqlalchemy.org/en/latest/autogenerate.html#x",
    ],
)
def test_what_is_no_password_stays(text: str) -> None:
    assert hidden(text) == text


@pytest.mark.parametrize(
    "settings",
    [
        "[alembic]\nscript_location = m\nsqlalchemy.url = postgresql://me:pa%2024Sum@db/shop",
        "[alembic]\nscript_location = m\nsqlalchemy.url = postgresql://me:pa%(2024Sum)s@db/shop",
        "sqlalchemy.url = postgresql://me:2024Sum@db/shop",
        "[alembic]\npostgresql//me 2024Sum db/shop",
    ],
)
def test_what_configparser_quotes(settings: str) -> None:
    parser = configparser.ConfigParser()

    def read() -> None:
        parser.read_string(settings)
        parser.get("alembic", "sqlalchemy.url")

    with pytest.raises(configparser.Error) as caught:
        read()
    assert "2024" in str(caught.value)
    assert "2024" not in reason(caught.value)
    assert "shop" not in reason(caught.value)
    assert ("write %% for each %" in reason(caught.value)) is ("%" in settings)


# --- Each way to be refused -----------------------------------------------------------------------

SECRET = "hunter2%2024@in/ternal"


def run(folder: Path, server: str, *arguments: str) -> int:
    """The command there."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]
    usual = ["-c", str(folder / "db" / "alembic.ini"), "--scratch-url", server, "--rows", "5"]
    return main([*usual, "--no-squawk", *arguments])


CHECK = ("--check", "--since", "base")
DRY = ("-m", "more", "--dry-run")


RAISE = f'raise RuntimeError(\'cannot: password={SECRET} {{"password": "{SECRET}"}}\')'
IN_MODELS = f"{RAISE}\n{MODELS}"
URL = f"postgresql://me:{SECRET}@127.0.0.1:1/shop"


@pytest.mark.parametrize(
    ("what", "exit_code"),
    [
        *(("models", 3), ("env.py", 3), ("ini", 3), ("header", 3), ("revision", 3)),
        *(("upgrade", 1), ("downgrade", 1), ("engine", 3), ("exit", 3)),
    ],
)
def test_the_users_code(
    what: str, exit_code: int, tmp_path: Path, postgres_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "shop"
    bodies = {"upgrade": ("pass", "pass"), "downgrade": ("pass", "pass")}
    if what in bodies:
        bodies[what] = (RAISE, "pass") if what == "upgrade" else ("pass", RAISE)
    ini = shop(
        folder,
        env_py=env() if what == "ini" else env(ENGINE),
        models=IN_MODELS if what == "models" else MODELS,
    )
    revision(folder, "bbbb00000002", "aaaa00000001", *bodies.get(what, ("pass", "pass")))
    env_py = folder / "db" / "migrations" / "env.py"
    if what == "ini":
        text = ini.read_text().replace("postgresql+psycopg://nobody:wrong@127.0.0.1:1/never", URL)
        ini.write_text(text)
    elif what == "header":
        ini.write_text(f"sqlalchemy.url = {URL}\n")
    elif what == "env.py":
        env_py.write_text(f"{RAISE}\n")
    elif what == "engine":
        env_py.write_text(f"import sqlalchemy\nsqlalchemy.create_engine('postgres:/{URL}')\n")
    elif what == "exit":
        env_py.write_text(f"raise SystemExit('no: {URL}')\n")
    elif what == "revision":
        write(folder / "db" / "migrations" / "versions" / "broken.py", f"{RAISE}\n")
    assert run(folder, postgres_url, *(CHECK if exit_code == 1 else DRY)) == exit_code
    printed = capfd.readouterr()
    assert not shown(printed.out + printed.err, SECRET), printed
    if what == "ini":
        assert "write %% for each %" in printed.err


@pytest.mark.parametrize("option", ["--database-url", "--scratch-url"])
@pytest.mark.parametrize(
    "url",
    [
        *(URL, "postgresql://me:hunter2@127.0.0.1:1/shop", "postgresql://me:hunter2/shop"),
        *("me:hunter2@127.0.0.1/shop", "postgresql:///shop?host=127.0.0.1&port=1&password=hunter2"),
        *("mysql://me:hunter2@127.0.0.1/shop", "env:postgresql://me:hunter2@h/d"),
    ],
)
def test_a_url_that_is_given(
    option: str,
    url: str,
    tmp_path: Path,
    postgres_url: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    shop(tmp_path, env_py=env(ENGINE))
    assert run(tmp_path, postgres_url, *CHECK, option, url) == 2
    printed = capfd.readouterr()
    assert not shown(printed.out + printed.err, SECRET), printed


def test_a_refusal_never_has_one(tmp_path: Path) -> None:
    assert "hunter2" not in str(Refused("received postgresql://me:hunter2@h/d"))
    with pytest.raises(Refused) as caught:
        find(tmp_path / "me:hunter2@h", tmp_path, "alembic", ())
    assert "hunter2" not in str(caught.value)
