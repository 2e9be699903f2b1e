"""What only the database knows: invalid indexes, ends of sequences, missing extensions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, MetaData

from . import live_catalog as catalog
from .core import Hit, Project, option
from .live_compare import Difference, Pair, base_name, compiled, type_ddl
from .live_exclusions import exclusions
from .live_keys import column_at, index_keys, listed
from .rules.unindexed_foreign_key import is_refused

# What brings a type, an operator class or a function; asked only where the database lacks it.
EXTENSIONS = {
    "citext": "citext",
    "hstore": "hstore",
    "ltree": "ltree",
    "cube": "cube",
    "vector": "vector",
    "halfvec": "vector",
    "sparsevec": "vector",
    "geometry": "postgis",
    "geography": "postgis",
    "raster": "postgis",
    "gin_trgm_ops": "pg_trgm",
    "gist_trgm_ops": "pg_trgm",
    "vector_l2_ops": "vector",
    "vector_ip_ops": "vector",
    "vector_cosine_ops": "vector",
    "vector_l1_ops": "vector",
    "halfvec_l2_ops": "vector",
    "halfvec_ip_ops": "vector",
    "halfvec_cosine_ops": "vector",
    "uuid_generate_v4": "uuid-ossp",
    "uuid_generate_v1": "uuid-ossp",
    "gen_random_bytes": "pgcrypto",
    "unaccent": "unaccent",
}
GIST = ("integer", "bigint", "smallint", "text", "character varying", "uuid", "date", "boolean")
NARROW = {"smallint": 2**15 - 1, "integer": 2**31 - 1}
NEAR, VERY_NEAR = 0.7, 0.9


Need = tuple[str, Column[Any] | None, str, str | None]


def needed(pair: Pair) -> Iterator[Need]:
    """What a table needs of extensions: its name, a column, what to call the need, an index."""
    for column in pair.columns.values():
        ddl = type_ddl(column)
        if ddl:
            word = base_name(ddl).lower().rpartition(".")[2]
            yield word, column, f"the type of {column.name}", None
        default = getattr(column.server_default, "arg", None)
        text = compiled(default) if default is not None and not isinstance(default, str) else None
        for word in re.findall(r"(\w+)\(", text or ""):
            yield word.lower(), column, f"the default of {column.name}", None
    for index in sorted(pair.table.indexes, key=lambda index: str(index.name)):
        first = next((item for item in index.expressions if isinstance(item, Column)), None)
        for _, ops, _ in index_keys(index) or ():
            yield ops, first, f"the index {index.name}", str(index.name)


def missing_extensions(pair: Pair) -> Iterator[Difference]:
    """Extensions that the models need and the database has not; each once a table."""
    lacking: dict[str, tuple[Column[Any] | None, str, str | None]] = {}
    for word, column, what, index in needed(pair):
        name = EXTENSIONS.get(word)
        if name and name not in pair.catalog.extensions and not pair.catalog.knows(word):
            pair.lacking.add(word)
            lacking.setdefault(name, (column, what, index))
    column_and_need = gist_need(pair)
    if column_and_need:
        pair.lacking.add("btree_gist")
        lacking.setdefault("btree_gist", (*column_and_need, None))
    for name, (column, what, index) in lacking.items():
        message = f"the database has no extension {name}, which {what} needs"
        yield "missing-extension", pair.at(column, message, item=index or name)


def gist_need(pair: Pair) -> tuple[Column[Any], str] | None:
    """A GiST index or an exclusion over a plain scalar, without what makes that possible."""
    keyed: list[tuple[Column[Any], str]] = []
    for item in exclusions(pair.table):
        if item.using.lower() == "gist":
            keyed += [(column, "the exclusion constraint") for column in item.columns]
    for index in pair.table.indexes:
        if str(option(index, "using") or "").lower() == "gist" and not option(index, "ops"):
            plain = [item for item in index.expressions if isinstance(item, Column)]
            keyed += [(column, f"the index {index.name}") for column in plain]
    if not keyed or pair.catalog.knows("gist_int4_ops"):
        return None
    for column, what in keyed:
        found = pair.relation.columns.get(column.name)
        if found is not None and found.base in GIST:
            return column, what
    return None


def database_facts(pair: Pair, asked: frozenset[str]) -> Iterator[Difference]:
    """All of them, of one table."""
    yield from not_valid(pair)
    yield from sequences(pair)
    yield from duplicates(pair, asked)
    yield from unindexed(pair, asked)
    for index in pair.relation.indexes:
        first = column_at(pair, [name for name in index.columns if name])
        if not index.valid:
            message = f"the index {index.name} is invalid: no query uses it"
            yield "invalid-index", pair.at(first, message, item=index.name)
        elif is_unused(pair, index):
            message = f"no query has used {index.name} since the statistics began"
            yield "unused-index", pair.at(first, message, item=index.name)
    if pair.relation.shut:
        message = "row-level security is on, and no policy lets anybody see a row"
        yield "row-security-without-policy", pair.at(None, message)


def is_unused(pair: Pair, index: catalog.Index) -> bool:
    """Whether an index serves queries alone, and none came; of a partitioned one nobody counts."""
    serves_queries = not index.is_unique and index.constraint_kind is None
    return index.scans == 0 and serves_queries and pair.relation.kind == "r"


def not_valid(pair: Pair) -> Iterator[Difference]:
    """Constraints that old rows were never checked against."""
    words = {"c": "check", "f": "foreign key", "n": "NOT NULL"}
    for item in pair.relation.constraints:
        if not item.validated:
            what = words.get(item.kind, "constraint")
            message = f"the {what} {item.name} is NOT VALID: old rows may break it"
            first = column_at(pair, item.columns)
            yield "not-valid-constraint", pair.at(first, message, item=item.name)


def sequences(pair: Pair) -> Iterator[Difference]:
    """Sequences that have used up most of their numbers, or of the column's."""
    for item in pair.relation.sequences:
        if not item.readable:
            pair.notes.append(f"may not read the sequence {item.name}: GRANT SELECT ON it")
        limit = min(item.maximum, NARROW.get(item.type, item.maximum))
        share = (item.last or 0) / limit if item.ends else 0
        if share >= NEAR:
            # Rounded down: what has numbers left does not read as 100.
            percent = int(share * 100)
            yield (
                "sequence-near-end",
                pair.at(
                    column_at(pair, [item.column]),
                    f"{item.name} has used {percent} % of the {limit:,} numbers of {item.column}",
                    severity="error" if share >= VERY_NEAR else None,
                ),
            )


# --- Indexes that repeat each other, and those that are missing -----------------------------------


def identity(index: catalog.Index) -> tuple[Any, ...]:
    """What makes two indexes the same, uniqueness aside."""
    lists = (index.keys, index.columns, index.classes, index.collations, index.options)
    return (index.method, index.predicate, *(tuple(each) for each in lists))


def duplicates(pair: Pair, asked: frozenset[str]) -> Iterator[Difference]:
    """Indexes that repeat another; where the models say so too, their own rules tell."""
    from .live_keys import index_name

    named = {index_name(index) for index in pair.table.indexes}
    of_models = {"duplicate-index", "key-redundant-index", "redundant-unique"} & asked
    kept: dict[tuple[Any, ...], catalog.Index] = {}

    def worth(index: catalog.Index) -> tuple[bool, bool, bool, str]:
        known = index.name in named
        return (index.constraint_kind is None, not index.is_unique, not known, index.name)

    for index in sorted(pair.relation.indexes, key=worth):
        if not index.valid:
            continue
        first = kept.setdefault(identity(index), index)
        if first is index or (index.is_unique and index.constraint_kind):
            continue
        if of_models and index.name in named:
            continue
        message = f"{index.name} is the same index as {first.name}"
        column = column_at(pair, [name for name in index.columns if name])
        yield "live-duplicate-index", pair.at(column, message, item=index.name)


def unindexed(pair: Pair, asked: frozenset[str]) -> Iterator[Difference]:
    """Foreign keys that no valid index begins with."""
    mine = {frozenset(column.name for column in key.columns): key.columns
            for key in pair.table.foreign_key_constraints}  # fmt: skip
    for item in pair.relation.constraints:
        columns = set(item.columns)
        if item.kind != "f" or any(begins(index, columns) for index in pair.relation.indexes):
            continue
        written = mine.get(frozenset(columns))
        # One cause, one finding: an index that is missing or broken has its own.
        if written is not None and (
            "unindexed-foreign-key" in asked
            or planned(pair, columns)
            or is_refused(pair.project, written)
        ):
            continue
        message = f"no index begins with {listed(item.columns)} of the foreign key {item.name}"
        first = column_at(pair, item.columns)
        yield "live-unindexed-foreign-key", pair.at(first, message, item=item.name)


def begins(index: catalog.Index, columns: set[str]) -> bool:
    """Whether a DELETE of the parent can use *index*; an invalid one is another finding.

    A GiST index may have no = for a column; that of a constraint, an exclusion mostly, has one.
    """
    leading = {name for name in index.columns[: min(len(columns), len(index.keys))] if name}
    has_equal = index.method in {"btree", "hash"} or index.constraint_kind is not None
    if leading != columns or not has_equal:
        return False
    if index.predicate is None:
        return True
    only = next(iter(columns))
    return len(columns) == 1 and index.predicate.replace('"', "") == f"({only} IS NOT NULL)"


def planned(pair: Pair, columns: set[str]) -> bool:
    """Whether the models have an index for the foreign key, of an exclusion too."""
    leading = [list(item.columns) for item in (*pair.table.indexes, *exclusions(pair.table))]
    return any({column.name for column in each[: len(columns)]} == columns for each in leading)


# --- Tables that the models lack ------------------------------------------------------------------


def unknown_tables(project: Project, found: catalog.Catalog) -> Iterator[Difference]:
    """Tables beside those of the models, in the same schemas, that nothing explains."""
    known = {
        (table.schema, table.name)
        for metadata in project.metadatas
        for table in metadata.tables.values()
    }
    schemas = {schema for schema, _ in known}
    owner: MetaData | None = project.metadatas[0] if project.metadatas else None
    for relation in sorted(found.relations, key=lambda each: (each.schema, each.name)):
        place = None if relation.visible else relation.schema
        explained = relation.is_part or relation.of_extension or not relation.is_table
        if explained or place not in schemas or relation.name.startswith("alembic_version"):
            continue
        if (place, relation.name) in known or (relation.schema, relation.name) in known:
            continue
        name = f"{place}.{relation.name}" if place else relation.name
        message = f"the models do not know the table {name}"
        yield (
            "unknown-table",
            Hit(message, metadata=owner, item=relation.name, unknown_table=name),
        )
