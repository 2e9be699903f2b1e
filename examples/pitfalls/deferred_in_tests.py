"""Make PostgreSQL check deferred constraints before a test ends

They are checked at COMMIT, and a test that is rolled back has none: what production refuses passes.
"""

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ._symptom import Returns

FAMILY = "testing"
SYMPTOM = Returns(
    wrong="accepted", right="refused", meaning="what becomes of a duplicate in a test"
)
SOURCE = ("SET CONSTRAINTS", "https://www.postgresql.org/docs/18/sql-set-constraints.html")


def broken(session: Session) -> object:
    once = "CREATE TEMPORARY TABLE once (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)"
    session.execute(text(once))
    session.execute(text("INSERT INTO once VALUES (1), (1)"))
    session.commit()
    return "accepted"


def fixed(session: Session) -> object:
    once = "CREATE TEMPORARY TABLE once (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)"
    session.execute(text(once))
    session.execute(text("INSERT INTO once VALUES (1), (1)"))
    try:
        with session.begin_nested():
            session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    except IntegrityError:
        return "refused"
    return "accepted"
