"""Commit in the outermost function alone

A helper that commits leaves its caller no way to undo all: here the second step fails, and the
first one stays. See `references/sessions.md`.
"""

from contextlib import suppress

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..models import Organization
from ._symptom import Returns

FAMILY = "sessions"
SYMPTOM = Returns(
    wrong=1, right=0, meaning="rows stored by a transaction that failed in its second step"
)
SOURCE = (
    "When do I construct a Session, when do I commit it, and when do I close it?",
    "https://docs.sqlalchemy.org/en/21/orm/session_basics.html#session-faq-whentocreate",
)


def broken(engine: Engine) -> object:
    def register(session: Session, slug: str) -> None:
        session.add(Organization(name="Acme", slug=slug))
        session.commit()

    with suppress(IntegrityError), Session(engine) as session:
        register(session, "acme")
        register(session, "Not a slug")  # a CHECK refuses it
    return stored(engine)


def fixed(engine: Engine) -> object:
    def register(session: Session, slug: str) -> None:
        session.add(Organization(name="Acme", slug=slug))
        session.flush()

    with suppress(IntegrityError), Session(engine) as session, session.begin():
        register(session, "acme")
        register(session, "Not a slug")
    return stored(engine)


def stored(engine: Engine) -> int:
    """How many organizations another session sees."""
    with Session(engine) as session:
        return session.scalars(select(func.count()).select_from(Organization)).one()
