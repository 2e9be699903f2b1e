"""Read a setting of your own through `nullif()`

After the transaction a setting made by `set_config(…, true)` reads as `''`, not as NULL: the
connection still knows its name. The next request that gets the connection from the pool meets it.
"""

from sqlalchemy import Engine, text
from sqlalchemy.exc import DataError, DBAPIError

from ._symptom import Raises

FAMILY = "sessions"
SYMPTOM = Raises(DataError, 'invalid input syntax for type uuid: ""', on_asyncpg=DBAPIError)
SOURCE = (
    "Configuration Settings Functions",
    "https://www.postgresql.org/docs/18/functions-admin.html#FUNCTIONS-ADMIN-SET",
)


def broken(engine: Engine) -> object:
    with engine.connect() as connection:
        with connection.begin():
            tenant = "SELECT set_config('desk.tenant', gen_random_uuid()::text, true)"
            connection.execute(text(tenant))
        with connection.begin():
            read = "SELECT current_setting('desk.tenant', true)::uuid"
            return connection.scalar(text(read))


def fixed(engine: Engine) -> object:
    with engine.connect() as connection:
        with connection.begin():
            tenant = "SELECT set_config('desk.tenant', gen_random_uuid()::text, true)"
            connection.execute(text(tenant))
        with connection.begin():
            read = "SELECT nullif(current_setting('desk.tenant', true), '')::uuid"
            return connection.scalar(text(read))
