"""Pagination: the page after this one, as fast on page 10,000 as on page 1.

Problem: OFFSET reads and throws away all earlier pages, and a row that is inserted meanwhile shows
one ticket twice and hides another.  Pattern: a total order, and a cursor that says where the last
page ended; signed, so that nobody makes one up.  Not for a list with page numbers: there OFFSET
serves, within the first pages.  For any order over several models take the library sqlakeyset.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    ClauseElement,
    DateTime,
    Engine,
    Executable,
    Select,
    and_,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler

from .database import session_factory
from .models import Organization, Ticket, User

PAGE_LIMIT = 200
SIGNATURE_BYTES = 16
LOWEST = literal_column("'-infinity'::timestamptz", DateTime(timezone=True))
LAST_RESOLVED = (
    "CREATE INDEX ix_tickets_last_resolved"
    f" ON tickets (coalesce(resolved_at, {LOWEST}) DESC, id DESC)"
)
"""For whoever shows that list: the desk's own tables do without."""

Direction = Literal["after", "before"]


class CursorError(ValueError):
    """A cursor that was not given out, or was given out for another list."""


@dataclass(frozen=True)
class Position:
    """Where a page begins: after or before the ticket with this time and id."""

    created_at: datetime
    ticket_id: int
    direction: Direction = "after"


@dataclass(frozen=True)
class Page:
    """Tickets, newest first, and the cursors of the pages beside; None where there is none."""

    tickets: Sequence[Ticket]
    next: str | None
    previous: str | None


# --- The order ------------------------------------------------------------------------------------


def newest_first(base: Select[Ticket], position: Position | None, limit: int) -> Select[Ticket]:
    """*limit* tickets of *base* from *position* on; before it, the nearest come first.

    One row value, one comparison: PostgreSQL enters the index at the place.  Written as
    ``a < x OR (a = x AND b < y)`` it would read from the beginning, as OFFSET does.
    """
    place = tuple_(Ticket.created_at, Ticket.id)
    if position is not None and position.direction == "before":
        nearest = base.where(place > (position.created_at, position.ticket_id))
        return nearest.order_by(Ticket.created_at, Ticket.id).limit(limit)
    if position is not None:
        base = base.where(place < (position.created_at, position.ticket_id))
    return base.order_by(Ticket.created_at.desc(), Ticket.id.desc()).limit(limit)


def by_organization(after: tuple[int, datetime, int] | None, limit: int) -> Select[Ticket]:
    """Mixed directions: by organization upwards, then newest first.

    A row value has one direction, so the order is spelled out.  The first bound is redundant, and
    is what lets PostgreSQL enter the index; without it the whole index is read.
    """
    query = select(Ticket)
    if after is not None:
        organization_id, created_at, ticket_id = after
        same = and_(
            Ticket.organization_id == organization_id,
            tuple_(Ticket.created_at, Ticket.id) < (created_at, ticket_id),
        )
        query = query.where(
            Ticket.organization_id >= organization_id,
            or_(Ticket.organization_id > organization_id, same),
        )
    order = (Ticket.organization_id, Ticket.created_at.desc(), Ticket.id.desc())
    return query.order_by(*order).limit(limit)


def last_resolved_first(after: tuple[datetime | None, int] | None, limit: int) -> Select[Ticket]:
    """A key that may be NULL: the resolved ones newest first, then the others.

    NULL takes the place of the lowest value, in the words of an index (``LAST_RESOLVED``).  A row
    value that holds a NULL is never true, and ``OR … IS NULL`` is a filter: it reads all pages
    before, as OFFSET does.
    """
    rank = func.coalesce(Ticket.resolved_at, LOWEST)
    query = select(Ticket)
    if after is not None:
        resolved_at, ticket_id = after
        place = LOWEST if resolved_at is None else literal(resolved_at, LOWEST.type)
        query = query.where(tuple_(rank, Ticket.id) < tuple_(place, literal(ticket_id)))
    return query.order_by(rank.desc(), Ticket.id.desc()).limit(limit)


def page_number(base: Select[Ticket], number: int, size: int) -> Select[Ticket]:
    """Page *number*, from 1, by OFFSET: it reads all pages before.  Raises ``ValueError``."""
    require_size(size)
    if number < 1:
        raise ValueError(f"received page {number}; expected 1 or more")
    ordered = base.order_by(Ticket.created_at.desc(), Ticket.id.desc())
    return ordered.limit(size).offset((number - 1) * size)


def require_size(size: int) -> None:
    """Raise ``ValueError`` for a page that is empty, or that would hold everything."""
    if not 1 <= size <= PAGE_LIMIT:
        raise ValueError(f"received a page of {size}; expected 1 to {PAGE_LIMIT}")


# --- Cursors --------------------------------------------------------------------------------------


def make_cursor(position: Position, secret: bytes, scope: str = "") -> str:
    """An opaque text for *position*.

    *scope* names the list (tenant, filters): a cursor of another list is refused.
    """
    words = [position.direction, position.created_at.isoformat(), position.ticket_id]
    payload = json.dumps(words).encode()
    return base64.urlsafe_b64encode(signature(payload, secret, scope) + payload).decode()


def read_cursor(cursor: str, secret: bytes, scope: str = "") -> Position:
    """The position that ``make_cursor`` wrote.  Raises ``CursorError`` for any other text."""
    try:
        raw = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raw = b""
    payload = raw[SIGNATURE_BYTES:]
    if not hmac.compare_digest(raw[:SIGNATURE_BYTES], signature(payload, secret, scope)):
        raise CursorError("received a cursor of another list, or none; try the first page")
    direction, created_at, ticket_id = json.loads(payload)
    return Position(datetime.fromisoformat(created_at), ticket_id, direction)


def signature(payload: bytes, secret: bytes, scope: str) -> bytes:
    """The HMAC of *payload* within *scope*."""
    signed = hashlib.sha256(scope.encode()).digest() + payload
    return hmac.digest(secret, signed, "sha256")[:SIGNATURE_BYTES]


# --- Counts ---------------------------------------------------------------------------------------


def count_exactly(base: Select[Ticket]) -> Select[int]:
    """All of *base*: it reads them all.  One statement more than a page, and not in it:

    ``count(*) OVER ()`` would read them all for every page, and give none for an empty one.
    """
    return select(func.count()).select_from(base.with_only_columns(Ticket.id).subquery())


def count_up_to(base: Select[Ticket], cap: int) -> Select[int]:
    """The same, but it stops behind *cap*: "more than 1,000" for *cap* + 1."""
    return select(func.count()).select_from(
        base.with_only_columns(Ticket.id).limit(cap + 1).subquery()
    )


class Explain(Executable, ClauseElement):
    """EXPLAIN of a statement, as JSON."""

    inherit_cache = False

    def __init__(self, statement: Select[Ticket]) -> None:
        self.statement = statement


@compiles(Explain)
def render_explain(element: Explain, compiler: SQLCompiler, **options: Any) -> str:
    """The SQL of ``Explain``."""
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.statement, **options)}"


def estimated_count(session: Session, base: Select[Ticket]) -> int:
    """What the planner expects, without reading a row: as good as the last ANALYZE."""
    return expected_rows(session.execute(Explain(base)).scalar_one())


async def async_estimated_count(session: AsyncSession, base: Select[Ticket]) -> int:
    """The same for asyncio."""
    return expected_rows((await session.execute(Explain(base))).scalar_one())


def expected_rows(plan: Any) -> int:
    """The rows of *plan*; some drivers give JSON as text."""
    found = json.loads(plan) if isinstance(plan, str) else plan
    rows: int = found[0]["Plan"]["Plan Rows"]
    return rows


# --- Executing ------------------------------------------------------------------------------------


def load_page(
    session: Session,
    base: Select[Ticket],
    *,
    secret: bytes,
    cursor: str | None = None,
    limit: int = 50,
    scope: str = "",
) -> Page:
    """One page of *base*, newest first, in one statement.

    Raises ``CursorError`` for a cursor that was not given out for *scope*, and ``ValueError``.
    """
    require_size(limit)
    position = read_cursor(cursor, secret, scope) if cursor else None
    # One more than the page tells whether there is another.
    found = session.scalars(newest_first(base, position, limit + 1)).all()
    return page_of(found, position, limit, secret, scope)


async def async_load_page(
    session: AsyncSession,
    base: Select[Ticket],
    *,
    secret: bytes,
    cursor: str | None = None,
    limit: int = 50,
    scope: str = "",
) -> Page:
    """The same for asyncio."""
    require_size(limit)
    position = read_cursor(cursor, secret, scope) if cursor else None
    found = (await session.scalars(newest_first(base, position, limit + 1))).all()
    return page_of(found, position, limit, secret, scope)


def page_of(
    found: Sequence[Ticket], position: Position | None, limit: int, secret: bytes, scope: str
) -> Page:
    """Cut the one too many, put them newest first, and say where the neighbours begin."""
    more, tickets = len(found) > limit, list(found[:limit])
    backwards = position is not None and position.direction == "before"
    if backwards:
        tickets.reverse()
    if not tickets and position is not None:
        # It emptied since its cursor was given out: nobody is to be stuck there.
        back = make_cursor(way_back(position), secret, scope)
        return Page([], back, None) if backwards else Page([], None, back)

    def cursor(ticket: Ticket, direction: Direction) -> str:
        return make_cursor(Position(ticket.created_at, ticket.id, direction), secret, scope)

    has_next, has_previous = (True, more) if backwards else (more, position is not None)
    return Page(
        tickets,
        cursor(tickets[-1], "after") if has_next else None,
        cursor(tickets[0], "before") if has_previous else None,
    )


def way_back(position: Position) -> Position:
    """The other way from *position*, the ticket at the place itself included."""
    if position.direction == "before":
        return Position(position.created_at, position.ticket_id + 1, "after")
    return Position(position.created_at, position.ticket_id - 1, "before")


def demo(engine: Engine) -> None:
    """Walk through ten tickets by pages of four, while one is added."""
    with session_factory(engine).begin() as session:
        acme = Organization(name="Acme", slug="acme")
        ann = User(email="ann@acme.example", full_name="Ann", password_hash="!")
        fields = {"description": "It fails.", "organization": acme, "creator": ann}
        session.add_all(Ticket(title=f"Ticket {n}", **fields) for n in range(10))
    secret = b"a secret of the server"
    with session_factory(engine)() as session:
        cursor: str | None = None
        while True:
            page = load_page(session, select(Ticket), secret=secret, cursor=cursor, limit=4)
            print([ticket.title for ticket in page.tickets])
            if cursor is None:
                session.add(Ticket(title="A newer one", **fields))
                session.flush()
            if page.next is None:
                break
            cursor = page.next
        back = load_page(session, select(Ticket), secret=secret, cursor=page.previous, limit=4)
        print("back:", [ticket.title for ticket in back.tickets])
        print("counted:", session.scalar(count_exactly(select(Ticket))))
        print("up to five:", session.scalar(count_up_to(select(Ticket), 5)))
        try:
            read_cursor(make_cursor(Position(ann.created_at, 1), b"another"), secret)
        except CursorError as error:
            print("made up:", error)
