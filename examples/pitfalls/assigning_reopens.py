"""Say in the UPDATE which rows it may change

A list of ids grows old on the screen. An UPDATE by id alone re-opens what was closed or deleted
meanwhile, and reports success. See `references/bulk-operations.md`.
"""

from sqlalchemy import func, update
from sqlalchemy.orm import Session

from ..models import Ticket, TicketStatus
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "keeping"
SYMPTOM = Returns(
    wrong=2, right=0, meaning="how many of a closed and a deleted ticket are opened again"
)
SOURCE = (
    "ORM UPDATE and DELETE with Custom WHERE Criteria",
    "https://docs.sqlalchemy.org/en/21/orm/queryguide/dml.html"
    "#orm-update-and-delete-with-custom-where-criteria",
)
CLOSED = {"status": TicketStatus.CLOSED, "resolved_at": func.now()}


def broken(session: Session) -> object:
    tickets = [make_ticket(**CLOSED), make_ticket(deleted_at=func.now())]
    session.add_all(tickets)
    session.flush()
    chosen = Ticket.id.in_([ticket.id for ticket in tickets])
    started = {"status": TicketStatus.IN_PROGRESS, "resolved_at": None}
    assign = update(Ticket).where(chosen).values(started)
    return len(session.scalars(assign.returning(Ticket.id)).all())


def fixed(session: Session) -> object:
    tickets = [make_ticket(**CLOSED), make_ticket(deleted_at=func.now())]
    session.add_all(tickets)
    session.flush()
    chosen = Ticket.id.in_([ticket.id for ticket in tickets])
    open_ones = Ticket.resolved_at.is_(None) & Ticket.deleted_at.is_(None)
    started = {"status": TicketStatus.IN_PROGRESS}
    assign = update(Ticket).where(chosen, open_ones).values(started)
    return len(session.scalars(assign.returning(Ticket.id)).all())
