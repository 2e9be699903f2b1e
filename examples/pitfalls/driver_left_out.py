"""Name the driver in the URL

`postgresql://` means psycopg2 in SQLAlchemy 2.0 and psycopg 3 in 2.1, for `create_engine`, too.
Where both are installed an upgrade changes the driver without a word; where not, it is a
`ModuleNotFoundError`.
"""

from sqlalchemy import make_url
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import create_async_engine

from ._symptom import Raises, Returns

FAMILY = "connecting"
SYMPTOM = (
    Returns(
        "psycopg", "asyncpg", "the driver of an engine that was meant for asyncpg", lines=("2.1",)
    ),
    Raises(InvalidRequestError, "The loaded 'psycopg2' is not async", lines=("2.0",)),
)
SOURCE = (
    "Default PostgreSQL driver changed to psycopg",
    "https://docs.sqlalchemy.org/en/21/changelog/migration_21.html",
)


async def broken(url: str) -> object:
    engine = create_async_engine(make_url(url).set(drivername="postgresql"))
    return engine.dialect.driver


async def fixed(url: str) -> object:
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    return engine.dialect.driver
