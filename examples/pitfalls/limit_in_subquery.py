"""Take locked rows by a CTE, not by a subquery of IN

Where the planner takes the table for small, it runs the subquery again for every row of the outer
table. Each run skips what the statement has locked already, and the LIMIT holds for one run.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, delete, select, text
from sqlalchemy.orm import Session

from ..models import Ticket
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "queries"
SYMPTOM = Returns(wrong=6, right=1, meaning="tickets deleted through a subquery with LIMIT 1")
SOURCE = (
    "SELECT: The Locking Clause",
    "https://www.postgresql.org/docs/18/sql-select.html#SQL-FOR-UPDATE-SHARE",
)


def broken(engine: Engine) -> object:
    with six_deleted_tickets(engine) as session:
        oldest = select(Ticket.id).order_by(Ticket.deleted_at).limit(1)
        one = oldest.with_for_update(skip_locked=True)
        purge = delete(Ticket).where(Ticket.id.in_(one)).returning(Ticket.id)
        return len(session.scalars(purge).all())


def fixed(engine: Engine) -> object:
    with six_deleted_tickets(engine) as session:
        oldest = select(Ticket.id).order_by(Ticket.deleted_at).limit(1)
        one = oldest.with_for_update(skip_locked=True).cte("one")
        purge = delete(Ticket).where(Ticket.id.in_(select(one.c.id))).returning(Ticket.id)
        return len(session.scalars(purge).all())


def six_deleted_tickets(engine: Engine) -> Session:
    """A session with six of them, where ANALYZE has seen one."""
    session = Session(engine)
    deleted = datetime.now(UTC) - timedelta(days=60)
    session.add(make_ticket(deleted_at=deleted))
    session.flush()
    session.execute(text("ANALYZE tickets"))
    session.add_all(make_ticket(deleted_at=deleted + timedelta(days=day)) for day in range(1, 6))
    session.flush()
    return session
