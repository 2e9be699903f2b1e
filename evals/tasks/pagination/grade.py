"""Does each ticket come once, in order, whatever happens between two pages?"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from evals.workspace import Workspace, must_raise

Page = Callable[..., tuple[list[Any], str | None]]


def desk(work: Workspace) -> tuple[Page, Engine]:
    """The function, and an empty table."""
    page: Page = work.module("pages").ticket_page
    engine = work.engine()
    work.module("models").Base.metadata.create_all(engine)
    return page, engine


def insert(work: Workspace, first: int, last: int, time: str | None) -> None:
    """Tickets *first* to *last*; *time* is an SQL expression over n."""
    work.rows(
        "INSERT INTO tickets (id, title, last_reply_at)"
        f" SELECT n, 'Ticket', {time or 'NULL'} FROM generate_series(:first, :last) AS n",
        first=first,
        last=last,
    )


def walk(page: Page, engine: Engine, size: int, most: int = 60) -> list[int]:
    """The ids of all pages, each asked for in a session of its own."""
    seen: list[int] = []
    cursor: str | None = None
    for _ in range(most):
        with Session(engine) as session:
            tickets, cursor = page(session, size, cursor)
            assert len(tickets) <= size, f"{len(tickets)} tickets where {size} were asked for"
            seen += [ticket.id for ticket in tickets]
        if cursor is None:
            return seen
    raise AssertionError(f"still a next page after {most}: {seen}")


def each_once(seen: list[int], number: int) -> None:
    """*seen* has to hold 1 to *number*, each once."""
    wrong = [key for key in range(1, number + 1) if seen.count(key) != 1]
    assert not wrong, f"shown twice or never: {wrong}"


def check_equal_times(work: Workspace) -> None:
    """Pages of tickets with equal times show each once, in one order whatever the size"""
    page, engine = desk(work)
    insert(work, 1, 50, "timestamptz '2026-03-01T00:00:00Z' + n % 3 * interval '1 hour'")
    orders = [walk(page, engine, size) for size in (50, 7, 5)]
    each_once(orders[1], 50)
    assert orders[0] == orders[1] == orders[2], "another order for another size"
    hours = [key % 3 for key in orders[0]]
    assert hours == sorted(hours, reverse=True), "not the latest reply first"


def check_without_a_reply(work: Workspace) -> None:
    """Tickets without a reply come last, and each is shown once"""
    page, engine = desk(work)
    insert(work, 1, 10, "timestamptz '2026-03-01T00:00:00Z' + n * interval '1 hour'")
    insert(work, 11, 25, None)
    for size in (3, 5, 10):
        seen = walk(page, engine, size)
        each_once(seen, 25)
        assert seen[:10] == list(range(10, 0, -1)), f"replied ones first: {seen}"


def check_changes_between_pages(work: Workspace) -> None:
    """Tickets that arrive or go between two pages move no other one"""
    page, engine = desk(work)
    insert(work, 1, 20, "timestamptz '2026-03-01T00:00:00Z' + n * interval '1 hour'")
    with Session(engine) as session:
        first, cursor = page(session, 5)
        ids = [ticket.id for ticket in first]
    insert(work, 21, 24, "timestamptz '2026-04-01T00:00:00Z' + n * interval '1 hour'")
    work.rows("DELETE FROM tickets WHERE id IN (20, 16)")  # the cursor's own among them
    with Session(engine) as session:
        second, _ = page(session, 5, cursor)
        ids += [ticket.id for ticket in second]
    assert ids == list(range(20, 10, -1)), f"the first two pages: {ids}"


def check_last_page(work: Workspace) -> None:
    """The page that ends with the last ticket has no next cursor, also where it is full"""
    page, engine = desk(work)
    insert(work, 1, 10, "timestamptz '2026-03-01T00:00:00Z' + n * interval '1 hour'")
    with Session(engine) as session:
        _, cursor = page(session, 5)
        assert cursor is not None, "no cursor after the first of two pages"
        second, cursor = page(session, 5, cursor)
        assert len(second) == 5, f"{len(second)} on the second page"
        assert cursor is None, "a cursor after the last ticket"
        assert page(session, 10)[1] is None, "a cursor after a page of all"
    work.rows("DELETE FROM tickets")
    with Session(engine) as session:
        assert page(session, 5) == ([], None), "something of an empty table"


def check_precision_and_zone(work: Workspace) -> None:
    """Times a microsecond apart stay apart, and the connection's time zone changes nothing"""
    page, engine = desk(work)
    insert(work, 1, 12, "timestamptz '2026-10-25T01:00:00.000001Z' + n * interval '1 microsecond'")
    zones = ["America/New_York", "UTC", "Asia/Kolkata", "Europe/Berlin"]
    seen: list[int] = []
    cursor: str | None = None
    for zone in zones:
        with Session(engine) as session:
            session.execute(text(f"SET LOCAL TIME ZONE '{zone}'"))
            tickets, cursor = page(session, 3, cursor)
            seen += [ticket.id for ticket in tickets]
    assert seen == list(range(12, 0, -1)), f"over four zones: {seen}"


def check_foreign_cursors(work: Workspace) -> None:
    """Strings that are no cursor raise ValueError, and the session can be used after it"""
    page, engine = desk(work)
    insert(work, 1, 10, "timestamptz '2026-03-01T00:00:00Z' + n * interval '1 hour'")
    with Session(engine) as session:
        assert len(page(session, 5)[0]) == 5
        strings = ["none", "'; DROP TABLE tickets; --", "é", "\x00", "5"]
        contents = [b"{}", b"[]", b"null", b"\xff\xfe", b'["never", 1]', b"|", b"1|2|3"]
        # A time, or none, beside what is no key.
        contents += [b'["2026-03-01T00:00:00+00:00", "x"]', b'[null, "x"]', b"2026-03-01T00:00Z|x"]
        strings += [base64.urlsafe_b64encode(content).decode() for content in contents]
        for string in strings:
            try:
                with must_raise(ValueError):
                    page(session, 5, string)
            except AssertionError as error:
                raise AssertionError(f"{string!r}: {error}") from None
            except Exception as error:
                raise AssertionError(f"{string!r}: {type(error).__name__}") from error
            assert len(page(session, 5)[0]) == 5, "the session is spoilt"


def most_scanned(plan: dict[str, Any]) -> int:
    """The rows that the scan of tickets with the most of them hands on: filtered ones do not count.

    So any plan of a right statement does: what comes before the cursor is filtered by the scan, if
    it is read at all; an OFFSET, or row_number(), needs the rows before the page.
    """
    rows = 0
    if plan.get("Relation Name") == "tickets" and plan["Node Type"].endswith("Scan"):
        rows = round(plan["Actual Rows"] * plan["Actual Loops"])
    return max([rows, *(most_scanned(inner) for inner in plan.get("Plans", []))])


def check_cost(work: Workspace) -> None:
    """A page takes at most three statements, and does not read the pages before it"""
    page, engine = desk(work)
    insert(work, 1, 2000, "timestamptz '2026-03-01T00:00:00Z' + n * interval '1 hour'")
    work.rows("ANALYZE tickets")
    with Session(engine) as session:
        _, cursor = page(session, 1900)
    fetched: list[int] = []
    executed: list[tuple[str, Any]] = []

    @event.listens_for(engine, "after_cursor_execute")
    def count(_connection: Any, cursor: Any, sql: str, parameters: Any, *_rest: Any) -> None:
        fetched.append(cursor.rowcount)
        executed.append((sql, parameters))

    with Session(engine) as session:
        tickets, _ = page(session, 10, cursor)
    assert [ticket.id for ticket in tickets] == list(range(100, 90, -1)), "another page"
    # A look at what comes after the page, and one at those without a reply, are right too.
    assert len(fetched) <= 3, f"{len(fetched)} statements"
    assert sum(fetched) <= 20, f"{sum(fetched)} rows for a page of 10"
    with work.engine().connect() as connection:
        for sql, parameters in executed:
            if not sql.lstrip("( \n").upper().startswith(("SELECT", "WITH")):
                continue
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}"
            plan = connection.exec_driver_sql(explain, parameters).scalar_one()[0]["Plan"]
            rows = most_scanned(plan)
            # 100 tickets are left after the cursor, 1,900 are before it.
            assert rows <= 200, f"{rows:,} rows to find a page of 10 among the last 100: {sql}"
