"""Hand values out of a session, not its objects

A commit expires every object. The next access loads it again, but the session is closed by then.
With `expire_on_commit=False` what was loaded stays, and may be old. A relationship that was never
loaded still fails, as a lazy load: load it by `selectinload`.
"""

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, lazyload
from sqlalchemy.orm.exc import DetachedInstanceError

from ..models import Ticket
from ..testing_patterns.factories import make_ticket
from ._symptom import Raises

FAMILY = "sessions"
SYMPTOM = Raises(DetachedInstanceError, "is not bound to a Session; attribute refresh operation")
ALSO = Raises(DetachedInstanceError, "lazy load operation of attribute")
SOURCE = (
    "Parent instance is not bound to a Session",
    "https://docs.sqlalchemy.org/en/21/errors.html#error-bhk3",
)


def broken(engine: Engine) -> object:
    with Session(engine) as session, session.begin():
        ticket = make_ticket(title="VPN")
        session.add(ticket)
    return {"id": ticket.id, "title": ticket.title}


def also(engine: Engine) -> object:
    with Session(engine) as session, session.begin():
        session.add(make_ticket())
    with Session(engine) as session:
        # The desk's own relationships are `lazy="raise"`, which says so at the first access.
        ticket = session.scalars(select(Ticket).options(lazyload(Ticket.comments))).one()
    return ticket.comments


def fixed(engine: Engine) -> object:
    with Session(engine) as session, session.begin():
        ticket = make_ticket(title="VPN")
        session.add(ticket)
        session.flush()
        return {"id": ticket.id, "title": ticket.title}
