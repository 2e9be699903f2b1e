"""Leave autoflush on

With `autoflush=False` a query does not see what was added before it. Here the second query does
not find the first tag, and adds it again.
"""

from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..models import Tag
from ._symptom import Raises

FAMILY = "sessions"
SYMPTOM = Raises(IntegrityError, "duplicate key value violates unique constraint")
SOURCE = (
    "Flushing",
    "https://docs.sqlalchemy.org/en/21/orm/session_basics.html#flushing",
)


def broken(engine: Engine) -> object:
    with Session(engine, autoflush=False) as session:
        for name in ("vpn", "vpn"):
            if session.scalar(select(Tag.id).where(Tag.name == name)) is None:
                session.add(Tag(name=name))
        session.flush()
    return None


def fixed(engine: Engine) -> object:
    with Session(engine) as session:
        for name in ("vpn", "vpn"):
            if session.scalar(select(Tag.id).where(Tag.name == name)) is None:
                session.add(Tag(name=name))
        session.flush()
    return None
