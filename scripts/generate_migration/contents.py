"""What tables hold, so that a lost row or value is seen without keeping them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Connection, text

from .filling.literals import identifier, sql
from .filling.tables import USER_TABLES

# Partitions are read through the table that they are parts of.
TABLES = text(
    f"""
    SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind = 'p' AS is_partitioned,
        ARRAY(
            SELECT a.attname::text FROM pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                AND a.attgenerated <> 'v'
            ORDER BY a.attname
        ) AS columns
    {USER_TABLES}
    """
)


@dataclass(frozen=True)
class Held:
    """How many rows, and of each column how many values and a sum over them."""

    rows: int
    columns: dict[str, tuple[int, str]]


Contents: TypeAlias = dict[str, Held]


def contents_of(connection: Connection, *, version_table: str) -> Contents:
    """What each table holds, by ``schema.name``."""
    found: Contents = {}
    for table in connection.execute(TABLES, {"version_table": version_table}).mappings().all():
        names: list[str] = table["columns"]
        sums = "".join(
            # PostgreSQL takes 1,664 columns of a result.
            f", count({column}), coalesce(sum(hashtextextended({column}::text, 0)), 0)::text"
            for column in map(identifier, names[:800])
        )
        # A table that others inherit from holds its own rows alone.
        place = f"{identifier(table['schema'])}.{identifier(table['name'])}"
        place = place if table["is_partitioned"] else f"ONLY {place}"
        rows, *values = connection.execute(sql(f"SELECT count(*){sums} FROM {place}")).one()
        pairs = zip(values[::2], values[1::2], strict=True)
        found[f"{table['schema']}.{table['name']}"] = Held(
            rows, dict(zip(names, pairs, strict=False))
        )
    return found


def lost(before: Contents, after: Contents) -> list[str]:
    """The tables that have fewer rows than before; one that is gone says nothing of its rows."""
    return [
        f"{name}: {held.rows - after[name].rows} of {held.rows} rows lost"
        for name, held in before.items()
        if name in after and after[name].rows < held.rows
    ]


def dropped(before: Contents, upgraded: Contents, after: Contents) -> list[str]:
    """The tables with rows that the upgrade took away, and that came back without any."""
    return [
        name
        for name, held in before.items()
        if held.rows and name not in upgraded and name in after and not after[name].rows
    ]


def changed(before: Contents, after: Contents) -> list[str]:
    """The columns that came back with fewer values, or with others."""
    notes = []
    for name, held in before.items():
        now = after.get(name)
        if now is None or now.rows < held.rows:
            continue
        if now.rows > held.rows:
            notes.append(f"{name}: {now.rows - held.rows} rows more")
        for column, (count, total) in held.columns.items():
            count_now, total_now = now.columns.get(column, (count, total))
            if count_now < count:
                notes.append(f"{name}.{column}: {count - count_now} of {count} values lost")
            elif now.rows == held.rows and total_now != total:
                notes.append(f"{name}.{column}: other values than before")
    return notes
