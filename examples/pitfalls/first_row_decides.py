"""Insert rows of different keys through the session

A connection takes the columns from the first row; a key that only a later row has is dropped
without an error. The session sends a statement each time that the keys change: sort the rows by
their keys.
"""

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from ..models import Tag
from ._symptom import Returns

FAMILY = "writing"
SYMPTOM = Returns(
    wrong="#808080",
    right="#ff0000",
    meaning="the color stored for the second row, given as `#ff0000`",
)
SOURCE = (
    "ORM Bulk INSERT Statements",
    "https://docs.sqlalchemy.org/en/21/orm/queryguide/dml.html#orm-bulk-insert-statements",
)


def broken(session: Session) -> object:
    rows = [{"name": "vpn"}, {"name": "urgent", "color": "#ff0000"}]
    session.connection().execute(insert(Tag), rows)
    return session.scalar(select(Tag.color).where(Tag.name == "urgent"))


def fixed(session: Session) -> object:
    rows = [{"name": "vpn"}, {"name": "urgent", "color": "#ff0000"}]
    session.execute(insert(Tag), rows)
    return session.scalar(select(Tag.color).where(Tag.name == "urgent"))
