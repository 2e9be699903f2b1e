"""End a period before the next day begins, not at its last day

A day that is compared with a moment is its midnight: `<= 31 March` leaves the 31st out, and so does
BETWEEN.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..models import Ticket
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "types"
FIRST, LAST = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)
SYMPTOM = Returns(
    wrong=0, right=1, meaning="how many tickets are found that were made at noon of the last day"
)
SOURCE = (
    "Comparison Operators: BETWEEN",
    "https://www.postgresql.org/docs/18/functions-comparison.html",
)


def broken(session: Session) -> object:
    session.add(make_ticket(created_at=LAST + timedelta(hours=12)))
    march = Ticket.created_at.between(FIRST, LAST)
    return session.scalar(select(func.count()).select_from(Ticket).where(march))


def fixed(session: Session) -> object:
    session.add(make_ticket(created_at=LAST + timedelta(hours=12)))
    march = (Ticket.created_at >= FIRST) & (Ticket.created_at < LAST + timedelta(days=1))
    return session.scalar(select(func.count()).select_from(Ticket).where(march))
