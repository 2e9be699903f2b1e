"""Answer from the row that changed, not from the assignment

A function that sets `deleted_at` to None and returns True has "restored" what was never deleted.
An UPDATE with the condition and RETURNING tells.
"""

from sqlalchemy import update
from sqlalchemy.orm import Session

from ..models import Ticket
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "keeping"
SYMPTOM = Returns(
    wrong=True, right=False, meaning="whether a ticket counts as restored that was never deleted"
)
SOURCE = (
    "Using RETURNING with UPDATE/DELETE and Custom WHERE Criteria",
    "https://docs.sqlalchemy.org/en/21/orm/queryguide/dml.html"
    "#using-returning-with-update-delete-and-custom-where-criteria",
)


def broken(session: Session) -> object:
    ticket = make_ticket()
    session.add(ticket)
    session.flush()
    found = session.get(Ticket, ticket.id)
    if found is None:
        return False
    found.deleted_at = None
    return True


def fixed(session: Session) -> object:
    ticket = make_ticket()
    session.add(ticket)
    session.flush()
    deleted = (Ticket.id == ticket.id, Ticket.deleted_at.is_not(None))
    restore = update(Ticket).where(*deleted).values(deleted_at=None)
    return session.scalar(restore.returning(Ticket.id)) is not None
