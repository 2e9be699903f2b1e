"""Read the row again before you assert on it

The session hands back the object that the test itself has filled, not what was stored: here the
key of a JSON document becomes a text. `expire_on_commit=False` does the same after a commit.
"""

from sqlalchemy.orm import Session

from ..models import OutboxMessage
from ._symptom import Returns

FAMILY = "testing"
SYMPTOM = Returns(
    wrong={1: "ann"}, right={"1": "ann"}, meaning="the JSON payload that a test compares"
)
SOURCE = (
    "Expiring / Refreshing",
    "https://docs.sqlalchemy.org/en/21/orm/session_state_management.html#refreshing-expiring",
)


def broken(session: Session) -> object:
    message = OutboxMessage(topic="mail", payload={1: "ann"})
    session.add(message)
    session.flush()
    return session.get_one(OutboxMessage, message.id).payload


def fixed(session: Session) -> object:
    message = OutboxMessage(topic="mail", payload={1: "ann"})
    session.add(message)
    session.flush()
    return session.get_one(OutboxMessage, message.id, populate_existing=True).payload
