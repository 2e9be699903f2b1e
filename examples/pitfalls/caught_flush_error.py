"""Run what may fail in a savepoint, and catch the error outside of it

The failed statement ended the transaction; catching its error does not bring it back. Every later
statement of the session fails, too, in other words after a failed `execute()` than after a failed
flush. See `references/error-handling.md`.
"""

from contextlib import suppress

from sqlalchemy import func, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError, InternalError, PendingRollbackError
from sqlalchemy.orm import Session

from ..models import Tag
from ._symptom import Raises

FAMILY = "sessions"
SYMPTOM = Raises(PendingRollbackError, "This Session's transaction has been rolled back")
ALSO = Raises(InternalError, "current transaction is aborted", on_asyncpg=DBAPIError)
SOURCE = (
    "Using SAVEPOINT",
    "https://docs.sqlalchemy.org/en/21/orm/session_transaction.html#using-savepoint",
)


def broken(session: Session) -> object:
    session.add(Tag(name="vpn"))
    session.flush()
    with suppress(IntegrityError):
        session.add(Tag(name="vpn"))
        session.flush()
    return session.scalar(select(func.count()).select_from(Tag))


def also(session: Session) -> object:
    with suppress(IntegrityError):
        session.execute(insert(Tag).values([{"name": "vpn"}, {"name": "vpn"}]))
    return session.scalar(select(func.count()).select_from(Tag))


def fixed(session: Session) -> object:
    session.add(Tag(name="vpn"))
    session.flush()
    with suppress(IntegrityError), session.begin_nested():
        session.add(Tag(name="vpn"))
    return session.scalar(select(func.count()).select_from(Tag))
