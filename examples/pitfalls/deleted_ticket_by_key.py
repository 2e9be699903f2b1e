"""Hide deleted rows in the session, not in each query

A `deleted_at IS NULL` written by hand is missing from `session.get()`, from relationships, from the
next query. See `references/soft-delete.md`.
"""

from sqlalchemy import event, func
from sqlalchemy.orm import Session

from ..models import Ticket
from ..soft_delete import hide_deleted
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "keeping"
SYMPTOM = Returns(wrong=True, right=False, meaning="whether `get()` finds a deleted ticket")
SOURCE = (
    "Adding global WHERE / ON criteria",
    "https://docs.sqlalchemy.org/en/21/orm/session_events.html#adding-global-where-on-criteria",
)


def broken(session: Session) -> object:
    ticket = make_ticket(deleted_at=func.now())
    session.add(ticket)
    session.commit()
    ticket_id = ticket.id
    session.expunge_all()
    return session.get(Ticket, ticket_id) is not None


def fixed(session: Session) -> object:
    event.listen(session, "do_orm_execute", hide_deleted)
    ticket = make_ticket(deleted_at=func.now())
    session.add(ticket)
    session.commit()
    ticket_id = ticket.id
    session.expunge_all()
    return session.get(Ticket, ticket_id) is not None
