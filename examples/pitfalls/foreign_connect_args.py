"""Pass `connect_args` in the driver's own words

`server_settings`, `command_timeout` and `timeout` are asyncpg's. libpq's drivers take settings as
`options`, and `connect_timeout`. PgBouncer refuses both forms: set the role's defaults there. See
`references/connection-pooling.md`.
"""

from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from ._symptom import Raises

FAMILY = "connecting"
SYMPTOM = Raises(ProgrammingError, 'invalid connection option "server_settings"')
SOURCE = (
    "Use of connect_args",
    "https://docs.sqlalchemy.org/en/21/core/engines.html#use-the-connect-args-dictionary-parameter",
)


def broken(url: str) -> object:
    engine = create_engine(url, connect_args={"server_settings": {"jit": "off"}})
    with engine.connect() as connection:
        return connection.scalar(text("SHOW jit"))


def fixed(url: str) -> object:
    engine = create_engine(url, connect_args={"options": "-c jit=off"})
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW jit")) == "off"
    engine.dispose()
    return None
