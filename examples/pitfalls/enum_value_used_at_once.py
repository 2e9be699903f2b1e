"""Commit a new enum value before you use it

`ALTER TYPE … ADD VALUE` runs in a transaction, but no statement of that transaction may use the
value. In Alembic: `op.get_context().autocommit_block()`. Text with a CHECK has no such rule.
"""

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from ._symptom import Raises

FAMILY = "enums"
SYMPTOM = Raises(
    OperationalError,
    'unsafe use of new value "on_hold" of enum type state',
    on_asyncpg=DBAPIError,
)
SOURCE = ("ALTER TYPE", "https://www.postgresql.org/docs/18/sql-altertype.html")


def broken(engine: Engine) -> object:
    with engine.begin() as connection:
        connection.execute(text("CREATE TYPE state AS ENUM ('open')"))
    with engine.begin() as connection:
        connection.execute(text("ALTER TYPE state ADD VALUE 'on_hold'"))
        connection.execute(text("SELECT 'on_hold'::state"))
    return None


def fixed(engine: Engine) -> object:
    with engine.begin() as connection:
        connection.execute(text("CREATE TYPE state AS ENUM ('open')"))
    with engine.begin() as connection:
        connection.execute(text("ALTER TYPE state ADD VALUE 'on_hold'"))
    with engine.begin() as connection:
        connection.execute(text("SELECT 'on_hold'::state"))
    return None
