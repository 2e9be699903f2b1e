"""Give plain SQL a view, or row-level security

A listener of the session sees ORM statements. Text, Core on a connection and reports find what is
deleted.
"""

from sqlalchemy import event, func, text
from sqlalchemy.orm import Session

from ..soft_delete import LIVE_VIEW, hide_deleted
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "keeping"
SYMPTOM = Returns(wrong=1, right=0, meaning="tickets counted where the only one is deleted")
SOURCE = (
    "Row Security Policies",
    "https://www.postgresql.org/docs/18/ddl-rowsecurity.html",
)


def broken(session: Session) -> object:
    event.listen(session, "do_orm_execute", hide_deleted)
    session.add(make_ticket(deleted_at=func.now()))
    session.flush()
    return session.scalar(text("SELECT count(*) FROM tickets"))


def fixed(session: Session) -> object:
    session.execute(LIVE_VIEW)  # in a migration
    session.add(make_ticket(deleted_at=func.now()))
    session.flush()
    return session.scalar(text("SELECT count(*) FROM live_tickets"))
