"""Relationships: what is loaded, what is written, and what goes along when a row goes.

Problem: a collection loads ten thousand rows to append one, and a delete takes a stranger's rows
along.  Pattern: say for each relationship how it loads (``raise``, write-only), and let ORM cascade
and ON DELETE say the same.  Not for reports: join the tables and select columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Delete, Engine, Insert, Select, delete, exists, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, selectinload

from .database import session_factory
from .models import Comment, Organization, Tag, Ticket, TicketTag, User


def ticket_with_children(ticket_id: int) -> Select[Ticket]:
    """One-to-many and many-to-many, loaded on purpose: three statements, however many rows."""
    return (
        select(Ticket)
        .where(Ticket.id == ticket_id)
        .options(selectinload(Ticket.comments), selectinload(Ticket.tags))
    )


def comments_of(ticket_id: int, *, internal: bool) -> Select[Comment]:
    """A ticket's comments, oldest first; the id breaks the ties of one transaction."""
    query = select(Comment).where(Comment.ticket_id == ticket_id)
    if not internal:
        query = query.where(Comment.is_internal.is_(False))
    return query.order_by(Comment.created_at, Comment.id)


def add_comment(session: Session, ticket_id: int, author_id: int, content: str) -> Comment:
    """Add a child by its parent's key: nothing of the ticket is loaded."""
    comment = Comment(ticket_id=ticket_id, author_id=author_id, content=content)
    session.add(comment)
    session.flush()
    return comment


async def async_add_comment(
    session: AsyncSession, ticket_id: int, author_id: int, content: str
) -> Comment:
    """The same for asyncio."""
    comment = Comment(ticket_id=ticket_id, author_id=author_id, content=content)
    session.add(comment)
    await session.flush()
    return comment


def tag_ticket(session: Session, ticket_id: int, tag_id: int, *, added_by_id: int | None) -> None:
    """Many-to-many with columns of its own: the association is an object like any other."""
    session.add(TicketTag(ticket_id=ticket_id, tag_id=tag_id, added_by_id=added_by_id))
    session.flush()


def untag_ticket(ticket_id: int, tag_id: int) -> Delete:
    """Take a tag off a ticket; no row found is no error."""
    return delete(TicketTag).where(TicketTag.ticket_id == ticket_id, TicketTag.tag_id == tag_id)


def tickets_with_any_tag(names: Iterable[str]) -> Select[Ticket]:
    """Tickets that bear at least one of *names*, each once.

    A join would return a ticket once for every tag that matches, and break counts and pages.
    """
    return select(Ticket).where(Ticket.tags.any(Tag.name.in_(list(names)))).order_by(Ticket.id)


def tickets_with_all_tags(names: Iterable[str]) -> Select[Ticket]:
    """Tickets that bear every one of *names*."""
    return (
        select(Ticket)
        .where(*(Ticket.tags.any(Tag.name == name) for name in names))
        .order_by(Ticket.id)
    )


def duplicates_of(ticket_id: int) -> Select[Ticket]:
    """Self-reference: the tickets that were merged into this one."""
    return select(Ticket).where(Ticket.duplicate_of_id == ticket_id).order_by(Ticket.id)


def newest_tickets_of(user: User, limit: int) -> Select[Ticket]:
    """A write-only collection is a query: filter, order and limit it before it is loaded."""
    query = user.tickets_created.select()
    return query.order_by(Ticket.created_at.desc(), Ticket.id.desc()).limit(limit)


def tickets_of(user: User) -> Insert:
    """Insert many tickets of *user*; execute with a list of rows, none of which names the user."""
    return user.tickets_created.insert()


def insert_tickets(session: Session, user: User, rows: Sequence[dict[str, Any]]) -> int:
    """Add rows to a write-only collection in one statement a batch.  Returns how many.

    The guard matters: an empty list would insert one row of defaults.
    """
    if rows:
        session.execute(tickets_of(user), rows)
    return len(rows)


def users_without_tickets() -> Select[User]:
    """Users who never wrote one: ``NOT EXISTS``, which a NULL cannot spoil as it can ``NOT IN``."""
    return select(User).where(~exists().where(Ticket.creator_id == User.id)).order_by(User.id)


def tag_counts() -> Select[str, int]:
    """How many tickets bear each tag, the unused ones with 0."""
    return (
        select(Tag.name, func.count(TicketTag.ticket_id))
        .outerjoin(TicketTag, TicketTag.tag_id == Tag.id)
        .group_by(Tag.id)
        .order_by(Tag.name)
    )


def demo(engine: Engine) -> None:
    """Build a ticket with children, read it back, and try to delete its author."""
    factory = session_factory(engine)
    with factory.begin() as session:
        organization = Organization(name="Acme", slug="acme")
        ann = User(email="ann@acme.example", full_name="Ann", password_hash="!")
        hardware, urgent = Tag(name="hardware"), Tag(name="on-fire", color="#ff0000")
        ticket = Ticket(
            title="Printer", description="Smoke.", creator=ann, organization=organization
        )
        session.add_all([ticket, hardware, urgent])
        session.flush()
        ticket_id, ann_id = ticket.id, ann.id
        for tag in (hardware, urgent):
            tag_ticket(session, ticket_id, tag.id, added_by_id=ann_id)
        for content in ("It smokes.", "It burns.", "It is gone."):
            add_comment(session, ticket_id, ann_id, content)
    with factory() as session:
        loaded = session.scalars(ticket_with_children(ticket_id)).one()
        print(f"{loaded.ticket_number}: tags {[tag.name for tag in loaded.tags]},", end=" ")
        print(f"comments in the order of writing {[c.content for c in loaded.comments]}")
        both = session.scalars(tickets_with_any_tag(["hardware", "on-fire"])).all()
        print(f"Tickets with any of two tags: {len(both)}, although both match.")
    with factory.begin() as session:
        author = session.get_one(User, ann_id)
        rows = [
            {"title": f"Ticket {n}", "description": "…", "organization_id": 1} for n in range(3)
        ]
        print(
            f"Inserted through the write-only collection: {insert_tickets(session, author, rows)}"
        )
        newest = session.scalars(newest_tickets_of(author, 2)).all()
        print(f"The newest two: {[ticket.title for ticket in newest]}")
    try:
        with factory.begin() as session:
            session.delete(session.get_one(User, ann_id))
    except IntegrityError:
        print("Deleting Ann is refused: her tickets hold her.")
    with factory.begin() as session:
        session.delete(session.get_one(Ticket, ticket_id))
    with factory() as session:
        left = session.scalar(select(func.count()).select_from(Comment))
        print(f"Deleting the ticket takes its comments along: {left} left.")
