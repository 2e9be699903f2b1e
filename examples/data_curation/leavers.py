"""Give a leaver's open tickets to colleagues, in turn or to whoever has least.

Problem: two hand-overs at once count the same load, and finished tickets get a new owner.
Pattern: lock the people first, in the order of their ids, then count and assign in one statement.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Select,
    any_,
    column,
    func,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from ..models import DONE, Ticket, User
from .held import reread

Share = Literal["in turn", "least loaded"]


def lock_agents(ids: Iterable[int]) -> Select[int, bool]:
    """``(id, may be given work)``, locked by id: a second hand-over to one of them waits.

    NO KEY UPDATE: comments by them, and tickets for them, can be written meanwhile.
    """
    return (
        select(User.id, User.is_active & User.is_staff)
        .where(User.id == any_(literal(list(ids), ARRAY(BigInteger))))
        .order_by(User.id)
        .with_for_update(key_share=True)
    )


def hand_over(
    leaver_id: int, agent_ids: Iterable[int], share: Share, reassigned_by_id: int | None = None
) -> ReturningUpdate[int, int | None]:
    """Assign what of the leaver's is open, the oldest first: ``(ticket id, agent id)``.

    Each agent has a place for every ticket, the place's height being what he would have then.
    The lowest places are taken.  In turn: as if nobody had anything.
    """
    agents = literal(sorted(set(agent_ids)), ARRAY(BigInteger))
    undone = (Ticket.status.not_in(DONE), Ticket.deleted_at.is_(None))
    locked = (
        select(Ticket.id, Ticket.created_at)
        .where(Ticket.assignee_id == leaver_id, *undone)
        .order_by(Ticket.id)
        .with_for_update(key_share=True)
        .cte("locked")
    )
    numbered = select(
        locked.c.id,
        func.row_number().over(order_by=[locked.c.created_at, locked.c.id]).label("number"),
    ).cte("numbered")
    agent = func.unnest(agents).table_valued(column("id", BigInteger)).render_derived(name="agent")
    load: Any = literal(0)
    if share == "least loaded":
        has = select(func.count()).where(Ticket.assignee_id == agent.c.id, *undone)
        load = has.correlate(agent).scalar_subquery()
    loads = select(agent.c.id, load.label("load")).cte("loads")
    count = select(func.count()).select_from(locked).scalar_subquery()
    places = func.generate_series(1, count).table_valued(column("height", BigInteger))
    place = places.render_derived(name="place")
    taken = (
        select(
            loads.c.id.label("agent_id"),
            func.row_number()
            .over(order_by=[loads.c.load + place.c.height, loads.c.id])
            .label("number"),
        )
        .select_from(loads)
        .join(place, true())
        .cte("taken")
    )
    values: dict[str, Any] = {"assignee_id": taken.c.agent_id, "version": Ticket.version + 1}
    if reassigned_by_id is not None:
        values["updated_by_id"] = reassigned_by_id
    return (
        update(Ticket)
        .where(Ticket.id == numbered.c.id, numbered.c.number == taken.c.number)
        .values(values)
        .returning(Ticket.id, Ticket.assignee_id)
        .execution_options(synchronize_session=False)
    )


def reassign_tickets(
    session: Session,
    leaver_id: int,
    agent_ids: Iterable[int],
    *,
    share: Share = "least loaded",
    reassigned_by_id: int | None = None,
) -> dict[int, int]:
    """Hand a leaver's open tickets over: ticket id → agent id.

    Deactivate the leaver in the same transaction, or new tickets will come.  Raises ``ValueError``
    unless the agents are active staff, and others than the leaver.
    """
    agents = sorted(set(agent_ids))
    session.flush()
    locked = session.execute(lock_agents([leaver_id, *agents])).all()
    ready = {row[0] for row in locked if row[1]}
    if not agents or leaver_id in agents or not ready.issuperset(agents):
        raise ValueError(f"received {agents} for {leaver_id}; expected other, active staff")
    found = session.execute(hand_over(leaver_id, agents, share, reassigned_by_id)).all()
    reread(session)
    given: dict[int, int] = {}
    for ticket_id, agent_id in found:
        assert agent_id is not None
        given[ticket_id] = agent_id
    return dict(sorted(given.items()))


async def async_reassign_tickets(
    session: AsyncSession,
    leaver_id: int,
    agent_ids: Iterable[int],
    *,
    share: Share = "least loaded",
    reassigned_by_id: int | None = None,
) -> dict[int, int]:
    """The same for asyncio."""
    return await session.run_sync(
        lambda sync: reassign_tickets(
            sync, leaver_id, agent_ids, share=share, reassigned_by_id=reassigned_by_id
        )
    )
