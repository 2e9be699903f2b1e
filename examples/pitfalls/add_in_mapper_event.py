"""Add nothing in a mapper event

`after_insert` and its kin run when the flush has been planned. What they add waits for another
flush, which may never come. `before_flush` may add.
"""

from sqlalchemy import event
from sqlalchemy.exc import SAWarning
from sqlalchemy.orm import Session

from ..models import OutboxMessage, Tag
from ..testing_patterns.factories import make_tag
from ._symptom import Warns

FAMILY = "audit"
SYMPTOM = Warns(SAWarning, "Usage of the 'Session.add()' operation is not currently supported")
SOURCE = (
    "Mapper-level Flush Events",
    "https://docs.sqlalchemy.org/en/21/orm/session_events.html#mapper-level-flush-events",
)


def broken(session: Session) -> object:
    def announce(_mapper: object, _connection: object, tag: Tag) -> None:
        session.add(OutboxMessage(topic="tag", payload={"name": tag.name}))

    event.listen(Tag, "after_insert", announce)
    try:
        session.add(make_tag())
        session.flush()
    finally:
        event.remove(Tag, "after_insert", announce)
    return None


def fixed(session: Session) -> object:
    def announce(session: Session, *_: object) -> None:
        for tag in session.new:
            if isinstance(tag, Tag):
                session.add(OutboxMessage(topic="tag", payload={"name": tag.name}))

    event.listen(session, "before_flush", announce)
    session.add(make_tag())
    session.flush()
    return None
