"""Indexes of one name that differ in what autogenerate does not compare.

WHERE, INCLUDE, USING and operator classes.  PostgreSQL itself prints both: that of the models is
made beside the one that stands, in a savepoint, and both definitions are read from the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from alembic.operations import ops
from sqlalchemy import Index, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex, conv

from .catalogue import OURS, Key
from .models import NO_SQL, Models, dialect
from .operations import executed, name_of
from .probe import undone

Op = ops.MigrateOperation
# What keeps a constraint is compared with that.
DEFINITIONS = text(
    rf"""
    SELECT n.nspname, t.relname, CAST(c.relname AS text), pg_get_indexdef(c.oid)
    FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
    WHERE {OURS} AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS o
        WHERE o.conindid = c.oid AND o.contype IN ('p', 'u', 'x'))
    """
)
ASIDE = "soe_standing"
# Set by whoever tunes the database; the models seldom know of it.
STORAGE = re.compile(r" WITH \((?:\w+=(?:'[^']*'|\w+)(?:, )?)+\)")
PIECE = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|.", re.DOTALL)


def compare(models: Models, flat: list[Op]) -> list[Op]:
    """What exchanges the indexes that differ and that *flat* leaves alone."""
    done = {
        (models.catalogue.key(op.schema, str(op.table_name)), str(op.index_name))
        for op in flat
        if isinstance(op, (ops.CreateIndexOp, ops.DropIndexOp))
    }
    standing = {
        ((schema, table), name): definition
        for schema, table, name, definition in models.connection.execute(DEFINITIONS)
    }
    found: list[Op] = []
    for table, other in models.pairs:
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            place = (other.key, final_name(index))
            if place not in standing or place in done:
                continue
            theirs = reflected(models, *place)
            wanted = definition_of(models, index, *place)
            if wanted is None or theirs is None or not models.takes_index(index, place[1], theirs):
                continue
            if STORAGE.sub("", wanted) != STORAGE.sub("", standing[place]):
                found.append(dropping(theirs, standing[place]))
                found.append(ops.CreateIndexOp.from_index(index))
    return found


def final_name(index: Index) -> str:
    """The name after the naming convention and its cut; "" without one."""
    shown = dialect().identifier_preparer.format_index(index) if index.name else ""
    return shown[1:-1].replace('""', '"') if shown.startswith('"') else shown


def reflected(models: Models, key: Key, name: str) -> Index | None:
    """The index as SQLAlchemy reads it back."""
    return next((each for each in models.reflected(key).indexes if each.name == name), None)


def definition_of(models: Models, index: Index, key: Key, name: str) -> str | None:
    """What PostgreSQL prints of *index* of the models; None where it has no SQL.

    The one of that *name* stands aside as long.  "" where it cannot be made as yet, since it
    speaks of a new column, say: the one that stands could be, and so is another.
    """
    try:
        create = str(CreateIndex(index).compile(dialect=dialect()))
    except NO_SQL:
        return None
    place = name_of((key[0], name), models.catalogue.default_schema)
    try:
        with undone(models.connection):
            for sql in (
                f"ALTER INDEX {place} RENAME TO {ASIDE}",
                create.replace(" CONCURRENTLY ", " ", 1),
            ):
                options = {"no_parameters": True}
                models.connection.exec_driver_sql(sql, execution_options=options)
            made = {
                (row[0], row[1], row[2]): row[3] for row in models.connection.execute(DEFINITIONS)
            }
    except SQLAlchemyError:
        return ""
    return made.get((*key, name))


def dropping(index: Index, definition: str) -> ops.DropIndexOp:
    """The operation that drops *index*, and knows how to bring it back as *definition* has it."""
    op, table = ops.DropIndexOp.from_index(index), index.table
    assert table is not None  # it is one of a table's
    columns: list[Any] = [
        key if key in table.columns else text(executed(key)) for key in keys(definition)
    ]
    # They stand in the keys.
    op.kw.pop("postgresql_ops", None)
    if isinstance(where := op.kw.get("postgresql_where"), str):
        op.kw["postgresql_where"] = text(executed(where))
    op._reverse = ops.CreateIndexOp(conv(str(index.name)), table.name, columns, schema=table.schema)
    return op


def keys(definition: str) -> Iterator[str]:
    """The keys of an index as *definition* spells them, with class, collation and order."""
    begin = re.search(r" USING \w+ \(", definition)
    depth, key = 1, ""
    for piece in PIECE.findall(definition[begin.end() if begin else 0 :]):
        depth += (piece == "(") - (piece == ")")
        if depth == 0 or (depth == 1 and piece == ","):
            yield key.strip()
            key = ""
        else:
            key += piece
        if depth == 0:
            return
