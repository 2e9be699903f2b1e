"""Load a collection by `selectinload`, not by `joinedload`

A joined collection repeats its parent for each child. SQLAlchemy wants `.unique()` before it reads
such a result, and cannot stream it. See `references/eager-loading.md`.
"""

from sqlalchemy import select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session, joinedload, selectinload

from ..models import Ticket
from ..testing_patterns.factories import make_comment, make_ticket
from ._symptom import Raises

FAMILY = "queries"
SYMPTOM = Raises(InvalidRequestError, "The unique() method must be invoked")
SOURCE = (
    "Joined Eager Loading",
    "https://docs.sqlalchemy.org/en/21/orm/queryguide/relationships.html#joined-eager-loading",
)


def broken(session: Session) -> object:
    session.add(make_ticket(comments=[make_comment(), make_comment()]))
    return session.scalars(select(Ticket).options(joinedload(Ticket.comments))).all()


def fixed(session: Session) -> object:
    session.add(make_ticket(comments=[make_comment(), make_comment()]))
    return session.scalars(select(Ticket).options(selectinload(Ticket.comments))).all()
