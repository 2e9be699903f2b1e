"""Tickets to agents, and hours from one organization to another."""

from decimal import Decimal

from models import Organization, Ticket
from sqlalchemy import case, select
from sqlalchemy.orm import Session


def claim(session: Session, agent_id: int, limit: int = 1) -> list[Ticket]:
    order = case({"urgent": 0, "high": 1, "medium": 2, "low": 3}, value=Ticket.priority)
    tickets = session.scalars(
        select(Ticket)
        .where(Ticket.status == "open", Ticket.assignee_id.is_(None))
        .order_by(order, Ticket.created_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for ticket in tickets:
        ticket.assignee_id = agent_id
        ticket.status = "in_progress"
    session.flush()
    return list(tickets)


def transfer(session: Session, from_id: int, to_id: int, hours: Decimal) -> None:
    giver = session.scalars(
        select(Organization).where(Organization.id == from_id).with_for_update()
    ).one()
    taker = session.scalars(
        select(Organization).where(Organization.id == to_id).with_for_update()
    ).one()
    if giver.hours < hours:
        raise ValueError("not enough hours")
    giver.hours -= hours
    taker.hours += hours
    session.flush()
