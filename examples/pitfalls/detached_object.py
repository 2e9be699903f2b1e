"""Hand values out of a session, not its objects

A commit expires every object; the next access loads it again, and then the session is closed. With
`expire_on_commit=False` what was loaded stays, and may be old.
"""

from sqlalchemy import Engine
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import DetachedInstanceError

from ..testing_patterns.factories import make_ticket
from ._symptom import Raises

FAMILY = "sessions"
SYMPTOM = Raises(DetachedInstanceError, "is not bound to a Session; attribute refresh operation")
SOURCE = (
    "Parent instance is not bound to a Session",
    "https://docs.sqlalchemy.org/en/21/errors.html#error-bhk3",
)


def broken(engine: Engine) -> object:
    with Session(engine) as session, session.begin():
        ticket = make_ticket(title="VPN")
        session.add(ticket)
    return {"id": ticket.id, "title": ticket.title}


def fixed(engine: Engine) -> object:
    with Session(engine) as session, session.begin():
        ticket = make_ticket(title="VPN")
        session.add(ticket)
        session.flush()
        return {"id": ticket.id, "title": ticket.title}
