"""Filter by `any()`, not by a join to the collection

A join returns a ticket once for each tag that matches. Counts are too high, and pages too short.
"""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..models import Tag, Ticket, TicketTag
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "queries"
SYMPTOM = Returns(wrong=2, right=1, meaning="how often one ticket with two tags is counted")
SOURCE = (
    "EXISTS forms: has() / any()",
    "https://docs.sqlalchemy.org/en/21/orm/queryguide/select.html#exists-forms-has-any",
)


def prepare(session: Session) -> None:
    ticket = make_ticket()
    ticket.tag_links = [TicketTag(tag=Tag(name=name)) for name in ("vpn", "wifi")]
    session.add(ticket)
    session.flush()


def broken(session: Session) -> object:
    prepare(session)
    found = select(Ticket.id).join(Ticket.tags).where(Tag.name.in_(["vpn", "wifi"]))
    return session.scalar(select(func.count()).select_from(found.subquery()))


def fixed(session: Session) -> object:
    prepare(session)
    found = select(Ticket.id).where(Ticket.tags.any(Tag.name.in_(["vpn", "wifi"])))
    return session.scalar(select(func.count()).select_from(found.subquery()))
