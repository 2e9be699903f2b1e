"""Sessions whose every trace is undone, even when the code under test commits.

Problem: code under test commits, and the next test finds its rows.  Pattern: one outer transaction
around a connection, and a session that turns its own commits into savepoints
(SQLAlchemy, "Joining a Session into an External Transaction").  Not for tests that need a second
connection to see the rows: give those a database of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session


@contextmanager
def isolated_session(engine: Engine) -> Iterator[Session]:
    """A session that may commit and roll back at will; the database forgets all of it."""
    with engine.connect() as connection:
        outer = connection.begin()
        # The default mode would let a rollback of the session undo what it had "committed".
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            yield session
        outer.rollback()


@asynccontextmanager
async def isolated_async_session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """The same for asyncio; like the application's sessions, it does not expire on commit."""
    async with engine.connect() as connection:
        outer = await connection.begin()
        async with AsyncSession(
            connection, join_transaction_mode="create_savepoint", expire_on_commit=False
        ) as session:
            yield session
        await outer.rollback()
