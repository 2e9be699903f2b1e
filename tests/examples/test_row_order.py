"""Rows that nobody ordered are shuffled; what somebody ordered stays so."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, Select, func, literal, select, text, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, aliased, joinedload, load_only, selectinload

from examples.models import Tag, Ticket, TicketTag
from examples.testing_patterns.factories import make_comment, make_tag, make_ticket
from examples.testing_patterns.row_order import shuffled_rows
from examples.testing_patterns.statements import recorded_statements

MANY = 30  # 30! orders: that two of them agree by chance is out of the question


@pytest.fixture
def names(session: Session) -> list[str]:
    """The names of the only tags, in the order of their insertion."""
    tags = [make_tag(name=f"tag-{number:02}") for number in range(MANY)]
    session.add_all(tags)
    session.flush()
    return [tag.name for tag in tags]


def read(session: Session, statement: Select[str], seed: int) -> list[str]:
    """What it returns when it is shuffled by *seed*."""
    with shuffled_rows(session, seed):
        return list(session.scalars(statement))


@pytest.mark.usefixtures("names")
def test_unordered_entities_are_shuffled(session: Session) -> None:
    one, two, again = ([tag.name for tag in _tags(session, seed)] for seed in (1, 2, 1))
    assert sorted(one) == sorted(two)
    assert one != two
    assert one == again


def _tags(session: Session, seed: int) -> list[Tag]:
    with shuffled_rows(session, seed):
        return list(session.scalars(select(Tag)))


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(select(Tag.name), id="attribute"),
        pytest.param(select(Tag.__table__.c.name), id="Core"),
        pytest.param(select(aliased(Tag).name), id="alias"),
        pytest.param(select(Tag.name).group_by(Tag.name), id="GROUP BY"),
        pytest.param(select(Tag.name).with_for_update(), id="FOR UPDATE"),
        pytest.param(select(Tag.name).order_by(func.length(Tag.name)), id="tie"),
    ],
)
def test_columns_are_shuffled(session: Session, names: list[str], statement: Select[str]) -> None:
    assert sorted(read(session, statement, 1)) == names
    if statement._for_update_arg is None:
        assert read(session, statement, 1) == read(session, statement, 1)
    assert len({tuple(read(session, statement, seed)) for seed in range(3)}) > 1


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(select(Tag.name).order_by(Tag.name.desc()), id="ORDER BY"),
        pytest.param(select(Tag.name).distinct().order_by(Tag.name.desc()), id="DISTINCT"),
    ],
)
def test_an_order_stays(session: Session, names: list[str], statement: Select[str]) -> None:
    assert read(session, statement, 1) == names[::-1]


def test_a_limit_takes_any(session: Session, names: list[str]) -> None:
    """The page that has no total order is another one each time."""
    by_length = select(Tag.name).order_by(func.length(Tag.name)).limit(3)
    pages = {frozenset(read(session, by_length, seed)) for seed in range(5)}
    assert len(pages) > 1
    assert all(page < set(names) for page in pages)


def test_a_joined_collection_keeps_its_order(session: Session) -> None:
    tickets = [make_ticket() for _ in range(MANY)]
    for ticket in tickets:
        ticket.comments = [make_comment(ticket=ticket, content=str(place)) for place in range(4)]
    session.add_all(tickets)
    session.flush()
    ids = [ticket.id for ticket in tickets]
    session.expunge_all()
    query = select(Ticket).where(Ticket.id.in_(ids)).options(joinedload(Ticket.comments))
    with shuffled_rows(session, 1):
        found = session.scalars(query).unique().all()
    assert [ticket.id for ticket in found] != ids
    assert sorted(ticket.id for ticket in found) == ids
    for ticket in found:
        assert [comment.content for comment in ticket.comments] == ["0", "1", "2", "3"]


def test_a_collection_that_is_ordered_late_keeps_its_order(session: Session) -> None:
    """selectinload of a many-to-many adds its ORDER BY while the statement is compiled."""
    ticket, names = make_ticket(), [f"tag-{number:02}" for number in range(MANY)]
    ticket.tag_links = [TicketTag(tag=make_tag(name=name)) for name in reversed(names)]
    session.add(ticket)
    session.flush()
    session.expunge_all()
    query = select(Ticket).where(Ticket.id == ticket.id).options(selectinload(Ticket.tags))
    with shuffled_rows(session, 1):
        assert [tag.name for tag in session.scalars(query).one().tags] == names


def test_an_option_keeps_rows_as_they_are(session: Session) -> None:
    query = select(Tag).execution_options(shuffle_rows=False)
    with shuffled_rows(session, 1), recorded_statements(session) as ran:
        session.scalars(query).all()
    assert "ORDER BY" not in ran[0]


@pytest.mark.usefixtures("names")
def test_options_and_two_entities(session: Session) -> None:
    other = aliased(Tag)
    with shuffled_rows(session, 1):
        part = session.scalars(select(Tag).options(load_only(Tag.name)).limit(5)).all()
        pairs = session.execute(select(other, Tag.name).join(Tag, Tag.id == other.id)).all()
    assert len(part) == 5
    assert all(tag.name == name for tag, name in pairs)


def test_what_cannot_be_shuffled_is_left_alone(session: Session) -> None:
    parts = union_all(select(literal(1)), select(literal(2)))
    with shuffled_rows(session, 1):
        assert sorted(session.scalars(parts)) == [1, 2]
        assert session.scalars(text("SELECT 3")).all() == [3]
        assert session.scalar(select(func.count()).select_from(Tag)) == 0
        assert session.scalar(select(literal(4))) == 4


@pytest.mark.asyncio
async def test_async_rows_are_shuffled(async_session: AsyncSession) -> None:
    async_session.add_all([make_tag() for _ in range(MANY)])
    await async_session.flush()
    with shuffled_rows(async_session, 1):
        one = (await async_session.scalars(select(Tag))).all()
    with shuffled_rows(async_session, 2):
        two = (await async_session.scalars(select(Tag))).all()
    assert one != two
    assert set(one) == set(two)


def test_the_class_means_every_engine_and_the_end_ends_it(session: Session) -> None:
    with shuffled_rows(Engine) as seed, recorded_statements(session) as within:
        session.scalars(select(Tag.name)).all()
    with recorded_statements(session) as after:
        session.scalars(select(Tag.name)).all()
    assert seed >= 0
    assert "ORDER BY hashint8extended(row_number() OVER (), " in within[0]
    assert "ORDER BY" not in after[0]


LEANING = """
from sqlalchemy import select
from examples.models import Tag
from examples.testing_patterns.factories import make_tag

def test_leaning(session):
    session.add_all([make_tag(name=f"{number:02}") for number in range(30)])
    session.flush()
    assert [tag.name for tag in session.scalars(select(Tag))] == [f"{n:02}" for n in range(30)]
"""


@pytest.mark.once
@pytest.mark.parametrize("option", [[], ["--shuffle-rows"]])
def test_a_test_that_leans_on_luck_fails(
    pytester: pytest.Pytester, pytestconfig: pytest.Config, postgres_url: str, option: list[str]
) -> None:
    pytester.makeconftest('pytest_plugins = ["examples.testing_patterns.plugin"]')
    pytester.makepyprojecttoml(
        f"""
        [tool.pytest.ini_options]
        pythonpath = [{str(pytestconfig.rootpath)!r}]
        asyncio_default_fixture_loop_scope = "session"
        """
    )
    pytester.makepyfile(LEANING)
    result = pytester.runpytest_subprocess("--database-url", postgres_url, *option)
    result.assert_outcomes(failed=2) if option else result.assert_outcomes(passed=2)
