"""A mistyped call names what was mistyped, and shows no password of the URL beside it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.scripts.test_start_postgres import SCRIPT, room, run, script
from tests.scripts.test_test_connection import servers
from tests.scripts.test_validate_models import samples

# isort: split
from test_connection import __main__ as test_connection
from test_connection import hiding as hiding_of_test_connection
from validate_models import __main__ as validate_models
from validate_models import hiding as hiding_of_validate_models

__all__ = ["room", "script"]
PASSWORDS = ["hunter2", "hun/ter2", "hun@ter2", "hun#ter2", "hun?ter2", "hun:ter2"]
URL = "postgresql+psycopg://app:{}@127.0.0.1:1/desk"
QUERY = "postgresql+psycopg://127.0.0.1:1/desk?user=app&password={}"
any_password = pytest.mark.parametrize("password", PASSWORDS)


def told(
    main: Callable[[list[str]], int], call: str, password: str, capsys: pytest.CaptureFixture[str]
) -> str:
    """What the program says to *call*, whose URL has this password; it ends with 2."""
    arguments = call.replace("QUERY", QUERY).replace("URL", URL).replace("{}", password).split()
    try:
        code = main(arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    assert code == 2
    printed = capsys.readouterr()
    return printed.out + printed.err


def assert_hidden(text: str, password: str) -> None:
    """No half of *password* is shown, and stars say that something was."""
    assert "hun" not in text, password
    assert "ter2" not in text, password
    assert "***" in text
    assert "Traceback" not in text


@any_password
@pytest.mark.parametrize(
    ("call", "named"),
    [
        ("--timout 5 URL", "unrecognized arguments: --timout"),
        ("--timout=5 --databse-url=URL", "--databse-url=postgresql+psycopg://"),
        ("env:X URL", "unrecognized arguments: postgresql+psycopg://"),
        ("env:X QUERY", "unrecognized arguments: postgresql+psycopg://127.0.0.1:1/desk?user=app"),
        ("--timeout URL", "argument --timeout: invalid"),
        ("--driver URL", "argument --driver: invalid choice"),
        ("--env-file URL", "received --env-file "),
        ("--alembic URL", "--alembic postgresql+psycopg://"),
        ("env:URL", "the environment variable postgresql+psycopg://"),
    ],
)
def test_test_connection(
    call: str, named: str, password: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = told(test_connection.main, call, password, capsys)
    assert_hidden(text, password)
    assert named in text


@any_password
@pytest.mark.parametrize(
    ("call", "named"),
    [
        ("--databse-url=URL", "unrecognized arguments: --databse-url=postgresql+psycopg://"),
        ("--database_url=URL app.models", "--database_url=postgresql+psycopg://"),
        ("--databse-url=QUERY", "unrecognized arguments: --databse-url=postgresql+psycopg://"),
        ("--max-findings URL", "argument --max-findings: invalid int value"),
        ("--env-file URL no.models", "received --env-file "),
        ("--root URL no.models", "received --root "),
        ("--config URL no.models", "received the configuration "),
        ("--baseline URL no.models", "try: --write-baseline "),
        ("--select URL no.models", "received the rule "),
        ("--explain URL", "received the rule "),
        ("--severity URL no.models", "received the severity "),
        ("--database-url env:URL no.models", "received --database-url env:"),
        ("--isolated URL", "there is no such file or folder"),
    ],
)
def test_validate_models(
    call: str, named: str, password: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = told(validate_models.main, call, password, capsys)
    assert_hidden(text, password)
    assert named in text


def test_validate_models_names_an_option_whose_value_is_taken_for_a_target(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = told(validate_models.main, "--database_url URL", "hunter2", capsys)
    assert "unrecognized arguments: --database_url\n" in text
    assert "hunter2" not in text


@any_password
@pytest.mark.parametrize(
    ("call", "named"),
    [
        ("--databse-url URL", "unrecognized arguments: --databse-url postgresql+psycopg://"),
        ("--databse-url=URL", "unrecognized arguments: --databse-url=postgresql+psycopg://"),
        ("--databse-url=QUERY", "unrecognized arguments: --databse-url=postgresql+psycopg://"),
        ("URL", "unrecognized arguments: postgresql+psycopg://"),
        ("--provider URL", "argument --provider: invalid choice"),
        ("--version URL", "received --version "),
    ],
)
def test_start_postgres(room: Path, call: str, named: str, password: str) -> None:
    arguments = call.replace("QUERY", QUERY).replace("URL", URL).replace("{}", password).split()
    result = run(room, *arguments, stdin=subprocess.DEVNULL)
    assert (result.returncode, result.stdout) == (2, "")
    assert_hidden(result.stderr, password)
    assert named in result.stderr


@pytest.fixture(params=["test_connection", "validate_models", "start-postgres"])
def hidden(request: pytest.FixtureRequest, script: ModuleType) -> Callable[[str], str]:
    """What hides, of each script; they are copied one by one, and import nothing of each other."""
    found: dict[str, Callable[[str], str]] = {
        "test_connection": hiding_of_test_connection.hidden,
        "validate_models": hiding_of_validate_models.hidden,
        "start-postgres": script.hidden,
    }
    return found[request.param]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--x a://me:p@h --y b://you:q@h", "--x a://me:***@h --y b://you:***@h"),
        ("'a://me:p q@h/d' is none", "'a://me:***@h/d' is none"),
        ("a://me@corp:hunter2@h/d", "a://:***@h/d"),
        ("--x=me:hunter2@h/d", "--x=me:***@h/d"),
        ("a://me:hunter2/d", "a://me:***"),  # the host is forgotten
        ("host=h password=hunter2 port=1", "host=h password=*** port=1"),
        ("a://h/d?SSLPassword=p&x=y", "a://h/d?SSLPassword=***"),
        ("PGPASSWORD=hunter2", "PGPASSWORD=***"),
        ("unrecognized: --password hunter2 -x\nline", "unrecognized: --password ***\nline"),
        ("--db-passwd two words", "--db-passwd ***"),
        ("'--passphrase=two words', and", "'--passphrase=***"),
    ],
)
def test_what_is_hidden(hidden: Callable[[str], str], text: str, shown: str) -> None:
    assert hidden(text) == shown
    assert hidden(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "postgresql+psycopg://user:password@host:5432/database",
        "postgresql://user:password@host:port/database",
        "postgresql+psycopg://reader@127.0.0.1/app, or env:DATABASE_URL",
        "postgresql+psycopg://user@/database?host=one:5432&host=two:5432",
        "postgresql+psycopg://127.0.0.1:5432, or a://[::1]:5432/x",
        "--set DB_PASSWORD=VALUE",
        "the pre-password age",
        "app.models:Base, src/app@2/models.py",
        "'password: Mapped[str]', users.password = [\"x\"]",
        "(Background on this error at: https://sqlalche.me/e/20/f405)",
    ],
)
def test_what_is_shown(hidden: Callable[[str], str], text: str) -> None:
    assert hidden(text) == text


def test_a_family_is_suggested_as_a_rule_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\ntry: cascades" in told(validate_models.main, "--select casades m", "", capsys)
    assert "\ntry: cascades" in told(validate_models.main, "--explain casades", "", capsys)
    text = told(validate_models.main, "--explain cascades", "", capsys)
    assert text.endswith("expected: one rule\ntry: --list-rules --select cascades\n")
    assert validate_models.main(["--list-rules", "--select", "cascades"]) == 0
    assert "cascade" in capsys.readouterr().out


def test_the_scripts_that_are_started_are_those_of_this_project() -> None:
    assert servers.SCRIPT.parent == samples.SCRIPT.parent == SCRIPT.parent


def test_both_packages_hide_alike() -> None:
    """Each package is copied alone, and so has the file; a mend in one must come to the other."""
    ours, theirs = (
        Path(str(module.__file__)).read_text()
        for module in (hiding_of_test_connection, hiding_of_validate_models)
    )
    assert ours == theirs
