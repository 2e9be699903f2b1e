"""What is loaded, what is written, and what goes along when a row goes."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from examples.models import Comment, Organization, Ticket, TicketTag, User
from examples.relationships import (
    add_comment,
    async_add_comment,
    comments_of,
    duplicates_of,
    insert_tickets,
    newest_tickets_of,
    tag_counts,
    tag_ticket,
    ticket_with_children,
    tickets_with_all_tags,
    tickets_with_any_tag,
    untag_ticket,
    users_without_tickets,
)
from examples.testing_patterns.factories import make_comment, make_tag, make_ticket, make_user
from examples.testing_patterns.statements import assert_statements


def saved_ticket(session: Session) -> Ticket:
    """A ticket in the database."""
    ticket = make_ticket()
    session.add(ticket)
    session.flush()
    return ticket


def test_children_load_in_three_statements(session: Session) -> None:
    ticket = saved_ticket(session)
    session.add_all(make_comment(ticket=ticket) for _ in range(5))
    session.add_all(TicketTag(ticket=ticket, tag=make_tag()) for _ in range(3))
    session.commit()
    identity = ticket.id
    session.expunge_all()
    with assert_statements(session, exactly=3):
        loaded = session.scalars(ticket_with_children(identity)).one()
        assert (len(loaded.comments), len(loaded.tags)) == (5, 3)
    with pytest.raises(InvalidRequestError, match="lazy='raise'"):
        _ = loaded.attachments


def test_internal_comments_stay_with_the_desk(session: Session) -> None:
    ticket = saved_ticket(session)
    for content, internal in (("a", False), ("b", True), ("c", False)):
        session.add(make_comment(ticket=ticket, content=content, is_internal=internal))
        session.flush()
    public = session.scalars(comments_of(ticket.id, internal=False)).all()
    assert [comment.content for comment in public] == ["a", "c"]
    everything = session.scalars(comments_of(ticket.id, internal=True)).all()
    assert [comment.content for comment in everything] == ["a", "b", "c"]
    assert len({comment.created_at for comment in everything}) == 1, "the id breaks the ties"


def test_add_comment_loads_nothing(session: Session) -> None:
    ticket = saved_ticket(session)
    ticket_id, author_id = ticket.id, ticket.creator_id
    session.expire_all()
    with assert_statements(session, exactly=1):
        assert add_comment(session, ticket_id, author_id, "Hello").id


@pytest.mark.asyncio
async def test_add_comment_async(async_session: AsyncSession) -> None:
    ticket = make_ticket()
    async_session.add(ticket)
    await async_session.flush()
    comment = await async_add_comment(async_session, ticket.id, ticket.creator_id, "Hello")
    assert comment.created_at is not None


def test_a_tag_link_has_its_own_columns(session: Session) -> None:
    ticket, tag = saved_ticket(session), make_tag()
    session.add(tag)
    session.flush()
    tag_ticket(session, ticket.id, tag.id, added_by_id=ticket.creator_id)
    link = session.scalars(select(TicketTag)).one()
    assert link.added_by_id == ticket.creator_id
    assert link.created_at.tzinfo is not None
    session.execute(untag_ticket(ticket.id, tag.id))
    assert session.scalar(select(func.count()).select_from(TicketTag)) == 0


def test_tags_select_each_ticket_once(session: Session) -> None:
    both, one = make_ticket(), make_ticket()
    vpn, wifi = make_tag(name="vpn"), make_tag(name="wifi")
    session.add_all([TicketTag(ticket=both, tag=vpn), TicketTag(ticket=both, tag=wifi)])
    session.add_all([TicketTag(ticket=one, tag=vpn), make_ticket(), make_tag(name="unused")])
    session.flush()
    names = ["vpn", "wifi"]
    assert set(session.scalars(tickets_with_any_tag(names)).all()) == {both, one}
    assert len(session.scalars(tickets_with_any_tag(names)).all()) == 2
    assert session.scalars(tickets_with_all_tags(names)).all() == [both]
    assert [tuple(row) for row in session.execute(tag_counts())] == [
        ("unused", 0),
        ("vpn", 2),
        ("wifi", 1),
    ]


def test_duplicates_and_what_a_delete_leaves(session: Session) -> None:
    kept = saved_ticket(session)
    merged = [make_ticket(duplicate_of=kept) for _ in range(2)]
    session.add_all(merged)
    session.commit()
    assert session.scalars(duplicates_of(kept.id)).all() == merged
    session.delete(kept)
    session.commit()
    assert [ticket.duplicate_of_id for ticket in merged] == [None, None]


def test_a_ticket_is_not_its_own_duplicate(session: Session) -> None:
    ticket = saved_ticket(session)
    ticket.duplicate_of_id = ticket.id
    with pytest.raises(IntegrityError, match="not_its_own_duplicate"):
        session.flush()


def test_write_only_collections(session: Session) -> None:
    user, organization = make_user(), Organization(name="Acme", slug="acme")
    session.add_all([user, organization])
    session.flush()
    rows = [
        {"title": f"Ticket {n}", "description": "…", "organization_id": organization.id}
        for n in range(4)
    ]
    assert insert_tickets(session, user, rows) == 4
    assert insert_tickets(session, user, []) == 0
    newest = session.scalars(newest_tickets_of(user, 2)).all()
    assert [ticket.title for ticket in newest] == ["Ticket 3", "Ticket 2"]
    assert {ticket.creator_id for ticket in newest} == {user.id}
    with pytest.raises(TypeError, match="WriteOnly collections"):
        list(user.tickets_created)


def test_without_the_guard_an_empty_list_inserts(session: Session) -> None:
    user = make_user()
    session.add(user)
    session.flush()
    nothing: list[dict[str, object]] = []
    with pytest.raises(IntegrityError, match="title"):
        session.execute(user.tickets_created.insert(), nothing)


def test_users_without_tickets(session: Session) -> None:
    ticket, idle = saved_ticket(session), make_user()
    session.add(idle)
    session.flush()
    assert session.scalars(users_without_tickets()).all() == [idle]
    assert ticket.creator_id != idle.id


def test_deleting_a_parent_runs_one_delete(session: Session) -> None:
    ticket = saved_ticket(session)
    session.add_all(make_comment(ticket=ticket) for _ in range(5))
    session.commit()
    identity = ticket.id
    session.expunge_all()
    ticket = session.get_one(Ticket, identity)
    session.delete(ticket)
    with assert_statements(session, exactly=1):
        session.flush()
    assert session.scalar(select(func.count()).select_from(Comment)) == 0
    assert session.scalar(select(func.count()).select_from(User)) == 6
