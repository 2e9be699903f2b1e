"""Join every class that a condition names

A class in WHERE alone comes into FROM with all its rows: each ticket once for each active user.
SQLAlchemy warns when it compiles the statement, so once, and not for `text()`: let tests make
errors of warnings.
"""

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SAWarning
from sqlalchemy.orm import Session

from ..models import Ticket, User
from ._symptom import Warns

FAMILY = "queries"
SYMPTOM = Warns(SAWarning, "has a cartesian product between FROM element(s)")
SOURCE = (
    "What is the built-in FROM linter?",
    "https://docs.sqlalchemy.org/en/21/changelog/migration_14.html#change-4737",
)


def broken(engine: Engine) -> object:
    count = select(func.count(Ticket.id)).where(User.is_active)
    with Session(engine) as session:
        return session.scalar(count)


def fixed(engine: Engine) -> object:
    count = select(func.count(Ticket.id)).join(Ticket.creator).where(User.is_active)
    with Session(engine) as session:
        return session.scalar(count)
