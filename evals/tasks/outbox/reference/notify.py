"""E-mails that go out when, and only when, their transaction has committed."""

import logging
from collections.abc import Callable

from models import Customer, Message, Ticket
from sqlalchemy import Engine, func, insert, select, update
from sqlalchemy.orm import Session

log = logging.getLogger(__name__)


def resolve_ticket(session: Session, ticket_id: int) -> None:
    """Resolve a ticket and note its e-mail; nothing where it is resolved already."""
    resolved = session.scalars(
        update(Ticket)
        .where(Ticket.id == ticket_id, Ticket.status != "resolved")
        .values(status="resolved", resolved_at=func.now())
        .returning(Ticket.id)
        .execution_options(synchronize_session="fetch")
    ).one_or_none()
    if resolved is not None:
        due = (
            select(Ticket.id, Customer.email)
            .join(Customer, Ticket.customer_id == Customer.id)
            .where(Ticket.id == ticket_id)
        )
        session.execute(insert(Message).from_select(["ticket_id", "recipient"], due))


def deliver(engine: Engine, send: Callable[[dict], None], limit: int = 100) -> int:
    """Send what is due, one transaction a message; how many were sent."""
    sent, last = 0, 0
    for _ in range(limit):
        with Session(engine) as session, session.begin():
            message = session.scalars(
                select(Message)
                .where(Message.sent_at.is_(None), Message.id > last)
                .order_by(Message.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if message is None:
                break
            last = message.id
            try:
                send({"ticket_id": message.ticket_id, "to": message.recipient})
            except Exception:
                log.exception("message %s was not sent", last)
            else:
                message.sent_at = func.now()
                sent += 1
    return sent
