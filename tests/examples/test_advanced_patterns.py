"""CRUD, joins, CTEs, windows and upsert, on rows whose answer is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import MultipleResultsFound, NoResultFound
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from examples.advanced_patterns import (
    TicketNotFoundError,
    activity,
    async_read_ticket,
    async_update_title,
    busy_organizations,
    by_urgency,
    duplicate_chain,
    latest_comments,
    needing_attention,
    newest_per_organization,
    read_by_title,
    read_ticket,
    tickets_with_people,
    unanswered,
    update_title,
    upsert_checkpoint,
)
from examples.models import ImportCheckpoint, Ticket, TicketPriority, TicketStatus
from examples.testing_patterns.factories import (
    make_comment,
    make_organization,
    make_ticket,
    make_user,
)
from examples.testing_patterns.statements import assert_statements

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def saved(session: Session, *tickets: Ticket) -> tuple[Ticket, ...]:
    """The tickets, stored one by one: their ids are in this order."""
    for ticket in tickets:
        session.add(ticket)
        session.flush()
    return tickets


def test_read_and_not_found(session: Session) -> None:
    (ticket,) = saved(session, make_ticket())
    assert read_ticket(session, ticket.id) is ticket
    ticket.deleted_at = LONG_AGO
    with pytest.raises(TicketNotFoundError, match=str(ticket.id)):
        read_ticket(session, ticket.id)


@pytest.mark.asyncio
async def test_read_and_update_async(async_session: AsyncSession) -> None:
    ticket = make_ticket()
    async_session.add(ticket)
    await async_session.flush()
    assert await async_read_ticket(async_session, ticket.id) is ticket
    assert await async_update_title(async_session, ticket.id, "Other")
    assert not await async_update_title(async_session, ticket.id + 1, "Other")
    with pytest.raises(TicketNotFoundError):
        await async_read_ticket(async_session, ticket.id + 1)


def test_none_and_several_are_told_apart(session: Session) -> None:
    saved(session, make_ticket(title="one"), make_ticket(title="two"), make_ticket(title="two"))
    assert read_by_title(session, "one").title == "one"
    with pytest.raises(NoResultFound):
        read_by_title(session, "none")
    with pytest.raises(MultipleResultsFound):
        read_by_title(session, "two")


def test_update_says_whether_there_was_one(session: Session) -> None:
    (ticket,) = saved(session, make_ticket(updated_at=LONG_AGO))
    assert update_title(session, ticket.id, "Other")
    session.refresh(ticket)
    assert (ticket.title, ticket.version) == ("Other", 2)
    assert ticket.updated_at > LONG_AGO
    assert not update_title(session, ticket.id + 1, "Other")


def test_what_the_session_holds_is_renewed(session: Session) -> None:
    (ticket,) = saved(session, make_ticket(updated_at=LONG_AGO))
    # The row is newer than the ticket that is held.
    session.connection().execute(text("UPDATE tickets SET version = 7"))
    assert update_title(session, ticket.id, "Other")
    with assert_statements(session, exactly=0):
        assert (ticket.title, ticket.version) == ("Other", 8)
        assert ticket.updated_at > LONG_AGO


@pytest.mark.asyncio
async def test_what_the_session_holds_is_renewed_async(async_session: AsyncSession) -> None:
    added = make_ticket(updated_at=LONG_AGO)
    async_session.add(added)
    await async_session.flush()
    ticket = await async_read_ticket(async_session, added.id)
    assert await async_update_title(async_session, ticket.id, "Other")
    with assert_statements(async_session, exactly=0):
        assert (ticket.title, ticket.version) == ("Other", 2)
        assert ticket.updated_at > LONG_AGO


def test_an_outer_join_keeps_the_unassigned(session: Session) -> None:
    ann, sam = make_user(full_name="Ann"), make_user(full_name="Sam")
    first, second = saved(session, make_ticket(creator=ann, assignee=sam), make_ticket(creator=ann))
    assert [tuple(row) for row in session.execute(tickets_with_people())] == [
        (first.ticket_number, "Ann", "Sam"),
        (second.ticket_number, "Ann", None),
    ]


def test_the_latest_comment_of_each(session: Session) -> None:
    first, second = saved(session, make_ticket(), make_ticket())
    for content in ("early", "late"):
        session.add(make_comment(ticket=first, content=content))
        session.flush()
    assert [tuple(row) for row in session.execute(latest_comments())] == [
        (first.id, "late"),
        (second.id, None),
    ]


def test_busy_organizations(session: Session) -> None:
    busy, calm = make_organization(name="Busy"), make_organization(name="Calm")
    saved(session, *(make_ticket(organization=busy) for _ in range(2)))
    saved(session, make_ticket(organization=calm))
    saved(session, make_ticket(organization=calm, deleted_at=LONG_AGO))
    saved(
        session,
        make_ticket(organization=calm, status=TicketStatus.CLOSED, resolved_at=LONG_AGO),
    )
    assert [tuple(row) for row in session.execute(busy_organizations(2))] == [("Busy", 2)]
    assert len(session.execute(busy_organizations(1)).all()) == 2


def test_a_chain_of_duplicates_ends_even_in_a_circle(session: Session) -> None:
    last, middle, first = saved(session, make_ticket(), make_ticket(), make_ticket())
    first.duplicate_of, middle.duplicate_of = middle, last
    session.flush()
    chain = [tuple(row) for row in session.execute(duplicate_chain(first.id))]
    assert chain == [(first.id, 0), (middle.id, 1), (last.id, 2)]
    last.duplicate_of = first
    session.flush()
    assert len(session.execute(duplicate_chain(first.id)).all()) == 21


def test_activity_merges_two_kinds(session: Session) -> None:
    user = make_user()
    (ticket,) = saved(session, make_ticket(creator=user, created_at=LONG_AGO))
    session.add(make_comment(ticket=ticket, author=user))
    session.flush()
    rows = session.execute(activity(user.id)).all()
    assert [row.kind for row in rows] == ["comment", "ticket"]


def test_unanswered(session: Session) -> None:
    silent, answered, internal, own = saved(session, *(make_ticket() for _ in range(4)))
    session.add(make_comment(ticket=answered))
    session.add(make_comment(ticket=internal, is_internal=True))
    session.add(make_comment(ticket=own, author=own.creator))
    session.flush()
    assert session.scalars(unanswered()).all() == [silent, internal, own]


def test_urgency_is_not_the_alphabet(session: Session) -> None:
    saved(session, *(make_ticket(priority=priority) for priority in TicketPriority))
    order = [ticket.priority for ticket in session.scalars(by_urgency())]
    assert order == list(reversed(TicketPriority))
    assert order != sorted(order)


def test_the_newest_of_each_organization(session: Session) -> None:
    acme, other = make_organization(), make_organization()
    session.add_all([acme, other])
    session.flush()
    first, second, third = saved(session, *(make_ticket(organization_id=acme.id) for _ in range(3)))
    (only,) = saved(session, make_ticket(organization_id=other.id))
    assert [tuple(row) for row in session.execute(newest_per_organization(2))] == [
        (acme.id, third.id),
        (acme.id, second.id),
        (other.id, only.id),
    ]
    assert first.id not in {row[1] for row in session.execute(newest_per_organization(2))}


def test_upsert_refreshes_what_is_loaded(session: Session) -> None:
    checkpoint = ImportCheckpoint(source="crm", position="1", updated_at=LONG_AGO)
    session.add(checkpoint)
    session.flush()
    again = upsert_checkpoint(session, "crm", "2")
    assert again is checkpoint
    assert checkpoint.position == "2"
    assert checkpoint.updated_at > LONG_AGO
    assert upsert_checkpoint(session, "mail", "1").position == "1"


def test_a_value_is_bound_and_a_formatted_one_is_sql(session: Session) -> None:
    saved(session, make_ticket(title="a"), make_ticket(title="b"))
    typed = "x' OR 'a' = 'a"
    titles = select(Ticket.title).order_by(Ticket.id)
    assert session.scalars(titles.where(Ticket.title == typed)).all() == []
    bound = text("title = :typed").bindparams(typed=typed)
    assert session.scalars(titles.where(bound)).all() == []
    formatted = text(f"title = '{typed}'")
    assert session.scalars(titles.where(formatted)).all() == ["a", "b"], "every row is shown"


def test_a_legacy_query_runs_beside_select(session: Session) -> None:
    """Warnings are errors here: old code may move one query at a time."""
    (ticket, _) = saved(session, make_ticket(title="a"), make_ticket(title="b"))
    assert session.query(Ticket).filter(Ticket.title == "a").all() == [ticket]
    assert session.scalars(select(Ticket).where(Ticket.title == "a")).all() == [ticket]


def test_needing_attention(session: Session) -> None:
    urgent, handled, opened = saved(
        session,
        make_ticket(priority=TicketPriority.URGENT, status=TicketStatus.IN_PROGRESS),
        make_ticket(status=TicketStatus.IN_PROGRESS),
        make_ticket(),
    )
    now = datetime.now(UTC) + timedelta(minutes=1)
    assert session.scalars(needing_attention(now)).all() == [urgent, opened]
    assert session.scalars(needing_attention(LONG_AGO)).all() == []
    assert handled.id
