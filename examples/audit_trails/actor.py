"""Who acts, for what request: told to PostgreSQL at the begin of each transaction, and forgotten.

``set_config(…, true)`` lasts until the end of the transaction.  A plain SET lasts as long as the
connection, which the pool hands to the next request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, event, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction, sessionmaker

ACTOR = "actor"
"""The key in ``session.info``."""


@dataclass(frozen=True)
class Actor:
    """The user who is signed in, and the request that is served.

    It is what the application says.  Anybody who may run SQL may say it: rights are another matter.
    """

    user_id: int | None = None
    request_id: str | None = None


def actor_settings(actor: Actor) -> Select[str, str]:
    """Tell PostgreSQL, for this transaction alone; outside a transaction it is without effect."""
    user_id = "" if actor.user_id is None else str(actor.user_id)
    return select(
        func.set_config("app.user_id", user_id, True),
        func.set_config("app.request_id", actor.request_id or "", True),
    )


def tell_actors(target: sessionmaker[Session] | type[Session] | Session) -> None:
    """Let every transaction of *target* begin with its session's actor: one statement each.

    For asyncio give a class of your own, and that as ``sync_session_class`` to the factory.
    """
    event.listen(target, "after_begin", begin_as_actor)


def begin_as_actor(
    session: Session, transaction: SessionTransaction, connection: Connection
) -> None:
    """An ``after_begin`` listener.  A savepoint knows the actor already."""
    actor = session.info.get(ACTOR)
    if actor is not None and not transaction.nested:
        connection.execute(actor_settings(actor))


def act_as(session: Session, actor: Actor) -> None:
    """From here on *actor* acts in *session*, in the running transaction and the next ones.

    What is pending is flushed first: it was done by the one before.
    """
    if session.in_transaction():
        session.flush()
        session.execute(actor_settings(actor))
    session.info[ACTOR] = actor


async def async_act_as(session: AsyncSession, actor: Actor) -> None:
    """The same for asyncio."""
    await session.run_sync(act_as, actor)


def actor_columns(session: Session) -> dict[str, Any]:
    """``user_id`` and ``request_id`` of the one who acts in *session*."""
    actor = session.info.get(ACTOR) or Actor()
    return {"user_id": actor.user_id, "request_id": actor.request_id}
