"""What changes from SQLAlchemy 2.0 to 2.1 in statements, types and DDL: both sides asserted."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from importlib.util import find_spec
from typing import Any

import psycopg
import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy import (
    Column,
    Computed,
    Enum,
    ForeignKey,
    Integer,
    MetaData,
    Numeric,
    Table,
    event,
    func,
    inspect,
    literal,
    select,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import (
    ArgumentError,
    CompileError,
    DataError,
    DBAPIError,
    InternalError,
    ProgrammingError,
    SADeprecationWarning,
    SAWarning,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import (
    Mapper,
    Session,
    aliased,
    close_all_sessions,
    declarative_mixin,
    joinedload,
    noload,
    selectinload,
)
from sqlalchemy.schema import CreateTable

from examples.models import Base, Tag, Ticket
from examples.testing_patterns.factories import make_tag, make_ticket
from examples.testing_patterns.statements import recorded_statements
from tests.test_upgrading import SA_21

VERSION = tuple(int(part) for part in sa.__version__.split("."))


def sql(statement: Any, session: Session | None = None) -> str:
    """The SQL of *statement* on one line, for the server of *session* where that matters."""
    if session is not None:
        return " ".join(str(statement.compile(session.get_bind())).split())
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return " ".join(str(statement.compile(dialect=dialect)).split())


# Results


def test_numeric_by_float(session: Session) -> None:
    """2.0 gives the divisor the column's scale; 2.1 gives it to the result."""
    price = literal(Decimal("1.00"), Numeric(10, 2))
    third = session.scalar(select(price / 3.0))
    assert str(third) == ("0.33" if SA_21 else "0.33333333333333333333")
    exact = literal(Decimal("0.004"), Numeric)
    assert session.scalar(select(price / exact)) == 250
    if SA_21:
        assert session.scalar(select(price / 0.004)) == 250
    else:
        with pytest.raises(DataError, match="division by zero"):
            session.scalar(select(price / 0.004))


def test_join_from() -> None:
    metadata = MetaData()
    a = Table("a", metadata, Column("id", Integer, primary_key=True))
    b = Table("b", metadata, Column("id", Integer, primary_key=True))
    b.append_column(Column("a_id", ForeignKey("a.id")))
    c = Table("c", metadata, Column("a_id", ForeignKey("a.id")), Column("b_id", ForeignKey("b.id")))
    joined = sql(select(a.c.id).join(b).join_from(a, c))
    assert joined.endswith("JOIN c ON a.id = c.a_id" if SA_21 else "JOIN c ON b.id = c.b_id")
    explicit = select(a.c.id).join(b).join_from(a, c, a.c.id == c.c.a_id)
    assert sql(explicit).endswith("JOIN c ON a.id = c.a_id")


def test_not_any(session: Session) -> None:
    numbers = postgresql.array([1, 2])
    assert session.scalar(select(~(literal(1) == func.any(numbers)))) is not SA_21
    assert session.scalar(select(~(literal(1) == sa.any_(numbers)))) is False


def test_an_aliased_subquery_without_the_column(session: Session) -> None:
    session.add_all([make_tag(), make_tag()])
    session.flush()
    found = aliased(Tag, select(Tag.id).subquery())
    with pytest.warns(SAWarning) as caught:
        assert len(session.execute(select(found.id, found.name)).all()) == 4
    said = " ".join(str(warning.message) for warning in caught)
    assert "cartesian product" in said
    assert ("Did not locate an expression in selectable" in said) is SA_21


@pytest.mark.asyncio
async def test_bit_strings(async_session: AsyncSession) -> None:
    bits = sa.cast(sa.literal_column("B'101'"), postgresql.BIT(3))
    value = await async_session.scalar(select(bits))
    driver = async_session.get_bind().dialect.driver
    assert (value == "101") == (SA_21 or driver == "psycopg")
    assert type(value).__name__ == ("BitString" if SA_21 or driver == "asyncpg" else "str")


# The text of the SQL


def test_subscripts_of_hstore(session: Session) -> None:
    attributes = select(sa.column("h", postgresql.HSTORE)["k"])
    assert sql(attributes, session).startswith("SELECT h[" if SA_21 else "SELECT h -> ")
    document = select(sa.column("j", postgresql.JSONB)["k"])
    since = VERSION >= (2, 0, 42)
    assert sql(document, session).startswith("SELECT j[" if since else "SELECT j -> ")
    connection = session.connection()
    for statement in (
        "CREATE EXTENSION IF NOT EXISTS hstore",
        "CREATE TABLE bags AS SELECT hstore('k', n::text) AS h FROM generate_series(1, 10000) n",
        "CREATE INDEX ix_bags_k ON bags ((h -> 'k'))",
        "ANALYZE bags",
    ):
        connection.execute(text(statement))
    for expression, used in (("h -> 'k'", True), ("h['k']", False)):
        plan = connection.scalars(text(f"EXPLAIN SELECT FROM bags WHERE {expression} = '7'"))
        assert ("ix_bags_k" in " ".join(plan)) is used


def test_labels_of_get(session: Session) -> None:
    with recorded_statements(session) as statements:
        session.get(Tag, 5)
    assert ("tags.id AS tags_id" in statements[0]) != SA_21


def test_selectin_of_many_to_many(session: Session) -> None:
    session.add(make_ticket())
    session.flush()
    with recorded_statements(session) as statements:
        session.scalars(select(Ticket).options(selectinload(Ticket.tags))).all()
    assert ("FROM tickets AS" in statements[-1]) != SA_21


def test_create_all_checks_at_once(session: Session) -> None:
    with recorded_statements(session) as statements:
        Base.metadata.create_all(session.connection())
    sequences = 1
    assert len(statements) == sequences + (1 if SA_21 else len(Base.metadata.tables))


# Types and DDL


def test_float_is_no_numeric() -> None:
    assert isinstance(sa.Float(), Numeric) is not SA_21
    assert isinstance(postgresql.DOUBLE_PRECISION(), Numeric) is not SA_21


def test_a_numeric_key_is_no_serial() -> None:
    for kind in (Numeric(10, 0), sa.Float()):
        table = Table("t", MetaData(), Column("id", kind, primary_key=True))
        assert ("id SERIAL" in sql(CreateTable(table))) is not SA_21


def test_computed_before_postgresql_18() -> None:
    table = Table("t", MetaData(), Column("a", Integer), Column("b", Integer, Computed("a + 1")))
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    dialect.server_version_info = (17, 0)
    dialect.supports_virtual_generated_columns = False
    if SA_21:
        with pytest.warns(SAWarning, match="is being created as 'STORED'"):
            ddl = str(CreateTable(table).compile(dialect=dialect))
    else:
        ddl = str(CreateTable(table).compile(dialect=dialect))
    assert "STORED" in ddl


def paint(labels: str, *, name: str = "paint_color", schema: str | None = None) -> Table:
    """A table with a native enumeration of one-letter *labels*."""
    return Table("paint", MetaData(schema=schema), Column("color", Enum(*labels, name=name)))


def test_a_table_made_again_keeps_the_old_labels(session: Session) -> None:
    connection = session.connection()
    for labels in ("ab", "abc"):
        made = paint(labels)
        made.create(connection)
        made.drop(connection)
        stored = session.scalars(
            text("SELECT enumlabel FROM pg_enum WHERE enumtypid = to_regtype('paint_color')")
        )
        assert "".join(stored) == ("ab" if SA_21 else "")


def test_drop_of_one_of_two_tables(session: Session) -> None:
    metadata, color = MetaData(), Enum("red", name="paint_color")
    tables = [Table(name, metadata, Column("color", color)) for name in ("walls", "doors")]
    metadata.create_all(session.connection())
    if SA_21:
        tables[0].drop(session.connection())
    else:
        with pytest.raises(InternalError, match="cannot drop type paint_color"):
            tables[0].drop(session.connection())


def test_the_schema_of_an_enum() -> None:
    inherited = sql(CreateTable(paint("a", schema="desk")))
    assert inherited.endswith("( color desk.paint_color )" if SA_21 else "( color paint_color )")
    color: Column[str] = Column("color", Enum("a", name="paint_color", schema="public"))
    explicit = sql(CreateTable(Table("paint", MetaData(schema="desk"), color)))
    assert explicit.endswith("( color public.paint_color )")


def test_an_enum_named_like_a_builtin(session: Session) -> None:
    """2.0 makes the type, and a column of the built-in one."""
    made = paint("a", name="interval")
    if SA_21:
        with pytest.raises(CompileError, match="matches an existing type"):
            made.create(session.connection())
    else:
        made.create(session.connection())
        (column,) = inspect(session.connection()).get_columns("paint")
        assert isinstance(column["type"], postgresql.INTERVAL)


# Errors


def test_group_by_with_joinedload(session: Session) -> None:
    session.add(make_ticket())
    session.flush()
    session.expunge_all()
    grouped = select(Ticket).group_by(Ticket.id)
    assert session.scalars(grouped.options(selectinload(Ticket.organization))).one()
    session.expunge_all()
    joined = grouped.options(joinedload(Ticket.organization))
    if SA_21:
        assert session.scalars(joined).one().organization is not None
    else:
        with pytest.raises(ProgrammingError, match="must appear in the GROUP BY clause"):
            session.scalars(joined)


def test_range_of_a_float() -> None:
    def total() -> Any:
        return func.sum(Ticket.id).over(order_by=Ticket.id, range_=(-1.5, 0))  # type: ignore[arg-type]

    if SA_21:
        with pytest.raises(ArgumentError, match="FrameClause"):
            total()
        kind = sa.FrameClauseType
        frame = sa.FrameClause(1.5, None, kind.PRECEDING, kind.CURRENT)
        assert "RANGE BETWEEN" in sql(func.sum(Ticket.id).over(order_by=Ticket.id, range_=frame))
    else:
        assert "BETWEEN 1 PRECEDING" in str(
            select(total()).compile(compile_kwargs={"literal_binds": True})
        )


def test_an_error_in_a_cursor_event(engine: sa.Engine) -> None:
    def divide(_connection: Any, cursor: Any, *_rest: Any) -> None:
        cursor.execute("SELECT 1 / 0")

    with engine.connect() as connection:
        event.listen(connection, "before_cursor_execute", divide)
        with pytest.raises((DBAPIError, psycopg.Error, psycopg2.Error)) as caught:
            connection.execute(text("SELECT 1"))
    assert isinstance(caught.value, DBAPIError) is SA_21


def test_removed_names(session: Session) -> None:
    index = inspect(session.connection()).get_indexes("tickets")[0]
    there = [
        hasattr(Session, "close_all"),
        hasattr(Mapper, "mapped_table"),
        find_spec("sqlalchemy.ext.mypy") is not None,
        "include_columns" in index,
    ]
    assert there == [not SA_21] * 4
    assert callable(close_all_sessions)
    assert inspect(Ticket).persist_selectable is Ticket.__table__
    assert index.get("dialect_options", {})["postgresql_include"] == []


# Deprecations: a warning on 2.1, silence on 2.0

LETTERS: Any = sa.column("letters", postgresql.ARRAY(sa.Text))
DEPRECATED: dict[str, Callable[[], Any]] = {
    "array.any": lambda: LETTERS.any("a"),
    "array.all": lambda: LETTERS.all("a"),
    "postgresql.Any": lambda: postgresql.Any("a", LETTERS),
    "number.like": lambda: Ticket.id.like("1%"),
    "date.like": lambda: Ticket.created_at.like("2026%"),
    "uuid.startswith": lambda: sa.column("u", sa.Uuid).startswith("a"),
    "jsonb.like": lambda: sa.column("j", postgresql.JSONB).like("a"),
    "jsonb - key": lambda: sa.column("j", postgresql.JSONB) - "a",
    "interval * 2": lambda: sa.column("i", sa.Interval) * 2,
    "inherit_schema": lambda: Enum("a", name="e", inherit_schema=True),
    "noload": lambda: noload(Ticket.organization),
    "declarative_mixin": lambda: declarative_mixin(object),
    "params of an expression": lambda: (Ticket.id == sa.bindparam("x")).params(x=1),
}


@pytest.mark.parametrize("write", DEPRECATED.values(), ids=DEPRECATED)
def test_deprecated(write: Callable[[], Any]) -> None:
    if SA_21:
        with pytest.warns(SADeprecationWarning):
            write()
    else:
        write()


def test_not_deprecated() -> None:
    """Warnings are errors here."""
    assert sql(Ticket.id.cast(sa.Text).like("1%")).startswith("CAST(tickets.id AS TEXT) LIKE")
    assert sql(literal("a") == sa.any_(LETTERS)).endswith("= ANY (letters)")
    assert sql(literal("a") == sa.all_(LETTERS)).endswith("= ALL (letters)")
    assert sql(sa.column("i", sa.Interval).op("*")(2)).startswith("i * ")
    assert sql(sa.column("j", postgresql.JSONB).op("-")("a")).startswith("j - ")


def test_deprecated_flush_of_objects(session: Session) -> None:
    tag = make_tag()
    session.add(tag)
    if SA_21:
        with pytest.warns(SADeprecationWarning, match="objects"):
            session.flush([tag])
    else:
        session.flush([tag])
    assert tag.id


def test_distinct_outside_of_an_aggregate() -> None:
    statement = select(sa.distinct(Ticket.creator_id))
    if SA_21:
        with pytest.warns(SAWarning, match="outside of an aggregate"):
            written = sql(statement)
    else:
        written = sql(statement)
    assert written == sql(select(Ticket.creator_id).distinct())
