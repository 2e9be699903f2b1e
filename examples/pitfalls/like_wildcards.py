"""Escape what a user types into a LIKE

`%` and `_` are wildcards in the user's words too: a search for `_` finds every ticket.
"""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..models import Ticket
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "queries"
SYMPTOM = Returns(
    wrong=2, right=0, meaning="the count of titles with an underscore, of two without"
)
SOURCE = (
    "ColumnOperators.icontains",
    "https://docs.sqlalchemy.org/en/21/core/sqlelement.html"
    "#sqlalchemy.sql.expression.ColumnOperators.icontains",
)


def broken(session: Session) -> object:
    session.add_all([make_ticket(title="Printer"), make_ticket(title="Router")])
    word = "_"
    found = select(func.count()).select_from(Ticket).where(Ticket.title.ilike(f"%{word}%"))
    return session.scalar(found)


def fixed(session: Session) -> object:
    session.add_all([make_ticket(title="Printer"), make_ticket(title="Router")])
    word = "_"
    matches = Ticket.title.icontains(word, autoescape=True)
    return session.scalar(select(func.count()).select_from(Ticket).where(matches))
