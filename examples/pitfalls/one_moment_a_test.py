"""Set the times of a test's rows yourself

`now()` is when the transaction began. A test that is one transaction makes all its rows at one
moment: `updated_at` never moves, and ordering by `created_at` is luck.
"""

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "testing"
SYMPTOM = Returns(
    wrong=False,
    right=True,
    meaning="whether `updated_at` is later than `created_at` after an UPDATE",
)
SOURCE = (
    "Current Date/Time",
    "https://www.postgresql.org/docs/18/functions-datetime.html#FUNCTIONS-DATETIME-CURRENT",
)


def broken(session: Session) -> object:
    ticket = make_ticket()
    session.add(ticket)
    session.commit()
    ticket.title = "Solved"
    session.commit()
    return ticket.updated_at > ticket.created_at


def fixed(session: Session) -> object:
    ticket = make_ticket(created_at=datetime(2026, 3, 1, tzinfo=UTC))
    session.add(ticket)
    session.commit()
    ticket.title = "Solved"
    session.commit()
    return ticket.updated_at > ticket.created_at
