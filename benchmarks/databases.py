"""A database for a suite, filled, and gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from examples.database import create_sync_engine
from examples.models import Base
from examples.postgres import temporary_database
from examples.testing_patterns.large_desk import fill_desk


@contextmanager
def desk(server_url: str, tickets: int, *, threads: bool = True) -> Iterator[Engine]:
    """An engine on a desk of so many tickets; see ``large_desk.py``."""
    with temporary_database(server_url) as url:
        engine = create_sync_engine(url)
        try:
            Base.metadata.create_all(engine)
            fill_desk(engine, tickets, threads=threads)
            yield engine
        finally:
            engine.dispose()


def driver_url(engine: Engine) -> str:
    """What psycopg alone connects with."""
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
