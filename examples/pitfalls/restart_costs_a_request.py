"""Ask a pooled connection for a sign of life: `pool_pre_ping=True`

After a restart of the server the first statement of each process fails; then its pool has noticed.
Pre-ping replaces the connection at checkout. It does not save a transaction that runs: repeat that
as a whole.
"""

from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from ._symptom import Raises

FAMILY = "connecting"
SYMPTOM = (
    Raises(
        OperationalError,
        "terminating connection due to administrator command",
        drivers=("psycopg",),
    ),
    Raises(OperationalError, "server closed the connection", drivers=("psycopg2",)),
)
SOURCE = (
    "Disconnect Handling - Pessimistic",
    "https://docs.sqlalchemy.org/en/21/core/pooling.html#disconnect-handling-pessimistic",
)


def broken(url: str) -> object:
    engine = create_engine(url)
    lose_connections(engine)
    with Session(engine) as session:
        session.scalar(select(1))
    engine.dispose()
    return None


def fixed(url: str) -> object:
    engine = create_engine(url, pool_pre_ping=True)
    lose_connections(engine)
    with Session(engine) as session:
        session.scalar(select(1))
    engine.dispose()
    return None


def lose_connections(engine: Engine) -> None:
    """The server ends the connection that lies in the pool, as in a restart."""
    pid = select(func.pg_backend_pid())
    with engine.connect() as victim, engine.connect() as other:
        backend = victim.scalar(pid)
        victim.close()
        # Milliseconds: it answers when that backend has gone.
        other.execute(select(func.pg_terminate_backend(backend, 10_000)))
        other.detach()
