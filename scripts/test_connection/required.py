"""What the caller requires of a database: extensions, a revision of Alembic's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, text

from .core import Check

if TYPE_CHECKING:
    from .facts import Wanted

# The version that CREATE EXTENSION makes; before PostgreSQL 13 none was trusted.
AVAILABLE = """
SELECT e.name, coalesce((to_jsonb(v) ->> 'trusted')::boolean, false)
FROM pg_available_extensions AS e
LEFT JOIN pg_available_extension_versions AS v
  ON v.name = e.name AND v.version = e.default_version
WHERE e.name IN :names
"""


def of_extensions(connection: Connection, _: Mapping[str, Any], wanted: Wanted) -> Iterator[Check]:
    """Those that are there, and those that must be."""
    rows = connection.execute(text("SELECT extname, extversion FROM pg_extension ORDER BY extname"))
    there = {name: number for name, number in rows}  # noqa: C416 - rows are no pairs to mypy
    yield Check(
        "extensions",
        "ok",
        ", ".join(f"{name} {number}" for name, number in there.items()) or "none",
    )
    missing = [name for name in wanted.extensions if name not in there]
    if not missing:
        return
    known = text(AVAILABLE).bindparams(bindparam("names", missing, expanding=True))
    available = {name: trusted for name, trusted in connection.execute(known)}  # noqa: C416
    for name in missing:
        packed = name in available
        yield Check(
            f"extension {name}",
            "failure",
            "not installed in this database; the server has it, ready to be created"
            if packed
            else "not on this server: its files are not there",
            creation(name, trusted=available[name]) if packed else "install its package there",
        )


def creation(name: str, *, trusted: bool) -> str:
    """The statement, and who may say it."""
    who = "a role with CREATE on the database (it is trusted)" if trusted else "a superuser"
    return f'as {who}: CREATE EXTENSION "{name}"'


def of_migrations(connection: Connection, _: Mapping[str, Any], wanted: Wanted) -> Iterator[Check]:
    """The revision of the database against the heads of the scripts."""
    if wanted.alembic is None:
        return
    heads = set(wanted.heads)
    quote = connection.dialect.identifier_preparer.quote
    name = ".".join(map(quote, wanted.alembic_table.split(".")))
    there = connection.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": name})
    found = set(connection.scalars(text(f"SELECT version_num FROM {name}"))) if there else set()
    at_head = found == heads
    strange = found - wanted.known - heads
    fix = f"alembic -c {wanted.alembic} upgrade {wanted.target}"
    if strange:
        fix = (
            f"these scripts do not know {', '.join(sorted(strange))}: the database was migrated "
            "by newer ones, or by those of another branch or project"
        )
    yield Check(
        "migrations",
        "ok" if at_head else "failure",
        f"database at {', '.join(sorted(found)) or 'no revision'}; "
        f"head {', '.join(sorted(heads)) or 'none'}",
        "" if at_head else fix,
    )
