"""How many statements and rows does the list take, and is it still right?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from evals.workspace import Workspace

Row = dict[str, Any]
List = Callable[..., list[Row]]


def desk(work: Workspace, tickets: int = 120) -> List:
    """The function, and tickets of Ann's, one a minute, each with two tags and a comment."""
    found: List = work.module("ticket_list").ticket_list
    work.module("models").Base.metadata.create_all(work.engine())
    work.rows("INSERT INTO users (id, name) SELECT n, 'User ' || n FROM generate_series(1, 200) n")
    work.rows("INSERT INTO tags (id, name) VALUES (1, 'vip'), (2, 'late'), (3, 'angry')")
    work.rows(
        "INSERT INTO tickets (id, title, creator_id, assignee_id, created_at)"
        " SELECT n, 'Ticket ' || n, n, CASE WHEN n % 2 = 0 THEN 200 - n END,"
        " timestamptz '2026-03-01T00:00:00Z' + n * interval '1 minute'"
        " FROM generate_series(1, :tickets) n",
        tickets=tickets,
    )
    work.rows("INSERT INTO ticket_tags SELECT id, tag FROM tickets, (VALUES (1), (2)) AS v (tag)")
    work.rows(
        "INSERT INTO comments (ticket_id, author_id, body)"
        " SELECT id, creator_id + 1, 'text' FROM tickets"
    )
    return found


def page(work: Workspace, function: List, limit: int, offset: int = 0) -> tuple[list[Row], int]:
    """One page in a session of its own, and the statements that it took."""
    engine = work.engine()
    with Session(engine) as session, work.statements(engine) as seen:
        rows = function(session, limit, offset)
    return rows, seen.count


def by_id(rows: list[Row]) -> dict[int, Row]:
    """The rows by their ticket."""
    return {row["id"]: row for row in rows}


def check_few_statements(work: Workspace) -> None:
    """A page of 50 tickets takes at most ten statements"""
    rows, statements = page(work, desk(work), 50)
    assert len(rows) == 50, f"{len(rows)} rows"
    assert statements <= 10, f"{statements} statements"


def check_as_many_for_each_size(work: Workspace) -> None:
    """A page of 10 takes as many statements as a page of 100"""
    function = desk(work)
    (few, first), (many, second) = page(work, function, 10), page(work, function, 100)
    assert (len(few), len(many)) == (10, 100), f"{len(few)} and {len(many)} rows"
    assert first == second, f"{first} for 10, {second} for 100"


def check_comments_stay_there(work: Workspace) -> None:
    """No more rows travel because a ticket has 2,000 comments"""
    function = desk(work, 20)
    work.rows(
        "INSERT INTO comments (ticket_id, author_id, body, created_at)"
        " SELECT 20, 7, 'text', now() - n * interval '1 second' FROM generate_series(1, 2000) n"
    )
    engine = work.engine()
    fetched = []

    @event.listens_for(engine, "after_cursor_execute")
    def count(_connection: Any, cursor: Any, *_rest: Any) -> None:
        fetched.append(cursor.rowcount)

    with Session(engine) as session:
        rows = by_id(function(session, 20))
    assert rows[20]["comments"] == 2001, f"told {rows[20]}"
    assert sum(fetched) < 500, f"rows fetched by statement: {fetched}"


def check_values(work: Workspace) -> None:
    """Creator, assignee or None, and sorted tags of each ticket are right"""
    function = desk(work)
    work.rows("INSERT INTO ticket_tags (ticket_id, tag_id) VALUES (120, 3)")
    work.rows("DELETE FROM ticket_tags WHERE ticket_id = 119")
    rows, _ = page(work, function, 3)
    told = [(row["id"], row["title"], row["creator"], row["assignee"], row["tags"]) for row in rows]
    expected = [
        (120, "Ticket 120", "User 120", "User 80", ["angry", "late", "vip"]),
        (119, "Ticket 119", "User 119", None, []),
        (118, "Ticket 118", "User 118", "User 82", ["late", "vip"]),
    ]
    assert told == expected, f"told {told}"


def check_number_of_comments(work: Workspace) -> None:
    """The number of comments is right where a ticket has several tags, and 0 where it has none"""
    function = desk(work, 5)
    work.rows("DELETE FROM comments WHERE ticket_id = 4")
    work.rows(
        "INSERT INTO comments (ticket_id, author_id, body)"
        " SELECT 5, 1, 'text' FROM generate_series(1, 4)"
    )
    rows, _ = page(work, function, 10)
    told = [(row["id"], row["comments"]) for row in rows]
    assert told == [(5, 5), (4, 0), (3, 1), (2, 1), (1, 1)], f"told {told}"


def check_last_author(work: Workspace) -> None:
    """last_author wrote the newest comment, whatever its id; None without comments"""
    function = desk(work, 3)
    work.rows("DELETE FROM comments WHERE ticket_id <> 1")
    work.rows(
        "INSERT INTO comments (id, ticket_id, author_id, body, created_at) VALUES"
        " (101, 3, 50, 'newest', '2026-05-03T00:00:00Z'),"
        " (102, 3, 60, 'oldest', '2026-05-01T00:00:00Z'),"
        " (103, 3, 70, 'middle', '2026-05-02T00:00:00Z')"
    )
    rows, _ = page(work, function, 10)
    told = [(row["id"], row["last_author"]) for row in rows]
    assert told == [(3, "User 50"), (2, None), (1, "User 2")], f"told {told}"


def check_pages(work: Workspace) -> None:
    """The limit counts tickets; pages of equally old tickets show each once"""
    function = desk(work, 90)
    # In an order of their own on the disk, so that a sort without a tie-breaker shows.
    work.rows("UPDATE tickets SET created_at = '2026-03-01T00:00:00Z'")
    work.rows("UPDATE tickets SET title = title || '!' WHERE id % 7 = 0")
    seen: list[int] = []
    for offset in range(0, 90, 9):
        rows, _ = page(work, function, 9, offset)
        assert len(rows) == 9, f"{len(rows)} rows where the limit is 9"
        seen += [row["id"] for row in rows]
        work.rows("UPDATE tickets SET title = title || '?' WHERE id = :id", id=offset + 1)
    assert sorted(seen) == list(range(1, 91)), "shown twice or never: " + ", ".join(
        str(number) for number in range(1, 91) if seen.count(number) != 1
    )
