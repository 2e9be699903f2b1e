"""Close each session where it was opened

A session has its connection from the first statement to `commit()`, `rollback()` or `close()`, also
while it waits for a web service. A larger pool moves the day on which this shows. See
`references/connection-pooling.md` for how to find who has not given back.
"""

from sqlalchemy import create_engine, select
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from ._symptom import Raises

FAMILY = "connecting"
SYMPTOM = Raises(PoolTimeout, "QueuePool limit of size 1 overflow 0 reached")
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
