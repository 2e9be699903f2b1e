"""Raise the version in a bulk UPDATE

`version_id_col` counts what the unit of work writes. `update()` leaves it as it is: whoever has
read the row before overwrites the change, without a StaleDataError. See `references/locking.md`.
"""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ..models import Ticket
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "writing"
SYMPTOM = Returns(wrong=1, right=2, meaning="the row's version after one UPDATE")
SOURCE = (
    "Configuring a Version Counter",
    "https://docs.sqlalchemy.org/en/21/orm/versioning.html",
)


def broken(session: Session) -> object:
    session.add(ticket := make_ticket())
    session.flush()
    session.execute(update(Ticket).where(Ticket.id == ticket.id).values(title="VPN"))
    return session.scalar(select(Ticket.version).where(Ticket.id == ticket.id))


def fixed(session: Session) -> object:
    session.add(ticket := make_ticket())
    session.flush()
    change = update(Ticket).where(Ticket.id == ticket.id)
    session.execute(change.values(title="VPN", version=Ticket.version + 1))
    return session.scalar(select(Ticket.version).where(Ticket.id == ticket.id))
