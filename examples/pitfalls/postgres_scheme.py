"""Translate `postgres://` before SQLAlchemy sees it

Platforms hand out that scheme, and libpq takes it. `normalize_url` stands in `database.py`. See
`references/sessions.md` for what else differs between a platform's URL and yours.
"""

from sqlalchemy import create_engine, text
from sqlalchemy.exc import NoSuchModuleError

from ..database import normalize_url
from ._symptom import Raises

FAMILY = "connecting"
SYMPTOM = Raises(NoSuchModuleError, "Can't load plugin: sqlalchemy.dialects:postgres")
SOURCE = (
    "Database URLs",
    "https://docs.sqlalchemy.org/en/21/core/engines.html#database-urls",
)


def broken(url: str) -> object:
    given = "postgres://" + url.partition("://")[2]
    return create_engine(given)


def fixed(url: str) -> object:
    given = "postgres://" + url.partition("://")[2]
    engine = create_engine(normalize_url(given, "psycopg"))
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()
    return None
