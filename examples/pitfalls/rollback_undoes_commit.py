"""Let the session of a test commit into savepoints

A test wraps all in an outer transaction. With the default `join_transaction_mode` a rollback in
the code under test undoes what that code had committed. See `references/testing-patterns.md`.
"""

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from ..models import Tag
from ..testing_patterns.factories import make_tag
from ._symptom import Returns

FAMILY = "testing"
SYMPTOM = Returns(wrong=0, right=1, meaning="rows left after `commit()`, then `rollback()`")
SOURCE = (
    "Joining a Session into an External Transaction",
    "https://docs.sqlalchemy.org/en/21/orm/session_transaction.html"
    "#joining-a-session-into-an-external-transaction-such-as-for-test-suites",
)


def broken(engine: Engine) -> object:
    with engine.connect() as connection:
        connection.begin()
        with Session(connection) as session:
            code_under_test(session)
            return session.scalar(select(func.count()).select_from(Tag))


def fixed(engine: Engine) -> object:
    with engine.connect() as connection:
        connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            code_under_test(session)
            return session.scalar(select(func.count()).select_from(Tag))


def code_under_test(session: Session) -> None:
    """It stores one, then gives the next up."""
    session.add(make_tag())
    session.commit()
    session.add(make_tag())
    session.flush()
    session.rollback()
