"""A partition a month: made before it is needed, dropped when it has been kept long enough.

Problem: DELETE of old entries writes as much as it frees.  Pattern: a job, daily, makes the coming
months and drops the old; what nobody made a month for lies in the default partition until then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date

from sqlalchemy import Connection, Select, TextClause, column, func, select, table, text

from ..models import audit_partition_ddl

MONTHLY = re.compile(r"audit_log_(\d{4})_(\d{2})")
INHERITS = table("pg_inherits", column("inhrelid"), column("inhparent"))
CLASSES = table("pg_class", column("oid"), column("relname"))


def month_after(month: date, count: int) -> date:
    """The first day of the month *count* later; earlier if it is negative."""
    months = month.year * 12 + month.month - 1 + count
    return date(months // 12, months % 12 + 1, 1)


def partitions() -> Select[str]:
    """The names of the trail's partitions."""
    return (
        select(CLASSES.c.relname)
        .join(INHERITS, INHERITS.c.inhrelid == CLASSES.c.oid)
        .where(INHERITS.c.inhparent == func.to_regclass("audit_log"))
        .order_by(CLASSES.c.relname)
    )


def expired(names: Iterable[str], keep_from: date) -> list[str]:
    """Those of *names* that end before the month of *keep_from*; the default one never does."""
    bound = f"audit_log_{keep_from:%Y_%m}"
    return sorted(name for name in names if MONTHLY.fullmatch(name) and name < bound)


def drop_ddl(name: str) -> list[str]:
    """Take a month out of the trail; between the two, it can be dumped to an archive.

    Not CONCURRENTLY: PostgreSQL refuses that where there is a default partition.
    """
    return [f"ALTER TABLE audit_log DETACH PARTITION {name}", f"DROP TABLE {name}"]


def month_ddl(month: date) -> list[TextClause]:
    """Make a month's partition, also when entries of it lie in the default one already.

    A plain CREATE is refused then (23514): the default one would hold rows that are another's.
    """
    first, following = month_after(month, 0), month_after(month, 1)
    bounds = {"first": f"{first} 00:00:00+00", "following": f"{following} 00:00:00+00"}
    move = text(
        "WITH moved AS (DELETE FROM audit_log_default "
        "WHERE created_at >= CAST(:first AS timestamptz) "
        "AND created_at < CAST(:following AS timestamptz) RETURNING *) "
        "INSERT INTO audit_log OVERRIDING SYSTEM VALUE SELECT * FROM moved"
    )
    return [
        text("ALTER TABLE audit_log DETACH PARTITION audit_log_default"),
        text(audit_partition_ddl(first)),
        move.bindparams(**bounds),
        text("ALTER TABLE audit_log ATTACH PARTITION audit_log_default DEFAULT"),
    ]


def keep_partitions(
    connection: Connection, today: date, *, ahead: int = 3, keep: int = 24
) -> tuple[list[str], list[str]]:
    """Make this month and *ahead* more, drop those before the last *keep*: ``(made, dropped)``.

    It locks the trail, and so every writer of an audited table, for a moment; it gives way after
    two seconds (55P03), and the next run tries again.  Months are those of UTC.
    """
    connection.execute(text("SET LOCAL lock_timeout = '2s'"))
    names = set(connection.scalars(partitions()))
    made = []
    for month in (month_after(today, count) for count in range(ahead + 1)):
        if f"audit_log_{month:%Y_%m}" not in names:
            made.append(f"audit_log_{month:%Y_%m}")
            for statement in month_ddl(month):
                connection.execute(statement)
    dropped = expired(names, month_after(today, -keep))
    for name in dropped:
        for line in drop_ddl(name):
            connection.execute(text(line))
    return made, dropped
