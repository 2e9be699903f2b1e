"""Name the class in a condition after a join

SQLAlchemy 2.1 looks for the name of a `filter_by()` in every class of the query and raises
`AmbiguousColumnError`. 2.0 takes the last class that was joined, which may be another than meant.
"""

from sqlalchemy import select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session

from ..models import Ticket
from ..testing_patterns.factories import make_ticket
from ._symptom import Raises

FAMILY = "queries"
SYMPTOM = Raises(InvalidRequestError, "is ambiguous", lines=("2.1",))
SOURCE = (
    "filter_by() now searches across all FROM clause entities",
    "https://docs.sqlalchemy.org/en/21/changelog/migration_21.html",
)


def broken(session: Session) -> object:
    ticket = make_ticket()
    session.add(ticket)
    session.flush()
    query = select(Ticket).join(Ticket.creator).filter_by(id=ticket.id)
    return session.scalars(query).all()


def fixed(session: Session) -> object:
    ticket = make_ticket()
    session.add(ticket)
    session.flush()
    query = select(Ticket).join(Ticket.creator).where(Ticket.id == ticket.id)
    return session.scalars(query).all()
