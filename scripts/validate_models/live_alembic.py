"""Alembic's comparison as a second judge: it decides what ours could not."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from sqlalchemy import Connection, MetaData

from .live_compare import Difference, Pair

KINDS = {"modify_type": "drift-type", "modify_nullable": "drift-nullability"}


def version() -> str | None:
    """Alembic's version; None where it is not installed."""
    if find_spec("alembic") is None:
        return None
    import alembic

    return str(alembic.__version__)


def compare(connection: Connection, metadata: MetaData, pairs: list[Pair]) -> list[Any]:
    """What Alembic finds; it looks at the tables of *pairs* alone."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    names = {pair.relation.name for pair in pairs}
    schemas = {pair.table.schema for pair in pairs} - {None}

    def wanted(name: str | None, kind: str, _parents: Any) -> bool:
        if kind == "schema":
            return name is None or name in schemas
        return kind != "table" or name in names

    options = {
        "compare_type": True,
        # PostgreSQL's own spelling is compared already; Alembic would execute both defaults.
        "compare_server_default": False,
        "include_schemas": bool(schemas),
        "include_name": wanted,
    }
    logger = logging.getLogger("alembic")
    was_off = logger.disabled
    logger.disabled = True  # it tells of each difference, with a traceback of none
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it cannot reflect: ours reads the catalogue
            context = MigrationContext.configure(connection, opts=options)
            return list(compare_metadata(context, metadata))
    finally:
        logger.disabled = was_off


def second_opinion(found: list[Any], pairs: list[Pair]) -> Iterator[Difference]:
    """What of Alembic's differences ours has not judged.

    Of what ours has judged, ours holds: PostgreSQL itself printed both sides.
    """
    by_name = {(pair.table.schema, pair.table.name): pair for pair in pairs}
    for group in found:
        for item in group if isinstance(group, list) else [group]:
            rule = KINDS.get(item[0])
            if rule is None:
                continue
            _, schema, table, column, _, theirs, mine = item
            pair = by_name.get((schema, table))
            if pair is None or (rule, column) in pair.judged or column not in pair.columns:
                continue
            message = (
                f"Alembic sees a difference: {mine!r} in the models, {theirs!r} in the database"
            )
            yield rule, pair.at(pair.columns[column], message)
