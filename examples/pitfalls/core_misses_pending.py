"""Flush before you use the session's connection

`session.execute()` flushes first; `session.connection().execute()` does not. In SQLAlchemy 2.0
`session.execute()` of a `text()` or Core statement does not flush either; in 2.1 it does.
"""

from sqlalchemy import text
from sqlalchemy.orm import Session

from ..models import Tag
from ._symptom import Returns

FAMILY = "sessions"
SYMPTOM = Returns(wrong=0, right=1, meaning="how many tags are counted after one was added")
SOURCE = (
    "Session autoflush behavior simplified to be unconditional",
    "https://docs.sqlalchemy.org/en/21/changelog/migration_21.html",
)


def broken(session: Session) -> object:
    session.add(Tag(name="vpn"))
    return session.connection().execute(text("SELECT count(*) FROM tags")).scalar()


def fixed(session: Session) -> object:
    session.add(Tag(name="vpn"))
    session.flush()
    return session.connection().execute(text("SELECT count(*) FROM tags")).scalar()
