"""Several schemas: a schema a tenant, or several applications in one database.

Problem: one line of revisions must run in each tenant's schema, or several lines in one database,
and none may take the tables of another for its own.  Pattern: a tenant is a URL whose sessions
start in its schema, so that revisions, the version table and autogenerate need no word more; an
application that owns a schema says so by ``version_table_schema`` and ``include_name``.  Not for
thousands of tenants: each costs a connection and a run; there a column ``tenant_id`` serves better.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, make_url, text

# libpq splits options at blanks; such names are a tenant's short name, not what he is called.
NAME = re.compile(r"[a-z_][a-z0-9_]*")


def tenant_url(url: str | URL, schema: str, *shared: str) -> URL:
    """*url* whose sessions start in *schema*; *shared* ones hold extensions, and no table.

    A RESET and a rollback return to it, as they do not to a SET.  Raises ``CommandError`` for a
    name that is no plain lower-case word.
    """
    for name in (schema, *shared):
        if not NAME.fullmatch(name):
            raise CommandError(
                f"received the schema {name!r}; expected lower-case letters, digits, _; "
                "try: such a name for the schema, and the tenant's own in a table"
            )
    made = make_url(url)
    given = made.query.get("options", "")
    before = given if isinstance(given, str) else " ".join(given)
    path = ",".join((schema, *shared))
    return made.update_query_dict({"options": f"{before} -c search_path={path}".strip()})


def upgrade_tenants(
    config_for: Callable[[URL], Config],
    url: str | URL,
    schemas: Iterable[str],
    *shared: str,
    revision: str = "head",
) -> dict[str, str]:
    """Upgrade each of *schemas*; returns the reason by schema for those that failed.

    The others are done, a failed one keeps what it finished, and a second call goes on from there.
    *config_for* makes Alembic's configuration for a URL.
    """
    failed: dict[str, str] = {}
    for schema in schemas:
        try:
            command.upgrade(config_for(tenant_url(url, schema, *shared)), revision)
        except Exception as error:  # whatever it is: the next tenant does not wait for it
            reason = getattr(error, "orig", None) or error
            failed[schema] = f"{type(reason).__name__}: {str(reason).partition(chr(10))[0]}"
    return failed


def create_tenant(connection: Connection, schema: str) -> None:
    """Make the schema first: a search path passes over one that is not there."""
    quoted = connection.dialect.identifier_preparer.quote_identifier(schema)
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {quoted}"))


def tenant_versions(connection: Connection, schemas: Iterable[str]) -> dict[str, list[str]]:
    """Where each tenant is: the rows of its version table, none where it has no such table."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    found: dict[str, list[str]] = {}
    for schema in schemas:
        table = f"{quote(schema)}.alembic_version"
        known = connection.scalar(text("SELECT to_regclass(:table) IS NOT NULL"), {"table": table})
        query = text(f"SELECT version_num FROM {table} ORDER BY version_num")  # noqa: S608 - quoted
        found[schema] = list(connection.scalars(query)) if known else []
    return found


def own_schema(connection: Connection, schema: str) -> dict[str, Any]:
    """What ``context.configure`` needs for an application that owns *schema* and nothing else.

    Its models name the schema (``MetaData(schema=…)``), and the search path does not.  The schema
    is made here: its version table comes before the first revision.
    """
    create_tenant(connection, schema)
    connection.commit()

    def include_name(name: str | None, kind: str, parents: MutableMapping[Any, str | None]) -> bool:
        del parents
        # None is the default schema.
        return kind != "schema" or name == schema

    return {
        "version_table_schema": schema,
        "include_schemas": True,
        "include_name": include_name,
    }
