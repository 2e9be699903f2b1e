"""On SQLAlchemy 2.0 write the condition into `any()`, `has()` and `exists()`

There `with_loader_criteria()` does not reach into them: a deleted ticket still counts. 2.1 does.
"""

from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from ..models import Ticket, User
from ..soft_delete import hide_deleted
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "keeping"
SYMPTOM = Returns(
    wrong=1,
    right=0,
    meaning="users found by `any()` whose only ticket is deleted",
    lines=("2.0",),
)
SOURCE = (
    "with_loader_criteria",
    "https://docs.sqlalchemy.org/en/21/orm/queryguide/api.html#sqlalchemy.orm.with_loader_criteria",
)


def broken(session: Session) -> object:
    event.listen(session, "do_orm_execute", hide_deleted)
    session.add(make_ticket(deleted_at=func.now()))
    has_tickets = User.tickets_created.any()
    return session.scalar(select(func.count(User.id)).where(has_tickets))


def fixed(session: Session) -> object:
    event.listen(session, "do_orm_execute", hide_deleted)
    session.add(make_ticket(deleted_at=func.now()))
    has_tickets = User.tickets_created.any(Ticket.deleted_at.is_(None))
    return session.scalar(select(func.count(User.id)).where(has_tickets))
