"""The rule is kept by every method, no column is set by accident, and nothing commits by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import pytest
import pytest_asyncio
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from examples.database import (
    async_session_factory,
    create_asyncio_engine,
    create_sync_engine,
    session_factory,
)
from examples.models import Comment, Organization, Ticket, TicketPriority
from examples.repository import (
    FIELDS,
    AsyncTickets,
    FieldError,
    NewTicket,
    NoTicketError,
    TicketChanges,
    Tickets,
    async_unit_of_work,
    tickets_of,
    unit_of_work,
)
from examples.testing_patterns.factories import make_organization, make_ticket, make_user
from examples.testing_patterns.plugin import ASYNC_DRIVERS, SYNC_DRIVERS
from examples.testing_patterns.statements import assert_statements


class Made:
    """Two customers, a user, a ticket each; the ids, which outlive a rollback."""

    def __init__(self, session: Session) -> None:
        ours, theirs = make_organization(), make_organization()
        user = make_user()
        session.add_all([ours, theirs, user])
        session.flush()
        mine = make_ticket(organization=ours, creator=user, title="mine")
        foreign = make_ticket(organization=theirs, creator=user, title="foreign")
        session.add_all([mine, foreign])
        session.flush()
        self.ours, self.theirs, self.user = ours.id, theirs.id, user.id
        self.mine, self.foreign = mine.id, foreign.id

    def new(self, title: str = "new") -> NewTicket:
        """A ticket to be opened."""
        return NewTicket(title=title, description="It fails.", creator_id=self.user)


@pytest.fixture
def made(session: Session) -> Made:
    """In the test's session."""
    return Made(session)


@pytest.fixture
def tickets(session: Session, made: Made) -> Tickets:
    """Those of the first customer."""
    return Tickets(session, made.ours)


@pytest.fixture(params=SYNC_DRIVERS)
def committed(real_commits: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine whose commits are real."""
    engine = create_sync_engine(real_commits, driver=request.param)
    yield engine
    engine.dispose()


# --- The rule -------------------------------------------------------------------------------------


def test_another_customers_ticket_is_not_there(tickets: Tickets, made: Made) -> None:
    assert tickets.get(made.mine).title == "mine"
    for attempt in (
        lambda: tickets.get(made.foreign),
        lambda: tickets.change(made.foreign, {"title": "stolen"}),
        lambda: tickets.remove(made.foreign),
        lambda: tickets.comment(made.foreign, made.user, "Hello"),
    ):
        with pytest.raises(NoTicketError, match=f"no ticket {made.foreign}"):
            attempt()
    assert tickets.change_many([made.mine, made.foreign], {"title": "ours"}) == [
        tickets.get(made.mine)
    ]
    assert [ticket.id for ticket in tickets.page()] == [made.mine]
    assert Tickets(tickets.session, made.theirs).get(made.foreign).title == "foreign"


def test_a_deleted_ticket_is_not_there(tickets: Tickets, made: Made) -> None:
    tickets.remove(made.mine)
    for attempt in (
        lambda: tickets.get(made.mine),
        lambda: tickets.change(made.mine, {"title": "x"}),
        lambda: tickets.remove(made.mine),
        lambda: tickets.comment(made.mine, made.user, "Hello"),
    ):
        with pytest.raises(NoTicketError):
            attempt()
    assert tickets.change_many([made.mine], {"title": "x"}) == []
    assert tickets.page() == []


def test_a_plain_session_would_show_it(session: Session, made: Made) -> None:
    # What the repository is for: nothing in get() asks whose ticket it is.
    assert session.get_one(Ticket, made.foreign).title == "foreign"


def test_pages_are_bounded_and_follow_each_other(tickets: Tickets, made: Made) -> None:
    ids = [made.mine, *tickets.open_many([made.new() for _ in range(4)])]
    first = [ticket.id for ticket in tickets.page(limit=3)]
    assert first == ids[:3]
    assert [ticket.id for ticket in tickets.page(after=first[-1], limit=3)] == ids[3:]
    for limit in (0, 201):
        with pytest.raises(ValueError, match=f"received limit={limit}; expected 1 to 200"):
            tickets_of(1, limit=limit)


# --- What may be set ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    sorted({attribute.key for attribute in Ticket.__mapper__.attrs} - FIELDS),
)
def test_no_other_column_can_be_changed(tickets: Tickets, made: Made, name: str) -> None:
    received = cast("TicketChanges", {name: 1})
    with pytest.raises(FieldError, match=f"received the field '{name}'"):
        tickets.change(made.mine, received)
    with pytest.raises(FieldError):
        tickets.change_many([made.mine], received)


def test_a_typo_is_told(tickets: Tickets, made: Made) -> None:
    received: Any = json.loads('{"titel": "Invoice"}')
    with pytest.raises(FieldError, match=r"received the field 'titel'.*try 'title'"):
        tickets.change(made.mine, received)
    with pytest.raises(TypeError, match="titel"):
        NewTicket(titel="x", description="", creator_id=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="organization_id"):
        NewTicket(title="x", description="", creator_id=1, organization_id=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_no_changes_are_a_mistake(tickets: Tickets, made: Made) -> None:
    with pytest.raises(ValueError, match="received no changes"):
        tickets.change(made.mine, {})
    with pytest.raises(ValueError, match="received no changes"):
        tickets.change_many([made.mine], {})


# --- Plain behaviour, and what it costs -----------------------------------------------------------


def test_open_get_change_remove(tickets: Tickets, made: Made) -> None:
    session = tickets.session
    with assert_statements(session, exactly=1):
        ticket = tickets.open(made.new())
    assert (ticket.organization_id, ticket.version) == (made.ours, 1)
    assert ticket.ticket_number.startswith("TCK-")
    with assert_statements(session, exactly=1):
        assert tickets.get(ticket.id) is ticket
    with assert_statements(session, exactly=2):
        tickets.change(ticket.id, {"title": "changed", "assignee_id": made.user})
    assert (ticket.title, ticket.assignee_id, ticket.version) == ("changed", made.user, 2)
    with assert_statements(session, exactly=2):
        assert tickets.comment(ticket.id, made.user, "Hello").id
    with assert_statements(session, exactly=1):
        tickets.remove(ticket.id)


def test_many_are_one_statement(tickets: Tickets, made: Made) -> None:
    session = tickets.session
    new = [made.new(f"t{n}") for n in range(50)]
    with assert_statements(session, exactly=1):
        ids = tickets.open_many(new)
    with assert_statements(session, exactly=1):
        changed = tickets.change_many(ids, {"priority": TicketPriority.HIGH})
    assert {ticket.id: ticket.title for ticket in changed} == {
        id_: each.title for id_, each in zip(ids, new, strict=True)
    }
    assert {(ticket.priority, ticket.version) for ticket in changed} == {(TicketPriority.HIGH, 2)}


def test_none_are_no_statement(tickets: Tickets) -> None:
    with assert_statements(tickets.session, exactly=0):
        assert tickets.open_many([]) == []
    # Not guarded, an empty list inserts a row of defaults, which this table refuses.
    assert tickets.change_many([], {"title": "x"}) == []


def test_what_the_session_holds_is_renewed(tickets: Tickets, made: Made) -> None:
    held = tickets.get(made.mine)
    tickets.change_many([made.mine], {"title": "new"})
    assert (held.title, held.version) == ("new", 2)
    held.title = "newer"
    tickets.session.flush()
    assert held.version == 3


def test_a_removed_ticket_that_is_held_says_so(tickets: Tickets, made: Made) -> None:
    held = tickets.get(made.mine)
    tickets.remove(made.mine)
    with assert_statements(tickets.session, exactly=0):
        assert (held.version, held.deleted_at is None, held.updated_at is None) == (2, False, False)


def test_a_change_that_came_between_is_not_lost(tickets: Tickets, made: Made) -> None:
    ticket = tickets.get(made.mine)
    tickets.session.connection().execute(text("UPDATE tickets SET version = version + 1"))
    ticket.title = "lost?"
    with pytest.raises(StaleDataError):
        tickets.session.flush()


# --- Who commits ----------------------------------------------------------------------------------


def count(session: Session, entity: type[object]) -> int:
    """How many rows there are."""
    return session.scalars(select(func.count()).select_from(entity)).one()


def test_no_method_commits(committed: Engine) -> None:
    with session_factory(committed)() as session:
        made = Made(session)
        tickets = Tickets(session, made.ours)
        tickets.open(made.new())
        ids = tickets.open_many([made.new(), made.new()])
        tickets.change(made.mine, {"title": "x"})
        tickets.change_many(ids, {"title": "x"})
        tickets.comment(made.mine, made.user, "x")
        tickets.remove(ids[0])
        session.rollback()
        for entity in (Ticket, Comment, Organization):
            assert count(session, entity) == 0


def test_a_unit_is_all_or_none(committed: Engine) -> None:
    factory = session_factory(committed)
    with factory.begin() as session:
        made = Made(session)

    def half_a_unit() -> None:
        with unit_of_work(factory, made.ours) as tickets:
            others = Tickets(tickets.session, made.theirs)
            tickets.comment(made.mine, made.user, "before")
            others.change(made.foreign, {"title": "changed"})
            others.change(made.foreign, {"title": " "})

    with pytest.raises(IntegrityError, match="ck_tickets_title_length"):
        half_a_unit()
    with factory() as session:
        assert count(session, Comment) == 0
        assert session.get_one(Ticket, made.foreign).title == "foreign"
    with unit_of_work(factory, made.ours) as tickets:
        tickets.comment(made.mine, made.user, "stays")
    with factory() as session:
        assert count(session, Comment) == 1


# --- asyncio --------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session", params=ASYNC_DRIVERS)
async def async_committed(real_commits: str, request: pytest.FixtureRequest) -> Any:
    """An async engine whose commits are real."""
    engine = create_asyncio_engine(real_commits, driver=request.param)
    yield engine
    await engine.dispose()


@pytest.mark.asyncio
async def test_the_same_under_asyncio(async_session: AsyncSession) -> None:
    made = await async_session.run_sync(Made)
    tickets = AsyncTickets(async_session, made.ours)
    ticket = await tickets.open(made.new())
    with assert_statements(async_session, exactly=1):
        ids = await tickets.open_many([made.new(), made.new()])
    assert await tickets.open_many([]) == []
    with assert_statements(async_session, exactly=2):
        changed = await tickets.change(ticket.id, {"title": "changed"})
    # Nothing is loaded on access: updated_at came back with the UPDATE.
    assert (changed.title, changed.version, changed.updated_at is None) == ("changed", 2, False)
    many = await tickets.change_many([*ids, made.foreign], {"assignee_id": made.user})
    assert {each.id for each in many} == set(ids)
    assert (await tickets.comment(ticket.id, made.user, "Hello")).created_at
    await tickets.remove(ticket.id)
    with assert_statements(async_session, exactly=0):
        assert (ticket.version, ticket.deleted_at is None, ticket.updated_at) == (
            3,
            False,
            ticket.deleted_at,
        )
    assert [each.id for each in await tickets.page()] == [made.mine, *ids]
    for attempt in (
        tickets.get(made.foreign),
        tickets.change(ticket.id, {"title": "x"}),
        tickets.remove(ticket.id),
        tickets.comment(made.foreign, made.user, "x"),
    ):
        with pytest.raises(NoTicketError):
            await attempt
    received: Any = {"version": 1}
    with pytest.raises(FieldError):
        await tickets.change(made.mine, received)
    with pytest.raises(FieldError):
        await tickets.change_many([made.mine], received)


@pytest.mark.asyncio
async def test_an_async_unit_is_all_or_none(async_committed: AsyncEngine) -> None:
    factory = async_session_factory(async_committed)
    async with factory.begin() as session:
        made = await session.run_sync(Made)

    async def half_a_unit() -> None:
        async with async_unit_of_work(factory, made.ours) as tickets:
            await tickets.open(made.new())
            await tickets.get(made.foreign)

    with pytest.raises(NoTicketError):
        await half_a_unit()
    async with async_unit_of_work(factory, made.ours) as tickets:
        assert [ticket.id for ticket in await tickets.page()] == [made.mine]
        await tickets.open(made.new())
    async with async_unit_of_work(factory, made.ours) as tickets:
        assert len(await tickets.page()) == 2
