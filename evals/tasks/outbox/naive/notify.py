"""E-mails out of an outbox table."""

from collections.abc import Callable
from datetime import UTC, datetime

from models import Message, Ticket
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session


def resolve_ticket(session: Session, ticket_id: int) -> None:
    ticket = session.get_one(Ticket, ticket_id)
    if ticket.status == "resolved":
        return
    ticket.status = "resolved"
    ticket.resolved_at = datetime.now(UTC)
    session.add(Message(ticket_id=ticket.id, recipient=ticket.customer.email))


def deliver(engine: Engine, send: Callable[[dict], None], limit: int = 100) -> int:
    with Session(engine) as session, session.begin():
        messages = session.scalars(
            select(Message).where(Message.sent_at.is_(None)).order_by(Message.id).limit(limit)
        ).all()
        for message in messages:
            send({"ticket_id": message.ticket_id, "to": message.recipient})
            message.sent_at = datetime.now(UTC)
        return len(messages)
