"""Give a synchronous engine a synchronous driver

A worker, a script or Alembic that takes over the URL of an asyncio application takes over asyncpg.
`create_engine` accepts it; the first connection fails. psycopg serves both sorts by one URL.
asyncpg's own options must go (`invalid connection option`); say `sslmode` for `ssl`.
"""

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import MissingGreenlet

from ._symptom import Raises

FAMILY = "connecting"
SYMPTOM = Raises(MissingGreenlet, "greenlet_spawn has not been called", drivers=("asyncpg",))
SOURCE = (
    "MissingGreenlet",
    "https://docs.sqlalchemy.org/en/21/errors.html#error-xd2s",
)


def broken(url: str) -> object:
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()
    return None


def fixed(url: str) -> object:
    plain = make_url(url).difference_update_query(["prepared_statement_cache_size", "ssl"])
    engine = create_engine(plain.set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()
    return None
