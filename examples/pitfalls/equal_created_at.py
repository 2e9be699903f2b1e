"""Break ties in an order by time

`now()` is the time at which the transaction began: all that it adds has one `created_at`, and the
order is any. Add the id, in `relationship(order_by=…)` too.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..models import Comment
from ..testing_patterns.factories import make_comment, make_ticket
from ._symptom import Returns

FAMILY = "models"
SYMPTOM = Returns(
    wrong=1, right=3, meaning="distinct `created_at` of three comments of one transaction"
)
SOURCE = (
    "Current Date/Time",
    "https://www.postgresql.org/docs/18/functions-datetime.html#FUNCTIONS-DATETIME-CURRENT",
)


def broken(session: Session) -> object:
    ticket = make_ticket()
    session.add_all(make_comment(ticket=ticket) for _ in range(3))
    session.flush()
    order = (Comment.created_at,)
    return len(session.execute(select(*order).distinct()).all())


def fixed(session: Session) -> object:
    ticket = make_ticket()
    session.add_all(make_comment(ticket=ticket) for _ in range(3))
    session.flush()
    order = (Comment.created_at, Comment.id)
    return len(session.execute(select(*order).distinct()).all())
