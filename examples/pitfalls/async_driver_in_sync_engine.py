"""Give a synchronous engine a synchronous driver

A worker, a script or Alembic that takes over the URL of an asyncio application takes over asyncpg.
`create_engine` accepts it; the first connection fails. psycopg serves both sorts by one URL.
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
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()
    return None
