"""Tickets to agents, and hours from one organization to another."""

from decimal import Decimal

from models import Organization, Ticket
from sqlalchemy import case, select
from sqlalchemy.orm import Session

URGENCY = case({"urgent": 0, "high": 1, "medium": 2, "low": 3}, value=Ticket.priority)


def claim(session: Session, agent_id: int, limit: int = 1) -> list[Ticket]:
    """Give the next tickets to an agent; none where nothing waits."""
    waiting = (
        select(Ticket)
        .where(Ticket.status == "open", Ticket.assignee_id.is_(None))
        .order_by(URGENCY, Ticket.created_at, Ticket.id)
        .limit(limit)
        # of: the joined organization would be locked too, and its other tickets passed over.
        .with_for_update(of=Ticket, skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)
    )
    tickets = list(session.scalars(waiting))
    for ticket in tickets:
        ticket.assignee_id, ticket.status = agent_id, "in_progress"
    session.flush()
    return tickets


def transfer(session: Session, from_id: int, to_id: int, hours: Decimal) -> None:
    """Move hours; ``ValueError`` where there are not enough, or what is asked makes no sense."""
    if hours <= 0:
        raise ValueError(f"received {hours} hours, expected more than none")
    locked = (
        select(Organization)
        .where(Organization.id.in_([from_id, to_id]))
        .order_by(Organization.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    found = {organization.id: organization for organization in session.scalars(locked)}
    giver, taker = found.get(from_id), found.get(to_id)
    if giver is None or taker is None:
        raise ValueError(f"received {from_id} and {to_id}, expected two organizations")
    if giver.hours < hours:
        raise ValueError(f"received {hours} hours, organization {from_id} has {giver.hours}")
    giver.hours -= hours
    taker.hours += hours
    session.flush()
