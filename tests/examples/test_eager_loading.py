"""What is loaded, by how many statements, how many rows; and what the wrong choice does."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing
from typing import Any

import pytest
from sqlalchemy import Engine, Select, select, text
from sqlalchemy.exc import InvalidRequestError, MissingGreenlet, StatementError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, joinedload, load_only, raiseload, selectinload
from sqlalchemy.orm.exc import StaleDataError

from examples.database import create_sync_engine
from examples.eager_loading import (
    async_every_ticket,
    async_load_page,
    by_ticket,
    every_ticket,
    load_page,
    measured,
    newest_comments,
    tag_names,
    ticket_page,
    ticket_thread,
    tickets_by_joins,
    tickets_by_selects,
    tickets_by_subqueries,
    tickets_with_counts,
    tickets_with_public_comments,
)
from examples.models import Comment, Ticket, TicketStatus, TicketTag
from examples.query_plans import explain
from examples.testing_patterns.factories import (
    make_attachment,
    make_comment,
    make_tag,
    make_ticket,
    make_user,
)
from examples.testing_patterns.large_desk import fill_desk
from examples.testing_patterns.plans import assert_indexes
from examples.testing_patterns.statements import assert_statements

TICKETS, COMMENTS, TAGS = 5, 6, 3
RAISELOAD = "is not available due to raiseload=True"
CHANGED_MEANWHILE = text("UPDATE tickets SET title = 'of somebody else', version = version + 1")


def desk() -> list[Ticket]:
    """Five tickets, each with six comments, two of them internal, and three tags."""
    tags = [make_tag() for _ in range(TAGS)]
    tickets = [make_ticket(assignee=make_user() if n % 2 else None) for n in range(TICKETS)]
    for ticket in tickets:
        ticket.tag_links = [TicketTag(tag=tag) for tag in tags]
        ticket.comments = [
            make_comment(ticket=ticket, content=f"{n}", is_internal=n < 2) for n in range(COMMENTS)
        ]
        ticket.attachments = [make_attachment()]
    return tickets


@pytest.fixture
def ids(session: Session) -> list[int]:
    """The ids of a desk that the session does not hold any more."""
    tickets = desk()
    session.add_all(tickets)
    session.flush()
    found = [ticket.id for ticket in tickets]
    session.expunge_all()
    return found


def test_a_page_takes_two_statements(session: Session, ids: list[int]) -> None:
    with assert_statements(session, exactly=2):
        tickets = load_page(session, 3)
        for ticket in tickets:
            assert ticket.creator.full_name.startswith("User")
            assert ticket.assignee is None or ticket.assignee.full_name
            assert len(ticket.tags) == TAGS
    assert [ticket.id for ticket in tickets] == sorted(ids, reverse=True)[:3]


def test_what_a_page_does_not_load_raises(session: Session, ids: list[int]) -> None:
    ticket = load_page(session, 1)[0]
    with pytest.raises(InvalidRequestError, match="is not available due to lazy='raise'"):
        _ = ticket.comments
    with pytest.raises(InvalidRequestError, match="is not available due to lazy='raise'"):
        _ = ticket.organization


def test_load_only_fetches_the_columns_of_a_list(session: Session, ids: list[int]) -> None:
    with assert_statements(session, exactly=2):
        ticket = load_page(session, 1)[0]
    assert "description" not in ticket.__dict__
    with pytest.raises(InvalidRequestError, match=RAISELOAD):
        _ = ticket.description
    with pytest.raises(InvalidRequestError, match=RAISELOAD):
        _ = ticket.creator.email
    # Without raiseload=True each is loaded when it is asked for.
    session.expunge_all()
    query = select(Ticket).order_by(Ticket.id).limit(1).options(load_only(Ticket.title))
    plain = session.scalars(query).one()
    with assert_statements(session, exactly=2):
        assert plain.description
        assert plain.status is TicketStatus.OPEN


def test_what_a_page_dropped_can_be_loaded_on_purpose(session: Session, ids: list[int]) -> None:
    first, second = load_page(session, 2)
    session.refresh(first, ["description"])
    assert first.description
    assert session.get_one(Ticket, second.id, populate_existing=True).description


def test_a_ticket_of_a_page_can_be_changed(session: Session, ids: list[int]) -> None:
    ticket = load_page(session, 1)[0]
    ticket.title, ticket.description = "new", "It works."
    # The UPDATE, and what eager_defaults misses of the columns with a default.
    with assert_statements(session, at_most=2):
        session.flush()
    with assert_statements(session, exactly=0):
        assert (ticket.version, ticket.updated_at is None) == (2, False)


def test_a_change_behind_a_page_is_not_lost(session: Session, ids: list[int]) -> None:
    ticket = load_page(session, 1)[0]
    session.connection().execute(CHANGED_MEANWHILE)
    ticket.title = "lost?"
    with pytest.raises(StaleDataError):
        session.flush()


@pytest.mark.asyncio
async def test_a_change_behind_a_page_is_not_lost_async(async_session: AsyncSession) -> None:
    async_session.add_all(desk())
    await async_session.flush()
    async_session.expunge_all()
    ticket = (await async_load_page(async_session, 1))[0]
    await (await async_session.connection()).execute(CHANGED_MEANWHILE)
    ticket.title = "lost?"
    with pytest.raises(StaleDataError):
        await async_session.flush()


def test_without_its_version_a_later_write_overwrites(session: Session, ids: list[int]) -> None:
    """The flush loads the version that is missing, when it is too late."""
    query = select(Ticket).order_by(Ticket.id).limit(1).options(load_only(Ticket.title))
    ticket = session.scalars(query).one()
    session.connection().execute(CHANGED_MEANWHILE)
    ticket.title = "overwritten"
    session.flush()
    assert (ticket.title, ticket.version) == ("overwritten", 3)


@pytest.mark.asyncio
async def test_a_page_under_asyncio(async_session: AsyncSession) -> None:
    async_session.add_all(desk())
    await async_session.flush()
    async_session.expunge_all()
    with assert_statements(async_session, exactly=2):
        tickets = await async_load_page(async_session, 10)
        assert [len(ticket.tags) for ticket in tickets] == [TAGS] * TICKETS
        assert all(ticket.creator.full_name for ticket in tickets)
    with pytest.raises(InvalidRequestError, match=RAISELOAD):
        _ = tickets[0].description
    tickets[0].title = "new"
    await async_session.flush()
    assert (tickets[0].version, tickets[0].updated_at is None) == (2, False)


@pytest.mark.asyncio
async def test_what_load_only_drops_is_io_under_asyncio(async_session: AsyncSession) -> None:
    async_session.add(make_ticket())
    await async_session.flush()
    async_session.expunge_all()
    ticket = (await async_session.scalars(select(Ticket).options(load_only(Ticket.title)))).one()
    # Some drivers' errors are wrapped once more.
    with pytest.raises((MissingGreenlet, StatementError), match="greenlet_spawn"):
        _ = ticket.description


def test_a_thread_is_nested(session: Session, ids: list[int]) -> None:
    with assert_statements(session, exactly=3):
        ticket = session.scalars(ticket_thread(ids[0])).one()
        assert [comment.author.full_name for comment in ticket.comments]
        assert len(ticket.attachments) == 1


def test_two_joins_multiply(session: Session, ids: list[int]) -> None:
    with assert_statements(session, exactly=1):
        tickets = session.scalars(tickets_by_joins(ids)).unique().all()
    assert len(tickets) == TICKETS
    assert [len(ticket.comments) for ticket in tickets] == [COMMENTS] * TICKETS
    rows = session.execute(
        select(Ticket.id).join(Ticket.comments).join(Ticket.tags).where(Ticket.id.in_(ids))
    )
    assert len(rows.all()) == TICKETS * COMMENTS * TAGS


@pytest.mark.parametrize("statement", [tickets_by_selects, tickets_by_subqueries])
def test_a_statement_a_collection(
    session: Session, ids: list[int], statement: Callable[[list[int]], Select[Ticket]]
) -> None:
    with assert_statements(session, exactly=3):
        tickets = session.scalars(statement(ids)).all()
    assert [len(ticket.comments) for ticket in tickets] == [COMMENTS] * TICKETS
    assert [len(ticket.tags) for ticket in tickets] == [TAGS] * TICKETS


def test_a_joined_collection_needs_unique(session: Session, ids: list[int]) -> None:
    with pytest.raises(InvalidRequestError, match=r"unique\(\) method must be invoked"):
        session.scalars(tickets_by_joins(ids)).all()
    # A many-to-one needs none: a row stays a row.
    query = select(Ticket).options(joinedload(Ticket.creator))
    assert len(session.scalars(query).all()) == TICKETS


def test_a_plain_join_multiplies_without_a_word(session: Session, ids: list[int]) -> None:
    rows = session.scalars(select(Ticket).join(Ticket.comments).where(Ticket.id.in_(ids))).all()
    assert len(rows) == TICKETS * COMMENTS


def test_a_limit_counts_tickets_not_rows(session: Session, ids: list[int]) -> None:
    """SQLAlchemy wraps the limited query in a subquery before it joins a collection."""
    query = select(Ticket).options(joinedload(Ticket.comments)).order_by(Ticket.id).limit(2)
    tickets = session.scalars(query).unique().all()
    assert [ticket.id for ticket in tickets] == sorted(ids)[:2]
    assert "(SELECT" in str(query)


def test_part_of_a_collection(session: Session, ids: list[int]) -> None:
    held = {ticket.id: ticket for ticket in session.scalars(tickets_by_selects(ids))}
    assert [len(ticket.comments) for ticket in held.values()] == [COMMENTS] * TICKETS
    with assert_statements(session, exactly=1):
        tickets = session.scalars(tickets_with_public_comments(ids)).unique().all()
    assert [len(ticket.comments) for ticket in tickets] == [COMMENTS - 2] * TICKETS
    assert all(held[ticket.id] is ticket for ticket in tickets)


def test_without_populate_existing_the_held_collection_stays(
    session: Session, ids: list[int]
) -> None:
    held = session.scalars(tickets_by_selects(ids)).all()
    query = tickets_with_public_comments(ids).execution_options(populate_existing=False)
    session.scalars(query).unique().all()
    assert [len(ticket.comments) for ticket in held] == [COMMENTS] * TICKETS


def test_a_ticket_without_public_comments_is_there(session: Session) -> None:
    ticket = make_ticket()
    ticket.comments = [make_comment(ticket=ticket, is_internal=True)]
    session.add(ticket)
    session.flush()
    found = session.scalars(tickets_with_public_comments([ticket.id])).unique().one()
    assert found.comments == []


def test_the_newest_of_each(session: Session, ids: list[int]) -> None:
    with assert_statements(session, exactly=1):
        newest = by_ticket(session.scalars(newest_comments(ids, 2)))
    assert sorted(newest) == sorted(ids)
    assert [[comment.content for comment in newest[key]] for key in ids] == [["5", "4"]] * TICKETS
    assert by_ticket([])[1] == []
    assert session.scalars(newest_comments([], 2)).all() == []


def test_counting_loads_no_child(session: Session, ids: list[int]) -> None:
    session.add(make_ticket(title="without any"))
    session.flush()
    session.expunge_all()
    with assert_statements(session, exactly=1):
        rows = session.execute(tickets_with_counts(10)).all()
    assert [count for _, count in rows] == [0] + [COMMENTS] * TICKETS
    assert not any(isinstance(item, Comment) for item in session.identity_map.values())


def test_names_without_objects(session: Session, ids: list[int]) -> None:
    with assert_statements(session, exactly=1):
        names = {row[0]: row[1] for row in session.execute(tag_names(ids))}
    assert [len(names[key]) for key in ids] == [TAGS] * TICKETS


def test_raiseload_is_a_guard(session: Session, ids: list[int]) -> None:
    query = select(Ticket).options(selectinload(Ticket.comments), raiseload("*"))
    ticket = session.scalars(query).first()
    assert ticket is not None
    assert len(ticket.comments) == COMMENTS
    with pytest.raises(InvalidRequestError, match="lazy='raise'"):
        _ = ticket.comments[0].author


def test_streaming_keeps_one_batch(session: Session) -> None:
    session.add_all([make_ticket() for _ in range(60)])
    session.flush()
    session.expunge_all()
    alive: list[weakref.ref[Ticket]] = []
    most = 0
    with assert_statements(session, exactly=7):  # one, and one a batch for the tags
        for ticket in every_ticket(session, batch=10):
            alive = [item for item in alive if item() is not None] + [weakref.ref(ticket)]
            most = max(most, len(alive))
            assert ticket.tags == []
    gc.collect()
    assert 10 <= most <= 21


@pytest.mark.asyncio
async def test_streaming_under_asyncio(async_session: AsyncSession) -> None:
    async_session.add_all([make_ticket() for _ in range(25)])
    await async_session.flush()
    async_session.expunge_all()
    with assert_statements(async_session, exactly=4):  # one, and one a batch for the tags
        seen = [ticket.id async for ticket in async_every_ticket(async_session, batch=10)]
    assert len(seen) == 25
    assert seen == sorted(seen)


CURSORS = text("SELECT count(*) FROM pg_cursors")


def test_who_stops_early_leaves_no_cursor(session: Session) -> None:
    session.add_all([make_ticket() for _ in range(3)])
    session.flush()
    with closing(every_ticket(session, batch=1)) as tickets:
        assert next(tickets)
        assert session.scalar(CURSORS) == 1
    assert session.scalar(CURSORS) == 0


@pytest.mark.asyncio
async def test_who_stops_early_leaves_no_cursor_under_asyncio(async_session: AsyncSession) -> None:
    async_session.add_all([make_ticket() for _ in range(3)])
    await async_session.flush()
    async with aclosing(async_every_ticket(async_session, batch=1)) as tickets:
        async for ticket in tickets:
            assert ticket
            break
    # asyncpg has no way to close one: it goes with the transaction.
    driver = (await async_session.connection()).dialect.driver
    assert (await async_session.scalar(CURSORS) == 0) == (driver == "psycopg")


def test_a_joined_collection_cannot_be_streamed(session: Session, ids: list[int]) -> None:
    query = tickets_by_joins(ids).execution_options(yield_per=2)
    with pytest.raises(InvalidRequestError, match="yield_per"):
        session.scalars(query).unique().all()


@pytest.fixture
def committed(real_commits: str) -> Iterator[Engine]:
    """A desk on psycopg, whose results can be weighed."""
    engine = create_sync_engine(real_commits)
    with Session(engine) as session:
        session.add_all(desk())
        session.commit()
    yield engine
    engine.dispose()


def test_what_comes_over_the_wire(committed: Engine) -> None:
    with Session(committed) as session:
        ids = list(session.scalars(select(Ticket.id)))
    joins = measured(committed, tickets_by_joins(ids))
    selects = measured(committed, tickets_by_selects(ids))
    page = measured(committed, ticket_page(TICKETS))
    assert page.statements == 2
    assert (joins.statements, joins.rows) == (1, TICKETS * COMMENTS * TAGS)
    rows = TICKETS + TICKETS * COMMENTS + TICKETS * TAGS
    assert (selects.statements, selects.rows) == (3, rows)
    assert joins.bytes > 2 * selects.bytes > 2 * page.bytes


def test_the_lateral_join_stops_early(committed: Engine) -> None:
    """It reads the index of (ticket, created_at, id) backwards: two of 20,000 comments."""
    with Session(committed) as session:
        ids = list(session.scalars(select(Ticket.id)))
        session.execute(
            text(
                "INSERT INTO comments (ticket_id, author_id, content) "
                "SELECT :ticket, (SELECT min(id) FROM users), 'more' FROM generate_series(1, 20000)"
            ),
            {"ticket": ids[0]},
        )
        session.execute(text("ANALYZE comments"))
        plan = explain(session, newest_comments(ids, 2), analyze=True)
    (scan,) = [node for node in plan.nodes if node.table == "comments"]
    assert (scan.kind, scan.index) == ("Index Scan", COMMENT_INDEX)
    assert scan.read == 2 * TICKETS


# --- A hundred thousand tickets -------------------------------------------------------------------

TICKET_IDS = range(50_000, 50_020)
NEWEST, COMMENT_INDEX = "ix_tickets_created_at_id", "ix_comments_ticket_id_created_at_id"


@pytest.mark.parametrize(
    ("statement", "statements", "rows", "indexes"),
    [
        (ticket_page(50), 2, 50, {NEWEST, "pk_ticket_tags"}),
        (ticket_thread(50_000), 3, 1, {"pk_tickets", COMMENT_INDEX}),
        (tickets_by_joins(TICKET_IDS), 1, 20, {"pk_tickets", COMMENT_INDEX, "pk_ticket_tags"}),
        (tickets_by_selects(TICKET_IDS), 3, 20, {"pk_tickets", COMMENT_INDEX, "pk_ticket_tags"}),
        (tickets_by_subqueries(TICKET_IDS), 3, 20, {"pk_tickets", COMMENT_INDEX, "pk_ticket_tags"}),
        (tickets_with_public_comments(TICKET_IDS), 1, 20, {"pk_tickets", COMMENT_INDEX}),
        (newest_comments(TICKET_IDS, 1), 1, 18, {COMMENT_INDEX}),
        (tickets_with_counts(50), 1, 50, {NEWEST, COMMENT_INDEX}),
    ],
    ids=[
        *("ticket_page", "ticket_thread", "tickets_by_joins", "tickets_by_selects"),
        *("tickets_by_subqueries", "tickets_with_public_comments", "newest_comments"),
        "tickets_with_counts",
    ],
)
def test_the_statements_and_indexes_of_each_read(
    large_desk: Engine,
    statement: Select[Any],
    statements: int,
    rows: int,
    indexes: set[str],
) -> None:
    with (
        Session(large_desk) as session,
        assert_statements(session, exactly=statements),
        assert_indexes(session, *indexes),
    ):
        found = session.execute(statement).unique().all()
    assert len(found) == rows


def test_the_index_of_names(large_desk: Engine) -> None:
    with (
        Session(large_desk) as session,
        assert_statements(session, exactly=1),
        assert_indexes(session, "pk_ticket_tags"),
    ):
        assert len(session.execute(tag_names(TICKET_IDS)).all()) == len(TICKET_IDS)


def test_the_indexes_of_a_stream(large_desk: Engine) -> None:
    """The first of five thousand batches: nothing is sorted."""
    url = large_desk.url.render_as_string(hide_password=False)
    engine = create_sync_engine(url).execution_options(shuffle_rows=False)
    with (
        Session(engine) as session,
        assert_statements(session, exactly=2),
        assert_indexes(session, "pk_tickets", "pk_ticket_tags") as plans,
        closing(every_ticket(session, batch=20)) as tickets,
    ):
        assert next(tickets).tags
    engine.dispose()
    assert [node.kind for node in plans[0].nodes] == ["Index Scan"]


def test_the_index_of_attachments(real_commits: str) -> None:
    """The large desk has none: three for each of 2,000 tickets."""
    engine = create_sync_engine(real_commits)
    fill_desk(engine, tickets=2_000, threads=False)
    with Session(engine) as session:
        for line in (
            "INSERT INTO attachments (ticket_id, filename, size_bytes, sha256, storage_key) "
            "SELECT id, 'log.txt', 1, repeat('0', 64), id || '/' || n "
            "FROM tickets, generate_series(1, 3) AS n",
            "ANALYZE attachments",
        ):
            session.execute(text(line))
        with assert_indexes(session, "pk_tickets", "ix_attachments_ticket_id"):
            assert len(session.scalars(ticket_thread(7)).one().attachments) == 3
    engine.dispose()
