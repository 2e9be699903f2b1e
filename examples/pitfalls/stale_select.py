"""Ask for `populate_existing` when a SELECT must show today's values

A SELECT does not overwrite an object that the session holds already, not even with FOR UPDATE.
"""

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from ..models import Ticket
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "sessions"
SYMPTOM = Returns(
    wrong="old",
    right="new",
    meaning="a title, read again after another session changed it to `new`",
)
SOURCE = (
    "Populate Existing",
    "https://docs.sqlalchemy.org/en/21/orm/queryguide/api.html#populate-existing",
)


def broken(session: Session) -> object:
    ticket = make_ticket(title="old")
    session.add(ticket)
    session.flush()
    session.connection().execute(text("UPDATE tickets SET title = 'new'"))
    return session.scalars(select(Ticket).with_for_update()).one().title


def fixed(session: Session) -> object:
    ticket = make_ticket(title="old")
    session.add(ticket)
    session.flush()
    session.connection().execute(text("UPDATE tickets SET title = 'new'"))
    query = select(Ticket).with_for_update().execution_options(populate_existing=True)
    return session.scalars(query).one().title
