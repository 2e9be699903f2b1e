"""The paths: each takes a session, calls the desk, and builds its answer before the commit.

A model that is built here is whole: nothing is loaded when the session is gone.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Header, Path, Query, Response
from sqlalchemy import select

from ..analytics import EVER, AnalyticsError, Period, async_get_ticket_statistics
from ..locking import etag, expected_version
from . import desk
from .dependencies import ActorId, Reading, TheDesk, Writing, get_actor_id
from .errors import ANSWERS
from .schemas import (
    IMPORT_LIMIT,
    Assignment,
    CommentOut,
    Id,
    Imported,
    NewComment,
    NewTags,
    NewTicket,
    Problem,
    Statistics,
    TicketChanges,
    TicketOut,
    TicketPage,
    TicketQuery,
)

# Reading asks who acts, too: no path of this router can be added without it.
router = APIRouter(responses=ANSWERS, dependencies=[Depends(get_actor_id)])
public_router = APIRouter(responses=ANSWERS)
TicketId = Annotated[Id, Path()]
# A weak tag, or several, are refused: a change is based on one version.
IfMatch = Annotated[str, Header(pattern=r'^"[0-9]{1,9}"$')]


async def answer(session: Reading, ticket_id: int, response: Response) -> TicketOut:
    """A ticket as it is now, its version in ``ETag``."""
    ticket = await desk.read_ticket(session, ticket_id)
    response.headers["ETag"] = etag(ticket.version)
    return TicketOut.model_validate(ticket)


@router.post("/tickets", status_code=201)
async def create_ticket(
    new: NewTicket, session: Writing, actor_id: ActorId, response: Response
) -> TicketOut:
    """Open a ticket for who acts."""
    (ticket_id,) = await desk.open_tickets(session, [new], actor_id)
    response.headers["Location"] = f"/tickets/{ticket_id}"
    return await answer(session, ticket_id, response)


@router.get("/tickets")
async def list_tickets(
    query: Annotated[TicketQuery, Query()], session: Reading, the_desk: TheDesk
) -> TicketPage:
    """A page of what is looked for."""
    page = await desk.find_page(
        session,
        query.search(),
        secret=the_desk.cursor_secret,
        cursor=query.cursor,
        limit=query.limit,
    )
    tickets = [TicketOut.model_validate(ticket) for ticket in page.tickets]
    return TicketPage(tickets=tickets, next=page.next, previous=page.previous)


@router.post("/tickets/import", status_code=201)
async def import_tickets(
    new: Annotated[list[NewTicket], Body(min_length=1, max_length=IMPORT_LIMIT)],
    session: Writing,
    actor_id: ActorId,
) -> Imported:
    """Open up to a thousand tickets, all or none."""
    return Imported(ids=list(await desk.open_tickets(session, new, actor_id)))


@router.get("/tickets/{ticket_id}")
async def get_ticket(ticket_id: TicketId, session: Reading, response: Response) -> TicketOut:
    """One ticket."""
    return await answer(session, ticket_id, response)


@router.patch("/tickets/{ticket_id}", responses={412: {"model": Problem}})
async def update_ticket(
    *,
    ticket_id: TicketId,
    changes: TicketChanges,
    if_match: IfMatch,
    session: Writing,
    actor_id: ActorId,
    response: Response,
) -> TicketOut:
    """Change what is sent, if nobody has changed the ticket since its ETag was read."""
    version = expected_version(if_match)
    await desk.change_ticket(session, ticket_id, version, changes, actor_id)
    return await answer(session, ticket_id, response)


@router.delete("/tickets/{ticket_id}", status_code=204)
async def delete_ticket(ticket_id: TicketId, session: Writing) -> None:
    """Put it into the bin."""
    await desk.delete_ticket(session, ticket_id)


@router.post("/tickets/{ticket_id}/restore")
async def restore_ticket(ticket_id: TicketId, session: Writing, response: Response) -> TicketOut:
    """Take it out of the bin."""
    await desk.restore_ticket(session, ticket_id)
    return await answer(session, ticket_id, response)


@router.post("/tickets/{ticket_id}/comments", status_code=201)
async def comment(
    ticket_id: TicketId, new: NewComment, session: Writing, actor_id: ActorId
) -> CommentOut:
    """Add a note."""
    added = await desk.add_comment(session, ticket_id, new, actor_id)
    return CommentOut.model_validate(added)


@router.get("/tickets/{ticket_id}/comments")
async def list_comments(
    ticket_id: TicketId,
    session: Reading,
    actor_id: ActorId,
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> list[CommentOut]:
    """Notes with an id above *after*, oldest first; internal ones for staff alone."""
    found = await desk.read_comments(session, ticket_id, after, limit, actor_id)
    return [CommentOut.model_validate(each) for each in found]


@router.post("/tickets/{ticket_id}/tags")
async def tag(
    ticket_id: TicketId, new: NewTags, session: Writing, actor_id: ActorId, response: Response
) -> TicketOut:
    """Add tags."""
    await desk.tag_ticket(session, ticket_id, new.names, actor_id)
    return await answer(session, ticket_id, response)


@router.put("/tickets/{ticket_id}/assignee")
async def assign(
    ticket_id: TicketId,
    assignment: Assignment,
    session: Writing,
    actor_id: ActorId,
    response: Response,
) -> TicketOut:
    """Give it to a member of staff, or to nobody."""
    await desk.assign_ticket(session, ticket_id, assignment.assignee_id, actor_id)
    return await answer(session, ticket_id, response)


@router.post("/tickets/{ticket_id}/resolve")
async def resolve(
    ticket_id: TicketId, session: Writing, actor_id: ActorId, response: Response
) -> TicketOut:
    """Resolve it."""
    await desk.resolve_ticket(session, ticket_id, actor_id)
    return await answer(session, ticket_id, response)


@router.get("/statistics")
async def statistics(
    session: Reading,
    first: date | None = None,
    last: date | None = None,
    zone: Annotated[str, Query(max_length=64)] = "UTC",
) -> Statistics:
    """Figures of the tickets created from *first* to *last*, whole days in *zone*, or of all."""
    if (first is None) != (last is None):
        raise AnalyticsError("received one of first and last; expected both, or none")
    period = Period.of_days(first, last, zone) if first and last else EVER
    return Statistics.model_validate(await async_get_ticket_statistics(session, period))


@public_router.get("/health")
async def health(session: Reading) -> dict[str, str]:
    """Whether this process reaches its database."""
    await session.execute(select(1))
    return {"status": "ok"}
