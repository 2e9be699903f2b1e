"""The session of a request: reading gives its connection back, writing commits *before* the answer.

Since FastAPI 0.118 what stands behind the ``yield`` of a dependency runs when the answer has left,
unless ``scope="function"`` (0.121 and newer).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from ..audit_trails.actor import ACTOR, Actor, tell_actors
from ..error_handling import domain_errors, flush_whole, pause_before_retry
from ..soft_delete import hide_deleted, refuse_hard_deletes
from .schemas import Id


@dataclass(frozen=True)
class Desk:
    """What the process has once: made in the lifespan, kept in ``app.state.desk``."""

    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    cursor_secret: bytes


def desk_sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Sessions that do not see what is deleted, and tell PostgreSQL who acts.

    Events belong to the sync session within.
    """
    within: sessionmaker[Session] = sessionmaker()
    event.listen(within, "do_orm_execute", hide_deleted)
    event.listen(within, "before_flush", refuse_hard_deletes)
    tell_actors(within)
    return async_sessionmaker(engine, expire_on_commit=False, sync_session_class=within)


def get_desk(request: Request) -> Desk:
    """The desk of this process."""
    desk: Desk = request.app.state.desk
    return desk


def get_actor_id(x_actor_id: Annotated[Id, Header()]) -> int:
    """Who acts.  **This is no authentication**: return the user of a checked token here.

    Every path but ``/health`` depends on it.
    """
    return x_actor_id


TheDesk = Annotated[Desk, Depends(get_desk)]
ActorId = Annotated[int, Depends(get_actor_id)]


async def reading_session(desk: TheDesk) -> AsyncIterator[AsyncSession]:
    """A session that is rolled back; its connection is free before the answer is sent."""
    with domain_errors():
        async with desk.sessions() as session:
            yield session


async def writing_session(
    request: Request, desk: TheDesk, actor_id: ActorId
) -> AsyncIterator[AsyncSession]:
    """A unit of work: committed when the endpoint returns, rolled back when it raises.

    What the COMMIT says becomes the answer; one that was not answered is ``OutcomeUnknownError``.
    """
    actor = Actor(actor_id, request.state.request_id)
    with domain_errors():
        async with desk.sessions(info={ACTOR: actor}) as session:
            yield session
            await session.run_sync(flush_whole)  # what fails here is surely not committed
            try:
                await session.commit()
            except Exception as error:
                # No pauses: it raises, one way or the other.
                pause_before_retry(error, iter(()), committing=True)


Reading = Annotated[AsyncSession, Depends(reading_session, scope="function")]
Writing = Annotated[AsyncSession, Depends(writing_session, scope="function")]
