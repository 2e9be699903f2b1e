"""Put what may be refused into a savepoint, and catch outside of it

The refused statement ended the transaction; catching its error does not bring it back. Every later
statement of the session fails. See `references/error-handling.md`.
"""

from contextlib import suppress

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError, PendingRollbackError
from sqlalchemy.orm import Session

from ..models import Tag
from ._symptom import Raises

FAMILY = "sessions"
SYMPTOM = Raises(PendingRollbackError, "This Session's transaction has been rolled back")
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


def fixed(session: Session) -> object:
    session.add(Tag(name="vpn"))
    session.flush()
    with suppress(IntegrityError), session.begin_nested():
        session.add(Tag(name="vpn"))
    return session.scalar(select(func.count()).select_from(Tag))
