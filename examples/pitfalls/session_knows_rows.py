"""Empty the session between what a test prepares and the code under test

What the test has made is loaded already, related objects too: a missing loader option does not
show. In production the same code raises, or loads a row at a time.
"""

from sqlalchemy import select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session

from ..models import Ticket
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "testing"
SYMPTOM = Returns(
    wrong="passed", right="seen", meaning="what a test makes of a missing `selectinload`"
)
SOURCE = (
    "Session Frequently Asked Questions: Is the Session a cache?",
    "https://docs.sqlalchemy.org/en/21/orm/session_basics.html#is-the-session-a-cache",
)


def broken(session: Session) -> object:
    prepared = make_ticket()
    session.add(prepared)
    session.flush()
    return code_under_test(session)


def fixed(session: Session) -> object:
    prepared = make_ticket()
    session.add(prepared)
    session.flush()
    session.expunge_all()
    return code_under_test(session)


def code_under_test(session: Session) -> str:
    """It reads the creator, and has forgotten to load it."""
    ticket = session.scalars(select(Ticket)).one()
    try:
        assert ticket.creator.full_name
    except InvalidRequestError:
        return "seen"
    return "passed"
