"""A table in which no row can be told from its double."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlalchemy import Table

from ..core import POSTGRES, Hit, Project, Rule, unique_sets

VIEW = re.compile(r"(^|_)(m?view|vw|mv)(_|$)", re.I)


def check(project: Project) -> Iterator[Hit]:
    """Tables with neither a primary key nor anything unique, that no other rule tells of."""
    links = {prop.secondary for _, prop in project.relationships()}
    targets = {key.referred_table for _, key in project.foreign_keys()}
    for table in project.tables:
        if unique_sets(table) or table in links or table in targets or is_special(table):
            continue
        if table not in project.owners and not any(index.unique for index in table.indexes):
            yield Hit(f"{table.name} has no primary key, and nothing in it is unique", table=table)


def is_special(table: Table) -> bool:
    """Partitions, temporary tables, views by their name: a key is elsewhere, or cannot be."""
    options = table.dialect_options["postgresql"]
    elsewhere = options.get("partition_by") or options.get("inherits") or table._prefixes
    return bool(elsewhere) or VIEW.search(table.name) is not None


RULE = Rule(
    name="table-without-key",
    severity="warning",
    family="keys",
    title="A table without a primary key",
    why="The same row can be there twice, and then neither can be changed or deleted alone. "
    "Logical replication refuses UPDATE and DELETE on such a table, and the ORM cannot map it.",
    fix="    Column('id', BigInteger, Identity(), primary_key=True)\n"
    "or primary_key=True on the columns that make a row unique.",
    url=f"{POSTGRES}/ddl-constraints.html#DDL-CONSTRAINTS-PRIMARY-KEYS",
    check=check,
    bad="""
visits = Table(  # found
    "visits",
    Base.metadata,
    Column("page", Text, nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
)
""",
    good="""
visits = Table(
    "visits",
    Base.metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("page", Text, nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
)
""",
    near_miss="""
settings = Table("settings", Base.metadata, Column("name", Text, nullable=False, unique=True))
totals = Table("totals_view", Base.metadata, Column("total", BigInteger))
report = Table("report", Base.metadata, Column("total", BigInteger), info={"is_view": True})
staged = Table("staged", Base.metadata, Column("row", Text), prefixes=["UNLOGGED"])
events = Table(
    "events",
    Base.metadata,
    Column("at", DateTime(timezone=True), nullable=False),
    postgresql_partition_by="RANGE (at)",
)
""",
)
