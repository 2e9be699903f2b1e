"""Give an enumeration a type of its own before you cast to it

The statement cache tells two `Enum` types apart by the length of their longest label alone. In
`cast()`, `literal()`, `type_coerce()` and `text().columns()` the second one gets what was compiled
for the first, members and type name. Columns of a table are safe.
"""

import enum

from sqlalchemy import Enum, TypeDecorator, literal, select
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from ._symptom import Raises

FAMILY = "enums"
SYMPTOM = Raises(
    StatementError, "'Door.OPEN' is not among the defined enum values. Enum name: state."
)
SOURCE = (
    "TypeDecorator.cache_ok",
    "https://docs.sqlalchemy.org/en/21/core/custom_types.html"
    "#sqlalchemy.types.TypeDecorator.cache_ok",
)


class State(enum.Enum):
    """Of a ticket."""

    OPEN = 1
    DONE = 2


class Door(enum.Enum):
    """Of the office."""

    OPEN = 1
    SHUT = 2


def broken(session: Session) -> object:
    state, door = Enum(State, native_enum=False), Enum(Door, native_enum=False)
    session.scalar(select(literal(State.OPEN, state).label("now")))
    return session.scalar(select(literal(Door.OPEN, door).label("now")))


def fixed(session: Session) -> object:
    class States(TypeDecorator[State]):
        impl = Enum(State, native_enum=False)
        cache_ok = True

    class Doors(TypeDecorator[Door]):
        impl = Enum(Door, native_enum=False)
        cache_ok = True

    session.scalar(select(literal(State.OPEN, States()).label("now")))
    return session.scalar(select(literal(Door.OPEN, Doors()).label("now")))
