"""Put the conditions on an outer-joined table into ON

In WHERE they drop the row of NULLs: the groups without a match are gone. Count a column of the
joined table; `count(*)` counts that row too. See `references/analytics.md`.
"""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..models import Ticket, User
from ..testing_patterns.factories import make_user
from ._symptom import Returns

FAMILY = "queries"
SYMPTOM = Returns(
    wrong=[], right=[0], meaning="the counts of open tickets by agent, where an agent has none"
)
SOURCE = (
    "Table Expressions: Joined Tables",
    "https://www.postgresql.org/docs/18/queries-table-expressions.html#QUERIES-JOIN",
)


def broken(session: Session) -> object:
    session.add(make_user())
    counts = (
        select(func.count())
        .select_from(User)
        .outerjoin(Ticket, Ticket.assignee_id == User.id)
        .where(Ticket.status == "open")
        .group_by(User.id)
    )
    return session.scalars(counts).all()


def fixed(session: Session) -> object:
    session.add(make_user())
    counts = (
        select(func.count(Ticket.id))
        .select_from(User)
        .outerjoin(Ticket, (Ticket.assignee_id == User.id) & (Ticket.status == "open"))
        .group_by(User.id)
    )
    return session.scalars(counts).all()
