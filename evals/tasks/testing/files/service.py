"""What the desk does.  Functions that write commit."""

from __future__ import annotations

from datetime import datetime

from models import Ticket, User
from sqlalchemy import select
from sqlalchemy.orm import Session


def open_tickets(session: Session, organization_id: int) -> list[Ticket]:
    """The organization's tickets that are neither solved nor deleted, oldest first."""
    return list(
        session.scalars(
            select(Ticket)
            .where(Ticket.organization_id == organization_id)
            .where(Ticket.solved_at.is_(None))
            .where(Ticket.deleted_at.is_(None))
            .order_by(Ticket.created_at, Ticket.id)
        )
    )


def solve_ticket(session: Session, ticket_id: int, when: datetime) -> bool:
    """Solve the ticket; False where there is none, or it is solved already (its time stays)."""
    ticket = session.get(Ticket, ticket_id)
    if ticket is None or ticket.solved_at is not None:
        return False
    ticket.solved_at = when
    session.commit()
    return True


def assign_next(session: Session, user_id: int) -> Ticket | None:
    """Give the user the oldest open ticket of their organization that is nobody's; None for none."""
    user = session.get_one(User, user_id)
    free = [ticket for ticket in open_tickets(session, user.organization_id)]
    free = [ticket for ticket in free if ticket.assignee_id is None]
    if not free:
        return None
    free[0].assignee_id = user_id
    session.commit()
    return free[0]
