"""Let fixtures, factories and code under test share one session

An object belongs to the session that it was added to. Where the code opens its own, hand over the
key and let it load the row; `merge()` makes a copy, and the test goes on looking at the original.
"""

from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session

from ..testing_patterns.factories import make_comment, make_ticket
from ._symptom import Raises

FAMILY = "testing"
SYMPTOM = Raises(InvalidRequestError, "is already attached to session")
SOURCE = (
    "Session.add()",
    "https://docs.sqlalchemy.org/en/21/orm/session_api.html#sqlalchemy.orm.Session.add",
)


def broken(session: Session) -> object:
    ticket = make_ticket()
    session.add(ticket)
    with Session(session.connection()) as code:
        code.add(make_comment(ticket=ticket))
    return ticket.comments


def fixed(session: Session) -> object:
    ticket = make_ticket()
    session.add(ticket)
    session.add(make_comment(ticket=ticket))
    session.flush()
    return ticket.comments
