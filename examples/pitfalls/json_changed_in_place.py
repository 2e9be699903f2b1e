"""Assign JSON anew; do not change it in place

The session compares attributes, and an object changed in place is the same object: no UPDATE.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..models import OutboxMessage
from ._symptom import Returns

FAMILY = "types"
SYMPTOM = Returns(wrong={}, right={"seen": True}, meaning="the stored JSON after a key was set")
RULE = "untracked-mutable"
SOURCE = (
    "Mutation Tracking",
    "https://docs.sqlalchemy.org/en/21/orm/extensions/mutable.html",
)


def broken(session: Session) -> object:
    message = OutboxMessage(topic="ticket", payload={})
    session.add(message)
    session.flush()
    message.payload["seen"] = True
    session.flush()
    return session.scalar(select(OutboxMessage.payload))


def fixed(session: Session) -> object:
    message = OutboxMessage(topic="ticket", payload={})
    session.add(message)
    session.flush()
    message.payload = message.payload | {"seen": True}
    session.flush()
    return session.scalar(select(OutboxMessage.payload))
