"""Do not trust MutableDict below the first level

It notices its own keys alone. What is nested in it is an ordinary dict: assign the nested value
anew.
"""

from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ._symptom import Returns

FAMILY = "types"
SYMPTOM = Returns(
    wrong={"to": {}}, right={"to": {"id": 1}}, meaning="the stored JSON after a nested key was set"
)
SOURCE = (
    "Mutation Tracking",
    "https://docs.sqlalchemy.org/en/21/orm/extensions/mutable.html",
)


def broken(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Message(Base):
        __tablename__ = "outbox_messages"
        id: Mapped[int] = mapped_column(primary_key=True)
        topic: Mapped[str]
        payload: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSONB))

    message = Message(topic="ticket", payload={"to": {}})
    session.add(message)
    session.flush()
    message.payload["to"]["id"] = 1
    session.flush()
    return session.scalar(select(Message.payload))


def fixed(session: Session) -> object:
    class Base(DeclarativeBase):
        pass

    class Message(Base):
        __tablename__ = "outbox_messages"
        id: Mapped[int] = mapped_column(primary_key=True)
        topic: Mapped[str]
        payload: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSONB))

    message = Message(topic="ticket", payload={"to": {}})
    session.add(message)
    session.flush()
    message.payload["to"] = message.payload["to"] | {"id": 1}
    session.flush()
    return session.scalar(select(Message.payload))
