"""Squashing: the baseline makes what the revisions made, and no database is lost on the way."""

from __future__ import annotations

import ast
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine

from examples.migration_guide.checks import HERE, alembic_config, revisions
from examples.migration_guide.recipes.squashing import (
    as_restored,
    baseline_sql,
    differences,
    refuse_the_middle,
    squash,
)
from examples.postgres import temporary_database
from tests.examples.test_migration_guide.desk import HEAD, REVISIONS, dump, execute, psql
from tests.examples.test_migration_guide.projects import (
    Rev,
    config_of,
    project,
    rows,
    tables,
    versions,
    write_revision,
)

LINE = {
    "one": Rev(),
    "two": Rev("one"),
    "three": Rev("two"),
    "four": Rev("three"),
}


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """A project of four revisions."""
    return project(tmp_path / "a line", LINE)


def squashed(line: Path, url: str, revision: str) -> Config:
    """The project after a squash up to *revision*, whose schema comes from *url*; it is left so."""
    config = config_of(line, url)
    command.upgrade(config, revision)
    squash(config, revision, dump(url))
    return config_of(line, url)


def careful(config: Config) -> Config:
    """*config*, whose ``env.py`` asks before it runs migrations."""

    def ask(connection: Connection) -> dict[str, Any]:
        refuse_the_middle(config, connection)
        return {}

    config.attributes["options"] = ask
    return config


def catalogue(url: str) -> list[tuple[object, ...]]:
    """Which row of the catalogue is which, and who wrote it: any DDL changes that."""
    return rows(
        url,
        "SELECT oid::bigint, xmin::text::bigint, relname::text FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace ORDER BY oid",
    )


def compared(old: str, new: str) -> list[str]:
    """``differences`` of two databases."""
    engines = [create_engine(url.replace("://", "+psycopg://", 1)) for url in (old, new)]
    try:
        with engines[0].connect() as one, engines[1].connect() as other:
            return differences(one, other)
    finally:
        for engine in engines:
            engine.dispose()


# --- Our own seven revisions ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, Path]]:
    """A database at our head, a copy of the guide squashed up to there, and its baseline."""
    with temporary_database(postgres_url) as url:
        guide = tmp_path_factory.mktemp("our own") / "guide"
        shutil.copytree(HERE, guide, ignore=shutil.ignore_patterns("recipes"))
        command.upgrade(alembic_config(url, guide), "head")
        yield url, guide, squash(alembic_config(url, guide), HEAD, dump(url))


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
def test_our_own_revisions_become_one(own: tuple[str, Path, Path], empty: str, driver: str) -> None:
    """Functions, partitions, generated columns, a sequence: the same by pg_dump and by our own."""
    old, guide, path = own
    assert revisions(alembic_config(old, guide)) == [HEAD]
    assert sorted(made.name for made in path.parent.glob("*.*")) == [
        f"{HEAD}_baseline.py",
        f"{HEAD}_baseline.sql",
    ]
    assert sorted(replaced(path)) == sorted(REVISIONS[:-1])
    command.upgrade(alembic_config(empty.replace("://", f"+{driver}://", 1), guide), "head")
    assert compared(old, empty) == []
    assert dump(empty) == as_restored(dump(old))
    command.check(alembic_config(empty, guide))


def test_the_baseline_prints_sql(own: tuple[str, Path, Path], empty: str, tmp_path: Path) -> None:
    """``alembic upgrade --sql``: psql makes the same of it."""
    old, guide, _ = own
    config = alembic_config(empty, guide)
    printed = config.output_buffer = io.StringIO()
    command.upgrade(config, "head", sql=True)
    psql(empty, printed.getvalue(), tmp_path)
    assert dump(empty) == as_restored(dump(old))
    assert versions(empty) == [HEAD]


def replaced(path: Path) -> list[str]:
    """The ``replaces`` of the baseline at *path*."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "replaces":
            assert node.value
            found: tuple[str, ...] = ast.literal_eval(node.value)
            return list(found)
    raise AssertionError("no replaces")


# --- Where databases are --------------------------------------------------------------------------


def test_a_database_at_the_old_head_is_not_touched(line: Path, empty: str) -> None:
    config = squashed(line, empty, "four")
    before = catalogue(empty)
    command.upgrade(careful(config), "head")
    assert catalogue(empty) == before
    assert versions(empty) == ["four"]


def test_later_revisions_stay_as_they_are(line: Path, empty: str, postgres_url: str) -> None:
    four = (line / "versions" / "four.py").read_text()
    config = squashed(line, empty, "three")
    assert (line / "versions" / "four.py").read_text() == four
    command.upgrade(config, "head")
    with temporary_database(postgres_url) as url:
        command.upgrade(config_of(line, url), "head")
        assert tables(url) == ["four", "one", "three", "two"]
        assert compared(empty, url) == []
        command.downgrade(config_of(line, url), "three")
        with pytest.raises(CommandError, match="received a downgrade below the baseline three"):
            command.downgrade(config_of(line, url), "base")
        assert tables(url) == ["one", "three", "two"]


@pytest.mark.parametrize("middle", ["one", "two"])
def test_one_in_the_middle_is_refused_and_told_what_to_do(
    line: Path, empty: str, postgres_url: str, tmp_path: Path, middle: str
) -> None:
    before = shutil.copytree(line, tmp_path / "before")
    squashed(line, empty, "three")
    with temporary_database(postgres_url) as url:
        command.upgrade(config_of(before, url), middle)
        config = config_of(line, url)
        with pytest.raises(CommandError, match=f"Can't locate revision identified by '{middle}'"):
            command.upgrade(config, "head")
        with pytest.raises(
            CommandError,
            match=f"received a database at {middle}, which the baseline three replaces;.*"
            "with the last release before the squash, alembic upgrade three; then again",
        ):
            command.upgrade(careful(config_of(line, url)), "head")
        # As it was told to.
        command.upgrade(config_of(before, url), "three")
        command.upgrade(careful(config_of(line, url)), "head")
        assert tables(url) == ["four", "one", "three", "two"]


def test_a_second_squash_remembers_the_first(line: Path, empty: str) -> None:
    config = squashed(line, empty, "two")
    command.upgrade(config, "four")
    path = squash(config, "four", dump(empty))
    assert sorted(replaced(path)) == ["one", "three", "two"]
    assert sorted(made.name for made in path.parent.glob("*.*")) == [
        "four_baseline.py",
        "four_baseline.sql",
    ]
    execute(empty, "UPDATE alembic_version SET version_num = 'one'")
    with pytest.raises(CommandError, match="at one, which the baseline four replaces"):
        command.upgrade(careful(config_of(line, empty)), "head")


def test_a_new_id_needs_a_stamp_that_asks_nothing(line: Path, empty: str, tmp_path: Path) -> None:
    """Why the baseline keeps the id: with another one, the middle is stamped without a word."""
    command.upgrade(config_of(line, empty), "two")
    other = config_of(project(tmp_path / "other", {"baseline": Rev()}), empty)
    with pytest.raises(CommandError, match="Can't locate revision identified by 'two'"):
        command.stamp(other, "baseline")
    command.stamp(other, "baseline", purge=True)
    command.upgrade(other, "head")
    assert versions(empty) == ["baseline"]
    assert tables(empty) == ["one", "two"]  # and never what three and four made


# --- What cannot be squashed, and what a dump does not have ---------------------------------------


def test_a_later_revision_on_one_that_would_go_is_named(line: Path, empty: str) -> None:
    write_revision(line, "side", Rev("two"))
    write_revision(line, "apart", Rev(depends="one"))
    files = sorted(line.glob("versions/*.py"))
    with pytest.raises(CommandError, match=r"no later revision on one before it, but (side|apart)"):
        squash(config_of(line, empty), "four", "")
    assert sorted(line.glob("versions/*.py")) == files


def test_a_dump_that_is_none_costs_no_revision(line: Path, empty: str) -> None:
    before = {path: path.read_text() for path in line.glob("versions/*.py")}
    with pytest.raises(CommandError, match="received a dump without a table"):
        squash(config_of(line, empty), "four", "")
    assert {path: path.read_text() for path in line.glob("versions/*.*")} == before


def test_a_baseline_can_be_made_anew(line: Path, empty: str) -> None:
    """Its files have the names of those that it replaces."""
    config = squashed(line, empty, "four")
    path = squash(config, "four", dump(empty))
    assert sorted(line.glob("versions/*.*")) == [path, path.with_suffix(".sql")]
    assert "CREATE TABLE public.one" in path.with_suffix(".sql").read_text()


def test_a_function_may_read_a_table_that_comes_later(
    line: Path, empty: str, postgres_url: str
) -> None:
    """As pg_dump has them: functions first, and their bodies as they were written."""
    function = "CREATE FUNCTION newest() RETURNS int LANGUAGE sql AS 'SELECT max(id) FROM one'"
    write_revision(line, "two", Rev("one", upgrade=f"op.execute({function!r})", downgrade="pass"))
    squashed(line, empty, "four")
    with temporary_database(postgres_url) as url:
        command.upgrade(config_of(line, url), "head")
        assert compared(empty, url) == []
        assert rows(url, "SELECT newest()") == [(None,)]


def test_rows_that_revisions_insert_are_missed(line: Path, empty: str, postgres_url: str) -> None:
    insert = "op.execute('INSERT INTO one VALUES (1), (2)')"
    write_revision(line, "two", Rev("one", upgrade=insert, downgrade="pass"))
    squashed(line, empty, "four")
    with temporary_database(postgres_url) as url:
        command.upgrade(config_of(line, url), "head")
        assert compared(empty, url) == ["lost 2 rows in one", "more 0 rows in one"]


def test_what_the_baseline_lacks_is_named(line: Path, empty: str, postgres_url: str) -> None:
    config = squashed(line, empty, "four")
    (path,) = line.glob("versions/*.sql")
    path.write_text(path.read_text().replace("id integer", "id bigint", 1))
    with temporary_database(postgres_url) as url:
        command.upgrade(config_of(line, url), "head")
        found = compared(empty, url)
    assert [line.split()[0] for line in found] == ["lost", "more"]
    assert ScriptDirectory.from_config(config).get_heads() == ["four"]


def test_every_character_comes_through(line: Path, empty: str, postgres_url: str) -> None:
    words = ["12:30", "100%", ":colon", r"\:", "it''s", "$$", "a::b", r"\restrict x", "\n\n--\n"]
    columns = ", ".join(f"ADD COLUMN c{n} text DEFAULT '{word}'" for n, word in enumerate(words))
    alter = f"op.get_bind().exec_driver_sql({f'ALTER TABLE one {columns}'.replace('%', '%%')!r})"
    write_revision(line, "four", Rev("three", upgrade=alter, downgrade="pass"))
    squashed(line, empty, "four")
    with temporary_database(postgres_url) as url:
        command.upgrade(config_of(line, url), "head")
        assert dump(url) == dump(empty)
        assert [word for word in words if f"DEFAULT '{word}'::text" not in dump(url)] == []


def test_the_head_of_a_dump_is_left_out() -> None:
    """It would empty search_path for the session, and Alembic not find its version table."""
    dumped = (
        "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\nSET lock_timeout = 0;\n"
        "SELECT pg_catalog.set_config('search_path', '', false);\n\n"
        "--\n-- Name: one; Type: TABLE; Schema: public; Owner: -\n--\n\n"
        "CREATE TABLE public.one (\n    id integer\n);\n\n\\unrestrict abc\n\n"
    )
    body = baseline_sql(dumped)
    assert body.startswith("--\n-- Name: one;")
    assert "CREATE TABLE public.one" in body
    assert "restrict" not in body
    assert "SET" not in body
    with pytest.raises(CommandError, match="received a dump without a table"):
        baseline_sql("--\n-- PostgreSQL database dump\n--\n\nSET lock_timeout = 0;\n")
