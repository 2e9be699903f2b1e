"""The fixtures that users copy: nothing is left behind, and their gates can fail."""

from __future__ import annotations

import pytest
from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    func,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from examples.models import Organization
from examples.testing_patterns.factories import make_organization
from examples.testing_patterns.isolation import isolated_async_session, isolated_session
from examples.testing_patterns.statements import assert_statements, recorded_statements


def organizations(session: Session) -> int:
    """How many there are."""
    return session.scalars(select(func.count()).select_from(Organization)).one()


def test_commits_survive_a_rollback_and_leave_nothing(engine: Engine) -> None:
    with isolated_session(engine) as session:
        session.add(make_organization())
        session.commit()
        session.add(make_organization())
        session.flush()
        session.rollback()
        assert organizations(session) == 1
    with Session(engine) as session:
        assert organizations(session) == 0


def test_the_default_mode_loses_what_was_committed(engine: Engine) -> None:
    with engine.connect() as connection:
        outer = connection.begin()
        with Session(connection) as session:
            session.add(make_organization())
            session.commit()
            session.add(make_organization())
            session.flush()
            session.rollback()
        assert not outer.is_active, "the rollback took the outer transaction along"


def test_a_failing_test_leaves_nothing(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), isolated_session(engine) as session:  # noqa: PT012
        session.add(make_organization())
        session.commit()
        _ = 1 / 0
    with Session(engine) as session:
        assert organizations(session) == 0


@pytest.mark.asyncio
async def test_async_commits_survive_and_leave_nothing(async_engine: AsyncEngine) -> None:
    async with isolated_async_session(async_engine) as session:
        session.add(make_organization())
        await session.commit()
        await session.rollback()
        assert await session.run_sync(organizations) == 1
    async with AsyncSession(async_engine) as session:
        assert await session.run_sync(organizations) == 0


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO parcels (code) VALUES ('longer than five')",
        "INSERT INTO parcels (weight) VALUES ('many')",
        "INSERT INTO parcels (sent_from) VALUES (404)",
        "SELECT code, count(*) FROM parcels",
    ],
)
def test_sqlite_takes_what_postgresql_refuses(session: Session, statement: str) -> None:
    metadata = MetaData()
    Table(
        "parcels",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("code", String(5)),
        Column("weight", Integer),
        Column("sent_from", ForeignKey("parcels.id")),
    )
    lite = create_engine("sqlite://")
    with lite.begin() as connection:
        metadata.create_all(connection)
        connection.execute(text(statement))
    lite.dispose()
    metadata.create_all(session.connection())
    with pytest.raises(DBAPIError):
        session.execute(text(statement))


def test_real_commits_are_a_database_of_their_own(real_commits: str, database_url: str) -> None:
    assert real_commits != database_url
    assert "/soe_" in real_commits


def test_too_many_statements_are_shown(session: Session) -> None:
    with pytest.raises(AssertionError) as caught, assert_statements(session, at_most=1):  # noqa: PT012
        session.execute(text("SELECT 1"))
        session.execute(text("SELECT 2"))
    assert str(caught.value) == (
        "2 statement(s), at most 1 expected:\n  1. SELECT 1\n  2. SELECT 2"
    )


def test_exactly_means_exactly(session: Session) -> None:
    with assert_statements(session, exactly=1):
        session.execute(text("SELECT 1"))
    few = pytest.raises(AssertionError, match=r"0 statement\(s\), exactly 1")
    with few, assert_statements(session, exactly=1):
        pass
    with pytest.raises(ValueError, match="one of"), assert_statements(session):
        pass


@pytest.mark.asyncio
async def test_async_statements_are_counted(async_session: AsyncSession) -> None:
    await async_session.connection()
    with recorded_statements(async_session) as statements:
        await async_session.execute(text("SELECT 1"))
    assert statements == ["SELECT 1"]


FIXTURES = """
pytest_plugins = ["examples.testing_patterns.plugin", "examples.testing_patterns.no_skips"]
"""
TESTS = """
import pytest
from sqlalchemy import text
from examples.testing_patterns.factories import make_tag

def test_first(session):
    assert session.scalar(text("SELECT count(*) FROM tags")) == 0
    session.add(make_tag()); session.commit()

def test_second(session):
    assert session.scalar(text("SELECT count(*) FROM tags")) == 0
    session.add(make_tag()); session.commit(); session.rollback()
    assert session.scalar(text("SELECT count(*) FROM tags")) == 1
"""


@pytest.fixture
def project(pytester: pytest.Pytester, pytestconfig: pytest.Config) -> pytest.Pytester:
    """A project of somebody else's that uses the plugin."""
    pytester.makeconftest(FIXTURES)
    pytester.makepyprojecttoml(
        f"""
        [tool.pytest.ini_options]
        pythonpath = [{str(pytestconfig.rootpath)!r}]
        asyncio_default_fixture_loop_scope = "session"
        """
    )
    return pytester


@pytest.mark.once
@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_the_plugin_serves_another_project(
    project: pytest.Pytester, postgres_url: str, workers: list[str]
) -> None:
    project.makepyfile(TESTS)
    result = project.runpytest_subprocess("--database-url", postgres_url, *workers)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["postgresql: provider url, version *"])


@pytest.mark.once
@pytest.mark.parametrize(
    ("ci", "skip", "passed"),
    [
        ("true", "pytest.skip('no server')", False),
        ("true", "pytest.importorskip('no_such_module')", False),
        ("", "pytest.skip('no server')", True),
    ],
)
def test_a_skip_is_an_error_in_ci(
    pytester: pytest.Pytester, pytestconfig: pytest.Config, ci: str, skip: str, passed: bool
) -> None:
    pytester.makeconftest('pytest_plugins = ["examples.testing_patterns.no_skips"]')
    pytester.makepyprojecttoml(
        f"[tool.pytest.ini_options]\npythonpath = [{str(pytestconfig.rootpath)!r}]"
    )
    pytester.makepyfile(f"import pytest\ndef test_it():\n    {skip}\n")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CI", ci)
        result = pytester.runpytest_subprocess()
    result.assert_outcomes(skipped=1) if passed else result.assert_outcomes(failed=1)
    assert (result.ret == 0) == passed


@pytest.mark.once
def test_a_version_skip_passes_in_ci(project: pytest.Pytester, postgres_url: str) -> None:
    project.makepyfile(
        "import pytest\n@pytest.mark.requires_postgres(99)\ndef test_it(): assert 0\n"
        "@pytest.mark.requires_postgres(15)\ndef test_that(): pass\n"
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CI", "true")
        result = project.runpytest_subprocess("--database-url", postgres_url, "-rs")
    result.assert_outcomes(skipped=1, passed=1)
    result.stdout.fnmatch_lines(["*requires PostgreSQL 99, served by *"])


@pytest.mark.once
def test_no_server_is_one_clear_message(project: pytest.Pytester) -> None:
    project.makepyfile(TESTS)
    dead = "postgresql://u:hunter2@127.0.0.1:1/x"
    result = project.runpytest_subprocess("--database-url", dead)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*127.0.0.1:1*failed*"])
    assert "hunter2" not in result.stderr.str() + result.stdout.str()
    assert "Traceback" not in result.stderr.str()


PLAIN = """
from examples.testing_patterns.factories import make_tag
from examples.testing_patterns.testcontainers_fixture import container_engine, container_session
from sqlalchemy import text

def test_first(container_session):
    container_session.add(make_tag()); container_session.commit(); container_session.rollback()
    assert container_session.scalar(text("SELECT count(*) FROM tags")) == 1

def test_second(container_session):
    assert container_session.scalar(text("SELECT count(*) FROM tags")) == 0
"""


@pytest.mark.container
def test_the_plain_fixture_needs_docker_alone(
    pytester: pytest.Pytester, pytestconfig: pytest.Config
) -> None:
    pytester.makepyprojecttoml(
        f"""
        [tool.pytest.ini_options]
        pythonpath = [{str(pytestconfig.rootpath)!r}]
        filterwarnings = ["error"]
        asyncio_default_fixture_loop_scope = "session"
        """
    )
    pytester.makepyfile(PLAIN)
    with pytest.MonkeyPatch.context() as environment:
        # Ryuk is an image of its own, which may not be there; the fixture stops its container.
        environment.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
        result = pytester.runpytest_subprocess("-p", "no:xdist", "-p", "no:randomly")
    result.assert_outcomes(passed=2)
