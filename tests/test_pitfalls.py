"""Every pitfall shows exactly its symptom, and its remedy does not."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Engine, create_engine, func, make_url
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, InterfaceError, ProgrammingError, SAWarning
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from examples.bulk_operations.upserting import Target, upsert_rows
from examples.database import AsyncDriver, SyncDriver, create_asyncio_engine, create_sync_engine
from examples.models import Base, ImportCheckpoint, Tag
from examples.pitfalls._symptom import ASYNC, SYNC, Raises, Returns, Symptom, Warns
from examples.testing_patterns.isolation import isolated_async_session, isolated_session
from examples.testing_patterns.plugin import ASYNC_DRIVERS, SYNC_DRIVERS
from examples.testing_patterns.statements import recorded_statements

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "pitfalls"
SLUGS = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
LINE = ".".join(sqlalchemy.__version__.split(".")[:2])
# What a side may take, and whether it is an ``async def``.
KINDS = {
    ("Session", False),
    ("Engine", False),
    ("AsyncSession", True),
    ("AsyncEngine", True),
    ("str", False),
    ("str", True),
}
Kind = tuple[str, bool]
# A synchronous side runs on asyncpg, too, within run_sync(); these cannot, or say another thing.
NOT_ON_ASYNCPG = {
    "commit_behind_yield": "it runs an event loop of its own",
    "naive_time": "asyncpg reads the time in the client's zone: naive_time_asyncpg",
    "two_tables_one_migration": "a thread has no greenlet",
    "waiting_advisory_lock": "a thread has no greenlet",
}


# --- What a module says ---------------------------------------------------------------------------


def load(slug: str) -> ModuleType:
    """The module of a pitfall."""
    return importlib.import_module(f"examples.pitfalls.{slug}")


def kind_of(side: Callable[..., object]) -> Kind:
    """What *side* takes, and whether it is awaited.  Raises ``TypeError`` for what we do not give.

    The annotation alone decides, however the parameter is called.
    """
    (taken,) = inspect.signature(side, eval_str=True).parameters.values()
    kind = (getattr(taken.annotation, "__name__", "?"), inspect.iscoroutinefunction(side))
    if kind not in KINDS:
        raise TypeError(f"received a side that takes {kind}; expected one of {sorted(KINDS)}")
    return kind


def as_tuple(told: Symptom | tuple[Symptom, ...]) -> tuple[Symptom, ...]:
    """One symptom, or one a driver."""
    return told if isinstance(told, tuple) else (told,)


def symptoms_of(pitfall: ModuleType | Any) -> tuple[Symptom, ...]:
    """Its symptoms: one, or one a driver."""
    return as_tuple(pitfall.SYMPTOM)


def drivers_of(pitfall: ModuleType | Any) -> tuple[str, ...]:
    """The drivers on which it is run."""
    kind, awaited = kind_of(pitfall.broken)
    named = {driver for symptom in symptoms_of(pitfall) for driver in symptom.drivers}
    if awaited or (kind == "str" and named & set(ASYNC)):
        return ASYNC
    slug = getattr(pitfall, "__name__", "").rpartition(".")[2]
    return SYNC if kind == "str" or slug in NOT_ON_ASYNCPG else (*SYNC, "asyncpg")


def shown(pitfall: ModuleType | Any, driver: str, line: str = LINE) -> Symptom | None:
    """The symptom that must show on *driver* and *line*, if any."""
    found = [
        symptom
        for symptom in symptoms_of(pitfall)
        if line in symptom.lines and driver in (symptom.drivers or drivers_of(pitfall))
    ]
    assert len(found) <= 1, f"two symptoms on {driver}"
    return found[0] if found else None


def right_result(pitfall: ModuleType | Any) -> list[object]:
    """What it returns where nothing is wrong: one value, or nothing that is looked at."""
    return [symptom.right for symptom in symptoms_of(pitfall) if isinstance(symptom, Returns)][:1]


# --- The two sides --------------------------------------------------------------------------------


def as_wrong(pitfall: ModuleType | Any, side: str) -> ModuleType | Any:
    """*pitfall* with *side* as its wrong one: itself, or the second wrong way that it has."""
    if side == "broken":
        return pitfall
    name = getattr(pitfall, "__name__", "")
    return SimpleNamespace(SYMPTOM=pitfall.ALSO, broken=pitfall.also, __name__=name)


@contextmanager
def showing(pitfall: ModuleType | Any, driver: str, line: str = LINE) -> Iterator[list[object]]:
    """Within the block the wrong side runs, and puts its result into the list that this yields."""
    symptom = shown(pitfall, driver, line)
    results: list[object] = []
    if isinstance(symptom, Raises):
        expected = symptom.raised_on(driver)
        with pytest.raises(expected, match=re.escape(symptom.fragment)) as caught:
            yield results
        # A plain one is what a handler of its subclasses misses.
        assert expected is not DBAPIError or type(caught.value) is DBAPIError
        return
    if isinstance(symptom, Warns):
        with pytest.warns(symptom.category, match=re.escape(symptom.fragment)):
            yield results
        return
    if symptom is None:
        # A symptom that shows where it is not named comes through as itself.
        yield results
        assert results[: len(right_result(pitfall))] == right_result(pitfall), f"on {driver} {line}"
        return
    assert symptom.wrong != symptom.right
    yield results
    assert results == [symptom.wrong], symptom.told()


@contextmanager
def not_showing(pitfall: ModuleType | Any) -> Iterator[list[object]]:
    """The same for the right side, on whatever driver and version."""
    results: list[object] = []
    yield results
    expected = right_result(pitfall)
    assert results[: len(expected)] == expected


def run(pitfall: ModuleType | Any, side: str, driver: str, given: object) -> None:
    """Run one side of *pitfall*; raise ``AssertionError`` where it is not as told."""
    driver = driver.replace(" ", "_")
    watch = not_showing(pitfall) if side == "fixed" else showing(as_wrong(pitfall, side), driver)
    with watch as results:
        results.append(getattr(pitfall, side)(given))


async def run_async(pitfall: ModuleType | Any, side: str, driver: str, given: object) -> None:
    """The same for an ``async def``."""
    driver = driver.replace(" ", "_")
    watch = not_showing(pitfall) if side == "fixed" else showing(as_wrong(pitfall, side), driver)
    with watch as results:
        results.append(await getattr(pitfall, side)(given))


def kind_if_whole(slug: str) -> Kind | None:
    """What the sides of *slug* take; None where ``test_a_module_is_whole`` says what is wrong.

    An error here would stop the run of all the others.
    """
    try:
        return kind_of(load(slug).broken)
    except Exception:
        return None


def cases(kind: str, *, awaited: bool, drivers: tuple[str, ...] = (*SYNC, *ASYNC)) -> list[Any]:
    """Each pitfall whose sides take *kind*, on each of its *drivers* that is installed."""
    installed = {*SYNC_DRIVERS, *("psycopg_async" if d == "psycopg" else d for d in ASYNC_DRIVERS)}
    installed &= set(drivers)
    found = []
    for slug in SLUGS:
        if kind_if_whole(slug) != (kind, awaited):
            continue
        pitfall = load(slug)
        least = getattr(pitfall, "REQUIRES", None)
        marks = [pytest.mark.requires_postgres(least)] if least else []
        found += [
            # "psycopg async": as other tests name it, so that ``--drivers`` knows it.
            pytest.param(
                slug, driver.replace("_", " "), side, id=f"{slug}-{driver}-{side}", marks=marks
            )
            for driver in drivers_of(pitfall)
            if driver in installed
            for side in ("broken", "also", "fixed")
            if hasattr(pitfall, side)
        ]
    return found


def async_driver(driver: str) -> AsyncDriver:
    """The name of *driver* in ``database.py``, where psycopg is one for both."""
    return "asyncpg" if driver == "asyncpg" else "psycopg"


def sync_driver(driver: str) -> SyncDriver:
    """The same for a synchronous one."""
    return "psycopg2" if driver == "psycopg2" else "psycopg"


def url_of(database: str, driver: str) -> str:
    """*database* with its driver; that of psycopg serves both sorts of engines."""
    name = driver.removesuffix(" async")
    url = make_url(database).set(drivername=f"postgresql+{name}")
    return url.render_as_string(hide_password=False)


parametrize = pytest.mark.parametrize


@parametrize(("slug", "driver", "side"), cases("Session", awaited=False, drivers=SYNC))
def test_a_session(slug: str, driver: str, side: str, engines: dict[str, Engine]) -> None:
    with isolated_session(engines[driver]) as session:
        run(load(slug), side, driver, session)


@parametrize(("slug", "driver", "side"), cases("Engine", awaited=False, drivers=SYNC))
def test_an_engine(slug: str, driver: str, side: str, real_commits: str) -> None:
    engine = create_sync_engine(real_commits, driver=sync_driver(driver))
    try:
        run(load(slug), side, driver, engine)
    finally:
        engine.dispose()


@pytest.mark.asyncio
@parametrize(("slug", "driver", "side"), cases("Session", awaited=False, drivers=ASYNC))
async def test_a_session_within_run_sync(
    slug: str, driver: str, side: str, async_engines: dict[str, AsyncEngine]
) -> None:
    def run_within(outer: Session) -> None:
        # Not the outer session itself: under asyncio it would not expire on commit.
        with isolated_session(async_engines["asyncpg"].sync_engine) as session:
            run(load(slug), side, driver, session)

    async with AsyncSession() as outer:
        await outer.run_sync(run_within)


@pytest.mark.asyncio
@parametrize(("slug", "driver", "side"), cases("Engine", awaited=False, drivers=ASYNC))
async def test_an_engine_within_run_sync(
    slug: str, driver: str, side: str, real_commits: str
) -> None:
    engine = create_asyncio_engine(real_commits, driver="asyncpg")
    try:
        async with AsyncSession() as outer:
            await outer.run_sync(lambda _: run(load(slug), side, driver, engine.sync_engine))
    finally:
        await engine.dispose()


# An asynchronous driver without asyncio leaves one behind: that is its error's other half.
@pytest.mark.filterwarnings("ignore:coroutine .connect. was never awaited:RuntimeWarning")
@parametrize(("slug", "driver", "side"), cases("str", awaited=False))
def test_a_url(slug: str, driver: str, side: str, real_commits: str) -> None:
    run(load(slug), side, driver, url_of(real_commits, driver))


@pytest.mark.asyncio
@parametrize(("slug", "driver", "side"), cases("AsyncSession", awaited=True))
async def test_an_async_session(
    slug: str, driver: str, side: str, async_engines: dict[str, AsyncEngine]
) -> None:
    async with isolated_async_session(async_engines[async_driver(driver)]) as session:
        await run_async(load(slug), side, driver, session)


@pytest.mark.asyncio
@parametrize(("slug", "driver", "side"), cases("AsyncEngine", awaited=True))
async def test_an_async_engine(slug: str, driver: str, side: str, real_commits: str) -> None:
    engine = create_asyncio_engine(real_commits, driver=async_driver(driver))
    try:
        await run_async(load(slug), side, driver, engine)
    finally:
        await engine.dispose()


@pytest.mark.asyncio
@parametrize(("slug", "driver", "side"), cases("str", awaited=True))
async def test_a_url_under_asyncio(slug: str, driver: str, side: str, real_commits: str) -> None:
    await run_async(load(slug), side, driver, url_of(real_commits, driver))


def with_function(name: str) -> list[str]:
    """The pitfalls that have one of that name."""
    return [slug for slug in SLUGS if f"\ndef {name}(" in FOLDER.joinpath(f"{slug}.py").read_text()]


@parametrize("slug", with_function("said"))
def test_what_else_is_said(slug: str, real_commits: str) -> None:
    pitfall = load(slug)
    driver = "asyncpg" if "asyncpg" in drivers_of(pitfall) else "psycopg"
    heard = pitfall.said(url_of(real_commits, driver))
    assert [words for words in pitfall.SAYS if words not in heard] == [], heard


@parametrize("driver", SYNC_DRIVERS)
def test_a_timeout_of_the_server_is_said_by_each_driver(driver: str, real_commits: str) -> None:
    heard = load("session_left_open").said(url_of(real_commits, driver))
    assert ("server closed the connection" in heard) == (driver == "psycopg2"), heard


def test_with_one_loop_nothing_is_said(real_commits: str) -> None:
    scope = "asyncio_default_{}_loop_scope=session"
    loops = ("-o", scope.format("fixture"), "-o", scope.format("test"))
    heard = load("engine_of_another_loop").said(url_of(real_commits, "asyncpg"), *loops)
    assert "6 passed" in heard, heard


class AsItWere:
    """An asynchronous session over a synchronous one, for the statements of a pitfall."""

    def __init__(self, session: Session) -> None:
        self.session = session

    async def execute(self, statement: Any) -> Any:
        """Send it."""
        return self.session.execute(statement)


@parametrize("driver", SYNC_DRIVERS)
def test_the_deadlock_is_known_to_every_driver(driver: str, engines: dict[str, Engine]) -> None:
    with isolated_session(engines[driver]) as session:
        assert asyncio.run(load("deadlock_by_class").fixed(AsItWere(session))) == "try again"


def test_a_one_sided_relationship_knows_nothing_of_the_other(engines: dict[str, Engine]) -> None:
    pitfall = load("one_sided_relationship")
    with isolated_session(engines[SYNC_DRIVERS[0]]) as session:
        with pytest.warns(SAWarning):
            assert pitfall.broken(session) is None
        assert pitfall.fixed(session) is not None


# --- What the pitfalls say besides ----------------------------------------------------------------


@parametrize("option", ["prepared_statement_cache_size=0", "ssl=disable"])
def test_the_options_of_asyncpg_do_not_reach_psycopg(option: str, real_commits: str) -> None:
    url = f"{url_of(real_commits, 'asyncpg')}?{option}"
    load("async_driver_in_sync_engine").fixed(url)
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with pytest.raises(ProgrammingError, match="invalid connection option"):
        engine.connect()
    engine.dispose()


@pytest.mark.asyncio
async def test_before_flush_may_ask(async_session: AsyncSession) -> None:
    assert await load("active_history_async").fixed(async_session) == ["old"]


def test_active_history_costs_a_statement_an_object(session: Session) -> None:
    class Other(DeclarativeBase):
        pass

    class Remembering(Other):
        __tablename__ = "tags"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(active_history=True)

    tags = [Remembering(name="vpn"), Remembering(name="wifi")]
    session.add_all(tags)
    session.commit()
    with session.no_autoflush, recorded_statements(session) as statements:
        for tag in tags:
            tag.name = "new"
    assert len(statements) == len(tags)


def test_a_functional_index_is_found_by_its_expression(session: Session) -> None:
    add = insert(Tag).values(name="vpn")
    for _again in range(2):
        session.execute(add.on_conflict_do_nothing(index_elements=[func.lower(Tag.name)]))
    words = load("partial_index_without_where").SYMPTOM.fragment
    with pytest.raises(ProgrammingError, match=words):
        session.execute(add.on_conflict_do_nothing(index_elements=["name"]))


@pytest.mark.asyncio
async def test_the_values_of_all_rows_share_the_parameters(
    async_engines: dict[str, AsyncEngine],
) -> None:
    rows = [{"source": f"crm {number}", "position": "1"} for number in range(16_384)]
    target = Target(ImportCheckpoint, lambda c: [c.source])
    adding = insert(ImportCheckpoint).values(rows)
    async with isolated_async_session(async_engines["asyncpg"]) as session:
        with pytest.raises(InterfaceError, match="query arguments cannot exceed 32767"):
            await session.execute(adding.on_conflict_do_nothing(index_elements=["source"]))
        await session.rollback()
        assert len(await session.run_sync(upsert_rows, target, rows)) == len(rows)


# --- The modules are whole ------------------------------------------------------------------------


def test_there_are_pitfalls() -> None:
    assert len(SLUGS) >= 8


def test_what_is_not_run_on_asyncpg_is_there() -> None:
    assert set(NOT_ON_ASYNCPG) <= set(SLUGS)


def names_of_ours() -> set[str]:
    """Constraints and indexes of the desk's models."""
    tables = Base.metadata.tables.values()
    constraints = (item.name for table in tables for item in table.constraints)
    indexes = (item.name for table in tables for item in table.indexes)
    return {str(name) for name in (*constraints, *indexes) if name}


def is_not_said(fragment: str) -> bool:
    """Whether no reader of an error will look for *fragment*: a bare SQLSTATE, a name of ours."""
    return bool(re.fullmatch("[0-9A-Z]{5}", fragment)) or any(
        name in fragment for name in names_of_ours()
    )


def test_an_artefact_is_seen() -> None:
    assert is_not_said("40P01")
    assert is_not_said("uq_tags_name_lower")
    assert not is_not_said("deadlock detected")


@parametrize("slug", SLUGS)
def test_a_module_is_whole(slug: str) -> None:
    pitfall = load(slug)
    assert kind_of(pitfall.broken) == kind_of(pitfall.fixed)
    assert hasattr(pitfall, "also") == hasattr(pitfall, "ALSO")
    assert hasattr(pitfall, "said") == hasattr(pitfall, "SAYS")
    also: tuple[Symptom, ...] = ()
    if hasattr(pitfall, "also"):
        assert kind_of(pitfall.also) == kind_of(pitfall.broken)
        also = as_tuple(pitfall.ALSO)
    known = set(drivers_of(pitfall))
    for symptom in (*symptoms_of(pitfall), *also):
        assert set(symptom.drivers) <= known, "a driver on which it is not run"
        assert symptom.lines
        if isinstance(symptom, Raises | Warns):
            kind = symptom.exception if isinstance(symptom, Raises) else symptom.category
            assert kind not in {Exception, Warning}, "every error would be it"
            assert len(symptom.fragment) >= 5
            assert not is_not_said(symptom.fragment)
    for driver in drivers_of(pitfall):
        for line in ("2.0", "2.1"):
            shown(pitfall, driver, line)


# --- Seeded faults: what turns it red -------------------------------------------------------------


def sync_side(value: Callable[[], object]) -> Callable[[str], object]:
    """A side that takes a URL."""

    def side(url: str) -> object:
        return value()

    return side


def warned() -> None:
    warnings.warn("two words", UserWarning, stacklevel=1)


def interface_error() -> None:
    raise InterfaceError(None, None, Exception("two words"))


def plain_error() -> None:
    raise DBAPIError(None, None, Exception("two words"))


def fake(symptom: Any, broken: Callable[[], object], fixed: Callable[[], object]) -> Any:
    """A pitfall of a URL."""
    return SimpleNamespace(SYMPTOM=symptom, broken=sync_side(broken), fixed=sync_side(fixed))


def nothing() -> None:
    return None


SUM = Returns(1, 2, "a sum")
OTHER = "1.4"  # no line of this test run
RED = {
    "cured": (Raises(ValueError, "two words"), nothing),
    "other message": (Raises(ValueError, "two words"), lambda: int("x")),
    "other error": (Raises(KeyError, "invalid literal"), lambda: int("x")),
    "a class of its own": (Raises(DBAPIError, "two words"), interface_error),
    "plain on asyncpg alone": (
        Raises(InterfaceError, "two words", on_asyncpg=DBAPIError),
        plain_error,
    ),
    "raises on another line": (
        Raises(ValueError, "invalid literal", lines=(OTHER,)),
        lambda: int("x"),
    ),
    "raises on another driver": (
        Raises(ValueError, "invalid literal", drivers=("psycopg2",)),
        lambda: int("x"),
    ),
    "right after all": (SUM, lambda: 2),
    "wrong on another line": (Returns(1, 2, "a sum", lines=(OTHER,)), lambda: 1),
    "wrong on another driver": (Returns(1, 2, "a sum", drivers=("psycopg2",)), lambda: 1),
    "wrong and right are one": (Returns(1, 1, "a sum"), lambda: 1),
    "warns no more": (Warns(UserWarning, "two words"), nothing),
    "warns of something else": (Warns(UserWarning, "three words"), warned),
    "warns on another driver": (Warns(UserWarning, "two words", drivers=("psycopg2",)), warned),
    "two symptoms at once": ((SUM, Raises(ValueError, "invalid literal")), lambda: 1),
}


@parametrize(("symptom", "broken"), RED.values(), ids=RED.keys())
def test_a_changed_symptom_turns_the_test_red(symptom: Any, broken: Callable[[], object]) -> None:
    # pytest.fail.Exception: pytest.raises() and pytest.warns() say "did not" with it.
    red = (AssertionError, ValueError, UserWarning, DBAPIError, pytest.fail.Exception)
    quiet = pytest.warns(UserWarning, match="two words")  # pytest.warns() passes on what it is not
    other = symptom == Warns(UserWarning, "three words")
    with quiet if other else nullcontext(), pytest.raises(red):
        run(fake(symptom, broken, nothing), "broken", "psycopg", "url")


@parametrize(
    ("symptom", "broken"),
    [
        (Raises(ValueError, "invalid literal"), lambda: int("x")),
        (Raises(ValueError, "invalid literal", drivers=("psycopg2",)), nothing),
        (Raises(ValueError, "invalid literal", lines=(OTHER,)), nothing),
        (SUM, lambda: 1),
        (Returns(1, 2, "a sum", drivers=("psycopg2",)), lambda: 2),
        (Warns(UserWarning, "two words"), warned),
        (Raises(DBAPIError, "two words"), plain_error),
        (Raises(InterfaceError, "two words", on_asyncpg=DBAPIError), interface_error),
        (
            (
                Raises(ValueError, "invalid", drivers=("psycopg",)),
                Raises(KeyError, "invalid", drivers=("psycopg2",)),
            ),
            lambda: int("x"),
        ),
    ],
)
def test_what_is_as_told_passes(symptom: Any, broken: Callable[[], object]) -> None:
    run(fake(symptom, broken, nothing), "broken", "psycopg", "url")


@parametrize("also", [nothing, lambda: int("y"), warned])
def test_a_second_wrong_way_that_is_right_turns_the_test_red(also: Callable[[], object]) -> None:
    pitfall = fake(SUM, nothing, nothing)
    pitfall.ALSO, pitfall.also = Raises(ValueError, "base 10: 'x'"), sync_side(also)
    with pytest.raises((AssertionError, UserWarning, pytest.fail.Exception)):
        run(pitfall, "also", "psycopg", "url")
    pitfall.also = sync_side(lambda: int("x"))
    run(pitfall, "also", "psycopg", "url")


@parametrize("fixed", [lambda: 1, lambda: int("x"), warned])
def test_a_remedy_that_does_not_help_turns_the_test_red(fixed: Callable[[], object]) -> None:
    with pytest.raises((AssertionError, ValueError, UserWarning)):
        run(fake(SUM, nothing, fixed), "fixed", "psycopg", "url")


@pytest.mark.asyncio
async def test_an_async_side_is_awaited() -> None:
    async def right(url: str) -> object:
        return 2

    async def wrong(url: str) -> object:
        return 1

    pitfall = SimpleNamespace(SYMPTOM=SUM, broken=wrong, fixed=right)
    await run_async(pitfall, "broken", "asyncpg", "url")
    await run_async(pitfall, "fixed", "asyncpg", "url")
    with pytest.raises(AssertionError):
        await run_async(
            SimpleNamespace(SYMPTOM=SUM, broken=right, fixed=right), "broken", "asyncpg", "url"
        )
    with pytest.raises(AssertionError):
        await run_async(
            SimpleNamespace(SYMPTOM=SUM, broken=wrong, fixed=wrong), "fixed", "asyncpg", "url"
        )


def test_an_unknown_parameter_turns_the_collection_red() -> None:
    def of_a_number(session: int) -> None: ...
    async def of_a_session(session: Session) -> None: ...

    for side in (of_a_number, of_a_session):
        with pytest.raises(TypeError, match="expected one of"):
            kind_of(side)


def test_a_url_has_the_driver_of_the_run() -> None:
    url = "postgresql://desk:secret@127.0.0.1/soe"
    assert url_of(url, "psycopg async") == "postgresql+psycopg://desk:secret@127.0.0.1/soe"
    assert url_of(url, "asyncpg") == "postgresql+asyncpg://desk:secret@127.0.0.1/soe"
    of_asyncpg = Raises(ValueError, "invalid literal", drivers=("asyncpg",))
    assert drivers_of(fake(of_asyncpg, nothing, nothing)) == ASYNC
    assert drivers_of(fake(SUM, nothing, nothing)) == SYNC


def test_a_synchronous_side_runs_on_asyncpg_too() -> None:
    def side(session: Session) -> object: ...

    pitfall = SimpleNamespace(SYMPTOM=SUM, broken=side)
    assert drivers_of(pitfall) == (*SYNC, "asyncpg")
    assert drivers_of(load("naive_time")) == SYNC
    plain = Raises(InterfaceError, "two words", drivers=("asyncpg",), on_asyncpg=DBAPIError)
    run(fake(plain, plain_error, nothing), "broken", "asyncpg", "url")
    with pytest.raises(AssertionError):
        run(fake(plain, interface_error, nothing), "broken", "asyncpg", "url")
