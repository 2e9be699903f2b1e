"""What changes from SQLAlchemy 2.0 to 2.1, each side asserted on its own line."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Computed, Enum, ForeignKey, MetaData, Table, func, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import (
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
    MappedAsDataclass,
    Session,
    mapped_column,
    relationship,
    validates,
    with_loader_criteria,
)
from sqlalchemy.schema import CreateTable

from examples.models import Comment, Organization, Tag, Ticket
from examples.testing_patterns.factories import make_comment, make_organization, make_ticket

SA_21 = tuple(int(part) for part in sa.__version__.split(".")[:2]) >= (2, 1)
PAGE = Path(__file__).resolve().parent.parent / "references" / "upgrading.md"


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


def test_autoflush_before_text(session: Session) -> None:
    session.add(Tag(name="billing"))
    assert session.execute(text("SELECT count(*) FROM tags")).scalar() == (1 if SA_21 else 0)


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


def test_none_of_a_dataclass_does_not_erase_the_key(session: Session) -> None:
    class Base(MappedAsDataclass, DeclarativeBase):
        pass

    class Desk(Base):
        __tablename__ = "upgrading_desks"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Agent(Base):
        __tablename__ = "upgrading_agents"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        desk_id: Mapped[int | None] = mapped_column(ForeignKey("upgrading_desks.id"), default=None)
        desk: Mapped[Desk | None] = relationship(default=None)

    Base.metadata.create_all(session.connection())
    session.add(Desk(id=1))
    session.flush()
    agent = Agent(desk_id=1)
    session.add(agent)
    session.flush()
    assert agent.desk_id == (1 if SA_21 else None)


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
    else:
        assert name == "UniqueViolation"
    assert getattr(caught.value.orig, "sqlstate", None) == "23505"


def test_a_validator_can_be_replaced() -> None:
    class Base(DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "parents"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

        @validates("name")
        def check(self, _: str, value: str) -> str:
            return f"parent {value}"

    class Child(Parent):
        @validates("name")
        def check(self, _: str, value: str) -> str:
            return f"child {value}"

    assert Child(name="x").name == ("child x" if SA_21 else "parent x")


def test_database_of_a_url_is_decoded() -> None:
    assert sa.make_url("postgresql://h/my%20desk").database == ("my desk" if SA_21 else "my%20desk")


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


TYPES = {
    # What is annotated, and the lines that take it.
    "def f() -> Select[Ticket]: return select(Ticket)": {"2.1"},
    "def f() -> Select[tuple[Ticket]]: return select(Ticket)": {"2.0", "2.1"},
    "def f() -> Select[int, str]: return select(Ticket.id, Ticket.title)": {"2.1"},
    "def f() -> Select[tuple[int, str]]: return select(Ticket.id, Ticket.title)": {"2.0"},
}


@pytest.mark.parametrize("source", TYPES)
def test_types_of_a_select(tmp_path: Path, source: str) -> None:
    header = "from sqlalchemy import Select, select\nfrom examples.models import Ticket\n"
    (tmp_path / "typed.py").write_text(f"{header}{source}\n")
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(tmp_path / "typed.py")],
        cwd=PAGE.parent.parent,
        check=False,
        capture_output=True,
        text=True,
    )
    accepted = ("2.1" if SA_21 else "2.0") in TYPES[source]
    assert (result.returncode == 0) == accepted, result.stdout


def test_the_page_names_these_tests_and_no_others() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    here = {name for name in globals() if name.startswith("test_")}
    assert named == here - {"test_the_page_names_these_tests_and_no_others"}
