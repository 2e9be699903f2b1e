"""Undo each test by the connection, not by the session

A fixture that commits on a session of the engine writes for good: the next test finds its row, or
the unique constraint does.
"""

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from ..models import Tag
from ..testing_patterns.factories import make_tag
from ..testing_patterns.isolation import isolated_session
from ._symptom import Returns

FAMILY = "testing"
SYMPTOM = Returns(wrong=1, right=0, meaning="the count of tags when the next test begins")
SOURCE = (
    "Joining a Session into an External Transaction",
    "https://docs.sqlalchemy.org/en/21/orm/session_transaction.html"
    "#joining-a-session-into-an-external-transaction-such-as-for-test-suites",
)


def broken(engine: Engine) -> object:
    with Session(engine) as session:
        session.add(make_tag())
        session.commit()
        session.rollback()
    with Session(engine) as next_test:
        return next_test.scalar(select(func.count()).select_from(Tag))


def fixed(engine: Engine) -> object:
    with isolated_session(engine) as session:
        session.add(make_tag())
        session.commit()
    with isolated_session(engine) as next_test:
        return next_test.scalar(select(func.count()).select_from(Tag))
