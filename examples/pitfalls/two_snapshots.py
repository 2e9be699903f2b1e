"""Read a report in one statement, or in REPEATABLE READ

In READ COMMITTED, the default, each statement sees what is committed when *it* begins: a total and
the list beside it may disagree.
"""

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from ..models import Ticket
from ..testing_patterns.factories import make_ticket
from ._symptom import Returns

FAMILY = "sessions"
SYMPTOM = Returns(
    wrong=(0, 1), right=(0, 0), meaning="the total of a report and the length of its list"
)
SOURCE = (
    "Transaction Isolation",
    "https://www.postgresql.org/docs/18/transaction-iso.html",
)


def broken(engine: Engine) -> object:
    with Session(engine) as report:
        total = report.scalar(select(func.count()).select_from(Ticket))
        somebody_opens_a_ticket(engine)
        return total, len(report.scalars(select(Ticket)).all())


def fixed(engine: Engine) -> object:
    with Session(engine.execution_options(isolation_level="REPEATABLE READ")) as report:
        total = report.scalar(select(func.count()).select_from(Ticket))
        somebody_opens_a_ticket(engine)
        return total, len(report.scalars(select(Ticket)).all())


def somebody_opens_a_ticket(engine: Engine) -> None:
    """Commit one from another connection."""
    with Session(engine) as session:
        session.add(make_ticket())
        session.commit()
