"""Give a bound parameter of `text()` its type

`text()` knows no column, so nothing turns a dict into JSON, and each driver says so in other words.
"""

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.orm import Session

from ._symptom import Raises

FAMILY = "types"
SYMPTOM = (
    Raises(ProgrammingError, "cannot adapt type 'dict'", drivers=("psycopg",)),
    Raises(ProgrammingError, "can't adapt type 'dict'", drivers=("psycopg2",)),
    Raises(DBAPIError, "'dict' object has no attribute 'encode'", drivers=("asyncpg",)),
)
SOURCE = (
    "TextClause.bindparams()",
    "https://docs.sqlalchemy.org/en/21/core/sqlelement.html"
    "#sqlalchemy.sql.expression.TextClause.bindparams",
)
ADD = text("INSERT INTO outbox_messages (topic, payload) VALUES ('ticket.created', :payload)")


def broken(session: Session) -> object:
    return session.execute(ADD, {"payload": {"ticket": 1}})


def fixed(session: Session) -> object:
    typed = ADD.bindparams(bindparam("payload", type_=JSONB))
    return session.execute(typed, {"payload": {"ticket": 1}})
