"""Keep the URL out of Alembic's ini options

They interpolate `%`, and a password is percent-encoded in a URL. `attributes` takes any object;
`env.py` reads it there. See `references/migration-guide.md`.
"""

from alembic.config import Config

from ._symptom import Raises

FAMILY = "migrations"
DATABASE_URL = "postgresql+psycopg://ann:p%40ss@localhost/desk"
SYMPTOM = Raises(ValueError, "invalid interpolation syntax")
SOURCE = (
    "Config.attributes",
    "https://alembic.sqlalchemy.org/en/latest/api/config.html#alembic.config.Config.attributes",
)


def broken(url: str) -> object:
    config = Config()
    config.set_main_option("sqlalchemy.url", DATABASE_URL)
    return config.get_main_option("sqlalchemy.url")


def fixed(url: str) -> object:
    config = Config()
    config.attributes["database_url"] = DATABASE_URL
    return config.attributes["database_url"]
