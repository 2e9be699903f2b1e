"""Say `of=` when you lock the rows of a join

FOR UPDATE wants the joined rows too, and an outer join, as `joinedload()` makes it, is refused. An
inner join locks the customer: SKIP LOCKED passes over their other tickets. See
`references/locking.md`.
"""

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, NotSupportedError
from sqlalchemy.orm import Session, joinedload

from ..models import Ticket
from ._symptom import Raises

FAMILY = "queries"
SYMPTOM = Raises(
    NotSupportedError,
    "cannot be applied to the nullable side of an outer join",
    on_asyncpg=DBAPIError,
)
SOURCE = (
    "SELECT: The Locking Clause",
    "https://www.postgresql.org/docs/18/sql-select.html#SQL-FOR-UPDATE-SHARE",
)


def broken(session: Session) -> object:
    query = select(Ticket).options(joinedload(Ticket.assignee)).with_for_update()
    return session.scalars(query).all()


def fixed(session: Session) -> object:
    query = select(Ticket).options(joinedload(Ticket.assignee)).with_for_update(of=Ticket)
    return session.scalars(query).all()
