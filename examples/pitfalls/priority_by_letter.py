"""Order an enumeration that is stored as text by its rank

Text sorts by letter: descending, "medium" comes before "low", and "low" before "high". Order by
`case()` over the members.
"""

from sqlalchemy import case, select
from sqlalchemy.orm import Session

from ..models import Ticket, TicketPriority
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "enums"
SYMPTOM = Returns(
    wrong=["urgent", "medium", "low", "high"],
    right=["urgent", "high", "medium", "low"],
    meaning="priorities sorted with the most urgent first",
)
SOURCE = (
    "case",
    "https://docs.sqlalchemy.org/en/21/core/sqlelement.html#sqlalchemy.sql.expression.case",
)


def broken(session: Session) -> object:
    session.add_all(make_ticket(priority=priority) for priority in TicketPriority)
    return session.scalars(select(Ticket.priority).order_by(Ticket.priority.desc())).all()


def fixed(session: Session) -> object:
    session.add_all(make_ticket(priority=priority) for priority in TicketPriority)
    ranks = [(Ticket.priority == member, rank) for rank, member in enumerate(TicketPriority)]
    return session.scalars(select(Ticket.priority).order_by(case(*ranks).desc())).all()
