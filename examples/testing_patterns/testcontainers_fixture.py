"""The fixtures in plain form, for a project that has Docker and wants nothing else.

Problem: the whole plugin is more than a small project needs.  Pattern: one container a run through
testcontainers, the schema once, a rollback a test.  Copy this file and ``isolation.py``; import the
two fixtures into your ``conftest.py``.  Not under xdist: every worker would start a container.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from testcontainers.community.postgres import PostgresContainer

from ..database import create_sync_engine
from ..models import Base
from .isolation import isolated_session


@pytest.fixture(scope="session")
def container_engine() -> Iterator[Engine]:
    """An engine on a container of ``POSTGRES_IMAGE`` (default ``postgres:18``)."""
    image = os.environ.get("POSTGRES_IMAGE", "postgres:18")
    with PostgresContainer(image, driver="psycopg") as container:
        engine = create_sync_engine(container.get_connection_url())
        Base.metadata.create_all(engine)
        yield engine
        engine.dispose()


@pytest.fixture
def container_session(container_engine: Engine) -> Iterator[Session]:
    """A session that may commit; nothing of it is left behind."""
    with isolated_session(container_engine) as session:
        yield session
