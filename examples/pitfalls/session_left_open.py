"""Close each session where it was opened

A session has its connection from the first statement to `commit()`, `rollback()` or `close()`, also
while it waits for a web service. A larger pool moves the day on which this shows. Where the server
has a time-out for it, psycopg says `terminating connection due to idle-in-transaction timeout` and
psycopg2 `server closed the connection`, pre-ping or not. See `references/connection-pooling.md` for
how to find who has not given back.
"""

import time

from sqlalchemy import create_engine, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from ._symptom import Raises

FAMILY = "connecting"
SYMPTOM = Raises(PoolTimeout, "QueuePool limit of size 1 overflow 0 reached")
SAYS = ("terminating connection due to idle-in-transaction timeout",)
SOURCE = (
    "QueuePool limit of size <x> overflow <y> reached",
    "https://docs.sqlalchemy.org/en/21/errors.html#error-3o7r",
)


def broken(url: str) -> object:
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    report = Session(engine)
    report.scalar(select(1))
    try:
        with Session(engine) as session:
            session.scalar(select(1))
    finally:
        report.close()  # too late
        engine.dispose()
    return None


def fixed(url: str) -> object:
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    with Session(engine) as report:
        report.scalar(select(1))
    with Session(engine) as session:
        session.scalar(select(1))
    engine.dispose()
    return None


def said(url: str) -> str:
    """What a session hears that waits for longer than the server allows."""
    engine = create_engine(url, pool_pre_ping=True)
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    try:
        with Session(engine) as report, autocommit.connect() as other:
            pid = report.scalar(select(func.pg_backend_pid()))
            report.execute(text("SET LOCAL idle_in_transaction_session_timeout = '10ms'"))
            lives = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
            while other.scalar(lives, {"pid": pid}):
                time.sleep(0.01)
            report.scalar(select(1))
    except DBAPIError as error:
        return str(error)
    finally:
        engine.dispose()
    return ""
