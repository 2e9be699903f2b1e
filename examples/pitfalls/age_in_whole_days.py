"""Compare the column with a moment, not its age with a number

`date_part('day', …)` cuts an interval to whole days: more than 7 means 8 and up. An expression on
the column uses no index of it either. See `references/computed-attributes.md`.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..models import Ticket
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "types"
SYMPTOM = Returns(
    wrong=0, right=1, meaning="how many tickets are older than 7 days, where one is 7.5 days old"
)
SOURCE = (
    "Date/Time Functions: date_part",
    "https://www.postgresql.org/docs/18/functions-datetime.html#FUNCTIONS-DATETIME-EXTRACT",
)


def broken(session: Session) -> object:
    session.add(make_ticket(created_at=datetime.now(UTC) - timedelta(days=7.5)))
    overdue = func.date_part("day", func.now() - Ticket.created_at) > 7
    return session.scalar(select(func.count()).select_from(Ticket).where(overdue))


def fixed(session: Session) -> object:
    session.add(make_ticket(created_at=datetime.now(UTC) - timedelta(days=7.5)))
    overdue = Ticket.created_at < datetime.now(UTC) - timedelta(days=7)
    return session.scalar(select(func.count()).select_from(Ticket).where(overdue))
