"""Do the relationships and the database agree on what a deletion takes along?"""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, selectinload

from evals.workspace import Statements, Workspace, must_raise

READS_COMMENTS = re.compile(r"^\s*SELECT\b.*\bFROM\b.*\bcomments\b", re.IGNORECASE | re.DOTALL)


def desk(work: Workspace, comments: int = 3) -> tuple[ModuleType, Engine]:
    """The tables, with ticket 1: creator 1, assignee 2, tags 1 and 2; and ticket 2, bare."""
    models = work.module("models")
    engine = work.engine()
    models.Base.metadata.create_all(engine)
    work.rows("INSERT INTO users (id, name) VALUES (1, 'Ann'), (2, 'Bob')")
    work.rows("INSERT INTO tags (id, name) VALUES (1, 'vip'), (2, 'late')")
    work.rows(
        "INSERT INTO tickets (id, title, creator_id, assignee_id)"
        " VALUES (1, 'Printer', 1, 2), (2, 'Laptop', 1, NULL)"
    )
    work.rows("INSERT INTO ticket_tags (ticket_id, tag_id) VALUES (1, 1), (1, 2), (2, 1)")
    work.rows(
        "INSERT INTO comments (id, ticket_id, body)"
        " SELECT n, 1, 'text' FROM generate_series(1, :many) AS n",
        many=comments,
    )
    assert hasattr(models.User, "tickets"), "User.tickets is missing"
    for name in ("creator", "assignee", "comments", "tags"):
        assert hasattr(models.Ticket, name), f"Ticket.{name} is missing"
    assert hasattr(models.Comment, "ticket"), "Comment.ticket is missing"
    assert hasattr(models.Tag, "tickets"), "Tag.tickets is missing"
    return models, engine


def counts(work: Workspace) -> dict[str, Any]:
    """Rows by table."""
    tables = ("users", "tags", "tickets", "ticket_tags", "comments")
    return {table: work.value(f"SELECT count(*) FROM {table}") for table in tables}


LEFT = {"users": 2, "tags": 2, "tickets": 1, "ticket_tags": 1, "comments": 0}


def check_session_deletes_a_ticket(work: Workspace) -> None:
    """Deleting a ticket by the session removes its comments and links; tags and users stay"""
    models, engine = desk(work)
    with Session(engine) as session:
        session.delete(session.get_one(models.Ticket, 1))
        session.commit()
    assert counts(work) == LEFT, f"left: {counts(work)}"


def check_plain_sql_deletes_a_ticket(work: Workspace) -> None:
    """Deleting a ticket by plain SQL does the same"""
    desk(work)
    work.rows("DELETE FROM tickets WHERE id = 1")
    assert counts(work) == LEFT, f"left: {counts(work)}"


def deletion(work: Workspace, models: ModuleType, engine: Engine) -> Statements:
    """The statements of deleting ticket 1."""
    with Session(engine) as session:
        ticket = session.get_one(models.Ticket, 1)
        with work.statements(engine) as seen:
            session.delete(ticket)
            session.flush()
        session.rollback()
    return seen


def check_deletion_is_cheap(work: Workspace) -> None:
    """Deleting a ticket does not read its comments, nor does it cost more for 300 than for 3"""
    models, engine = desk(work)
    few = deletion(work, models, engine)
    work.rows(
        "INSERT INTO comments (id, ticket_id, body)"
        " SELECT n, 1, 'text' FROM generate_series(1001, 1300) AS n"
    )
    many = deletion(work, models, engine)
    assert not any(READS_COMMENTS.search(sql) for sql in many.sql), f"read the comments: {many}"
    assert many.count == few.count, f"{few.count} for 3 comments, {many.count} for 303"
    assert len(str(many.parameters)) < 1_000, "names each comment"


def check_orphans(work: Workspace) -> None:
    """A comment taken out of ticket.comments is deleted; one that moves to another ticket is not"""
    models, engine = desk(work)
    with Session(engine) as session:
        # Loaded on purpose: a relationship may refuse to load by itself.
        loaded = [selectinload(models.Ticket.comments)]
        first = session.get_one(models.Ticket, 1, options=loaded)
        second = session.get_one(models.Ticket, 2)
        by_id = {comment.id: comment for comment in first.comments}
        first.comments.remove(by_id[1])
        by_id[2].ticket = second
        session.commit()
    rows = [tuple(row) for row in work.rows("SELECT id, ticket_id FROM comments ORDER BY id")]
    assert rows == [(2, 2), (3, 1)], f"left (id, ticket): {rows}"


def check_creator_is_held(work: Workspace) -> None:
    """A user who created tickets cannot be deleted, and the tickets stay as they are"""
    models, engine = desk(work)
    with must_raise(DBAPIError), Session(engine) as session:
        session.delete(session.get_one(models.User, 1))
        session.commit()
    with must_raise(DBAPIError):
        work.rows("DELETE FROM users WHERE id = 1")
    rows = [tuple(row) for row in work.rows("SELECT id, creator_id FROM tickets ORDER BY id")]
    assert rows == [(1, 1), (2, 1)], f"left (id, creator): {rows}"


def check_assignee_leaves(work: Workspace) -> None:
    """Deleting an assignee leaves the tickets unassigned, by the session and by plain SQL"""
    models, engine = desk(work)
    work.rows("INSERT INTO users (id, name) VALUES (3, 'Eve')")
    work.rows("UPDATE tickets SET assignee_id = 3 WHERE id = 2")
    with Session(engine) as session:
        session.delete(session.get_one(models.User, 2))
        session.commit()
    work.rows("DELETE FROM users WHERE id = 3")
    rows = [tuple(row) for row in work.rows("SELECT id, assignee_id FROM tickets ORDER BY id")]
    assert rows == [(1, None), (2, None)], f"left (id, assignee): {rows}"


def check_both_sides(work: Workspace) -> None:
    """Both sides of a link show it before the flush, and set twice it is one row"""
    models, engine = desk(work)
    with Session(engine) as session, session.no_autoflush:
        loaded = [selectinload(models.Ticket.tags), selectinload(models.Ticket.comments)]
        ticket = session.get_one(models.Ticket, 2, options=loaded)
        late = session.get_one(models.Tag, 2, options=[selectinload(models.Tag.tickets)])
        ticket.tags.append(late)
        assert ticket in late.tickets, "tag.tickets does not show the new link"
        comment = models.Comment(id=9_999, body="new")
        ticket.comments.append(comment)
        assert comment.ticket is ticket, "comment.ticket does not show its ticket"
        other = session.get_one(models.User, 2, options=[selectinload(models.User.tickets)])
        ticket.creator = other
        assert ticket in other.tickets, "user.tickets does not show the ticket"
        session.commit()
    links = work.value("SELECT count(*) FROM ticket_tags WHERE ticket_id = 2 AND tag_id = 2")
    assert links == 1, f"{links} links"
