"""Tries a change on an empty table of its own, and takes all of it back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

FILE = "SELECT pg_relation_filenode('pg_temp.soe_probe'::regclass)"


@contextmanager
def undone(connection: Connection) -> Iterator[None]:
    """Takes back whatever happens inside; an error comes out."""
    # The server's own answer is READ COMMITTED there too.
    if not getattr(connection.connection.dbapi_connection, "autocommit", False):
        savepoint = connection.begin_nested()
        try:
            yield
        finally:
            savepoint.rollback()
        return
    connection.exec_driver_sql("BEGIN")
    try:
        yield
    finally:
        connection.exec_driver_sql("ROLLBACK")


def rewrites(
    connection: Connection, columns: str, actions: str, before: Iterable[str] = ()
) -> bool | None:
    """Whether ``ALTER TABLE … actions`` replaces the file of a table with *columns*.

    *before* is run first, such as CREATE TYPE.  None where PostgreSQL refuses it.
    """
    seen: list[object] = []
    try:
        with undone(connection):
            for sql in (
                *before,
                f"CREATE TEMPORARY TABLE soe_probe ({columns})",
                FILE,
                f"ALTER TABLE pg_temp.soe_probe {actions}",
                FILE,
            ):
                options = {"no_parameters": True}
                result = connection.exec_driver_sql(sql, execution_options=options)
                if result.returns_rows:
                    seen.append(result.scalar_one())
    except SQLAlchemyError:
        return None
    return seen[0] != seen[1]
