"""What changes from SQLAlchemy 2.0 to 2.1, each side asserted on its own line."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy import Computed, Enum, ForeignKey, MetaData, Table, func, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InvalidRequestError,
    ObjectNotExecutableError,
    ProgrammingError,
    SADeprecationWarning,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    joinedload,
    mapped_column,
    relationship,
    with_loader_criteria,
)
from sqlalchemy.schema import CreateTable

from examples.database import create_asyncio_engine
from examples.models import Comment, Organization, Tag, Ticket
from examples.testing_patterns.factories import (
    make_comment,
    make_organization,
    make_tag,
    make_ticket,
)
from examples.testing_patterns.statements import recorded_statements

SA_21 = tuple(int(part) for part in sa.__version__.split(".")[:2]) >= (2, 1)
TESTS = Path(__file__).resolve().parent


def deprecated_in_21(words: str) -> AbstractContextManager[Any]:
    """A warning on 2.1, silence on 2.0."""
    return pytest.warns(SADeprecationWarning, match=words) if SA_21 else nullcontext()


def test_default_driver() -> None:
    assert sa.make_url("postgresql://h/d").get_dialect().driver == (
        "psycopg" if SA_21 else "psycopg2"
    )


def test_greenlet_is_an_extra() -> None:
    wanted = [line for line in requires("sqlalchemy") or [] if line.startswith("greenlet")]
    always = [line for line in wanted if "extra ==" not in line]
    assert bool(always) != SA_21
    without = "import sys; sys.modules['greenlet'] = None; import sqlalchemy.ext.asyncio"
    result = subprocess.run(
        [sys.executable, "-c", without], check=False, capture_output=True, text=True
    )
    assert ("pip install sqlalchemy[asyncio]" in result.stderr) is SA_21
    assert bool(result.returncode) is SA_21


def test_autoflush_before_text(session: Session) -> None:
    session.add(Tag(name="billing"))
    assert session.execute(text("SELECT count(*) FROM tags")).scalar() == (1 if SA_21 else 0)


def test_a_setting_after_add(session: Session) -> None:
    setting = text("SELECT set_config('desk.user_id', '7', true)")
    for executor, late in ((session, SA_21), (session.connection(), False)):
        with recorded_statements(session) as statements:
            session.add(make_tag())
            executor.execute(setting)
            session.flush()
        assert statements[1 - late].startswith("INSERT")
        assert statements[late].startswith("SELECT set_config")


def test_filter_by_searches_every_entity(session: Session) -> None:
    joined = select(Ticket).join(Ticket.creator)
    by_both = joined.filter_by
    if SA_21:
        with pytest.raises(InvalidRequestError, match=r"(?i)ambiguous"):
            by_both(id=5)
        session.execute(by_both(title="Printer"))
    else:
        assert "users.id = " in str(by_both(id=5))
        with pytest.raises(InvalidRequestError, match='has no property "title"'):
            by_both(title="Printer")


def test_computed_is_virtual() -> None:
    """As PostgreSQL 18 itself has it."""
    table = Table(
        "t", MetaData(), sa.Column("a", sa.Integer), sa.Column("b", sa.Integer, Computed("a + 1"))
    )
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    dialect.server_version_info = (18, 0)
    assert ("STORED" in str(CreateTable(table).compile(dialect=dialect))) != SA_21


def test_drop_of_a_table_leaves_its_enum(session: Session) -> None:
    table = Table("paint", MetaData(), sa.Column("color", Enum("red", name="paint_color")))
    connection = session.connection()
    table.create(connection)
    table.drop(connection)
    left = session.scalar(text("SELECT to_regtype('paint_color')"))
    assert left == ("paint_color" if SA_21 else None)
    table.metadata.drop_all(connection)
    assert session.scalar(text("SELECT to_regtype('paint_color')")) is None


def test_columns_of_a_select_need_a_subquery() -> None:
    statement: Any = select(Tag.id)
    if SA_21:
        with pytest.raises(AttributeError):
            _ = statement.c
    else:
        with pytest.warns(SADeprecationWarning, match="deprecated"):
            _ = statement.c


def test_a_query_is_no_statement(session: Session) -> None:
    query: Any = session.query(Tag)
    if SA_21:
        with pytest.raises(ObjectNotExecutableError):
            session.execute(query)
    else:
        with pytest.warns(SADeprecationWarning, match="disallowed in a future release"):
            assert session.execute(query).all() == []


def test_distinct_on() -> None:
    with deprecated_in_21("distinct"):
        statement = select(Ticket.id).distinct(Ticket.creator_id)
    assert "DISTINCT ON" in str(statement.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
    if SA_21:
        better = select(Ticket.id).ext(postgresql.distinct_on(Ticket.creator_id))
        assert "DISTINCT ON" in str(better.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]


def test_contains_on_a_number() -> None:
    for column in (Ticket.id, sa.column("payload", sa.JSON)):
        with deprecated_in_21("contains|operator"):
            column.contains("1")


def test_unique_and_yield_per(session: Session) -> None:
    result = session.execute(select(Tag)).unique().yield_per(5)
    with pytest.raises(InvalidRequestError, match="yield_per") if SA_21 else nullcontext():
        assert result.all() == []


@pytest.mark.asyncio
async def test_orig_of_asyncpg_is_the_exact_class(async_session: AsyncSession) -> None:
    driver = async_session.get_bind().dialect.driver
    async_session.add_all([make_organization(slug="same"), make_organization(slug="same")])
    with pytest.raises(IntegrityError) as caught:
        await async_session.flush()
    name = type(caught.value.orig).__name__
    if driver == "asyncpg":
        assert name == ("UniqueViolationError" if SA_21 else "IntegrityError")
        assert str(caught.value.orig).startswith("<class 'asyncpg") != SA_21
        assert ("DETAIL:  Key (slug)=(same)" in str(caught.value)) != SA_21
        assert hasattr(caught.value, "driver_exception") == SA_21
        cause: Any = caught.value.orig.__cause__ if caught.value.orig else None
        assert cause.constraint_name == "uq_organizations_slug"
        assert cause.detail == "Key (slug)=(same) already exists."
    else:
        assert name == "UniqueViolation"
    assert getattr(caught.value.orig, "sqlstate", None) == "23505"


@pytest.mark.asyncio
async def test_a_connect_that_fails(postgres_url: str) -> None:
    url = sa.make_url(postgres_url)
    missing = create_asyncio_engine(url.set(database="soe_nowhere"))
    with pytest.raises(DBAPIError if SA_21 else asyncpg.InvalidCatalogNameError):
        await missing.connect()
    nobody = create_asyncio_engine(url.set(host="127.0.0.1", port=1))
    with pytest.raises(OSError, match="Connect call failed"):
        await nobody.connect()


def test_database_of_a_url_is_decoded() -> None:
    assert sa.make_url("postgresql://h/my%20desk").database == ("my desk" if SA_21 else "my%20desk")


def test_get_with_execution_options(session: Session) -> None:
    tag = make_tag(color="#000000")
    session.add(tag)
    session.flush()
    session.connection().execute(sa.update(Tag).values(color="#ffffff"))
    fresh = session.get(Tag, tag.id, execution_options={"populate_existing": True})
    assert fresh is tag
    assert tag.color == ("#ffffff" if SA_21 else "#000000")
    session.get(Tag, tag.id, populate_existing=True)
    assert tag.color == "#ffffff"


def test_options_of_a_deeper_path(session: Session) -> None:
    class Base(DeclarativeBase):
        pass

    class Agent(Base):
        __tablename__ = "upgrading_agents"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
        desk_id: Mapped[int] = mapped_column(ForeignKey("upgrading_desks.id"))
        shift_id: Mapped[int] = mapped_column(ForeignKey("upgrading_shifts.id"))
        desk: Mapped[Desk] = relationship(back_populates="agent")
        shift: Mapped[Shift] = relationship()

    class Desk(Base):
        __tablename__ = "upgrading_desks"
        id: Mapped[int] = mapped_column(primary_key=True)
        agent: Mapped[Agent] = relationship(back_populates="desk")

    class Shift(Base):
        __tablename__ = "upgrading_shifts"
        id: Mapped[int] = mapped_column(primary_key=True)

    Base.metadata.create_all(session.connection())
    session.add(Agent(name="Ann", desk=Desk(), shift=Shift()))
    session.flush()
    session.expunge_all()
    deeper = joinedload(Agent.desk).joinedload(Desk.agent).raiseload("*")
    ann = session.scalars(select(Agent).options(deeper, joinedload(Agent.shift))).unique().one()
    session.expire(ann)
    assert ann.name == "Ann"
    with nullcontext() if SA_21 else pytest.raises(InvalidRequestError, match="lazy='raise'"):
        assert ann.shift


def flush_in_vain(session: Session) -> None:
    """Go on after a failed flush, as code does that swallows the error."""
    with session.begin():
        session.add(Tag(name=None))
        with pytest.raises(IntegrityError):
            session.flush()
        session.execute(text("SELECT 1"))


def test_a_closed_transaction_names_its_cause(engine: sa.Engine) -> None:
    closed = pytest.raises(InvalidRequestError, match="closed transaction")
    with Session(engine) as session, closed as caught:
        flush_in_vain(session)
    assert ("null value in column" in str(caught.value)) is SA_21


def test_criteria_reach_into_any(session: Session) -> None:
    public = with_loader_criteria(Comment, Comment.is_internal.is_(False))
    session.add(make_comment(ticket=make_ticket(), is_internal=True))
    session.flush()
    statement = select(func.count()).select_from(Ticket).where(Ticket.comments.any())
    assert session.scalar(statement.options(public)) == (0 if SA_21 else 1)


def test_an_empty_list_of_parameters(session: Session) -> None:
    with deprecated_in_21("Empty parameter sequence"):
        session.connection().execute(sa.insert(Tag).from_select(["name"], NO_ROWS), [])


NO_ROWS = select(sa.literal("none")).where(sa.false())


def test_schema_translate_map_of_a_session(session: Session) -> None:
    options = {"execution_options": {"schema_translate_map": {None: "nowhere"}}}
    if SA_21:
        with Session(session.connection(), **options) as other:  # type: ignore[arg-type]
            other.add(Organization(name="x", slug="x"))
            with pytest.raises(ProgrammingError, match="nowhere"):
                other.flush()
    else:
        with pytest.raises(TypeError, match="execution_options"):
            Session(session.connection(), **options)  # type: ignore[arg-type]


# Each line, and the lines of SQLAlchemy on which mypy takes it.
TYPED = {
    "def one() -> Select[Ticket]: return select(Ticket)": {"2.1"},
    "def two() -> Select[int, str]: return select(Ticket.id, Ticket.title)": {"2.1"},
    "def row(s: Session) -> Row[int, str]: return s.execute(two()).one()": {"2.1"},
    "def old() -> Select[tuple[Ticket]]: return select(Ticket)": {"2.0", "2.1"},
    "def use(s: Session) -> Ticket: return s.scalars(old()).one()": {"2.0"},
    "def few() -> Select[tuple[Ticket]]: return select(Ticket).limit(2)": {"2.0"},
    "def duo() -> Select[tuple[int, str]]: return select(Ticket.id, Ticket.title)": {"2.0"},
    "def any() -> Select[Any]: return select(Ticket).limit(2)": {"2.0", "2.1"},
    "def got(s: Session) -> tuple[int, str]: return s.execute(PAIR).tuples().one()": {"2.0", "2.1"},
}
HEADER = """
from typing import Any
from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session
from examples.models import Ticket
PAIR = select(Ticket.id, Ticket.title)
"""


def test_types_of_a_select(tmp_path: Path) -> None:
    module = tmp_path / "typed.py"
    module.write_text(HEADER + "\n".join(TYPED))
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(module)],
        cwd=TESTS.parent,
        check=False,
        capture_output=True,
        text=True,
    )
    refused = {int(number) for number in re.findall(r"typed\.py:(\d+): error", result.stdout)}
    line = "2.1" if SA_21 else "2.0"
    first = HEADER.count("\n") + 1
    expected = {n for n, taken in enumerate(TYPED.values(), first) if line not in taken}
    assert refused == expected, result.stdout


@pytest.mark.parametrize("page", ["upgrading.md", "upgrading-from-1.4.md"])
def test_the_page_names_these_tests_and_no_others(page: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (TESTS.parent / "references" / page).read_text()))
    from_14 = set(TESTS.glob("test_upgrading_from_14_*.py"))
    modules = from_14 if "1.4" in page else set(TESTS.glob("test_upgrading*.py")) - from_14
    here = {
        name
        for module in modules
        for name in re.findall(r"^(?:async )?def (test_\w+)", module.read_text(), re.MULTILINE)
    }
    assert here
    assert named == here - {"test_the_page_names_these_tests_and_no_others"}
