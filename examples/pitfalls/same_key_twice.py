"""Let each key come once in an upsert

ON CONFLICT DO UPDATE refuses to change a row that the same statement has written. Decide first
which one wins: here the last. All values share 32,767 parameters on asyncpg: beyond a few thousand
rows take `upsert_rows`. See `references/bulk-operations.md`.
"""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.orm import Session

from ..models import ImportCheckpoint
from ._symptom import Raises

FAMILY = "writing"
SYMPTOM = Raises(
    ProgrammingError,
    "ON CONFLICT DO UPDATE command cannot affect row a second time",
    on_asyncpg=DBAPIError,
)
SOURCE = (
    "INSERT: ON CONFLICT Clause",
    "https://www.postgresql.org/docs/18/sql-insert.html#SQL-ON-CONFLICT",
)


def broken(session: Session) -> object:
    rows = [{"source": "crm", "position": "1"}, {"source": "crm", "position": "2"}]
    upsert = insert(ImportCheckpoint).values(rows)
    session.execute(
        upsert.on_conflict_do_update(
            index_elements=["source"], set_={"position": upsert.excluded.position}
        )
    )
    return None


def fixed(session: Session) -> object:
    rows = [{"source": "crm", "position": "1"}, {"source": "crm", "position": "2"}]
    last = {row["source"]: row for row in rows}
    upsert = insert(ImportCheckpoint).values(list(last.values()))
    session.execute(
        upsert.on_conflict_do_update(
            index_elements=["source"], set_={"position": upsert.excluded.position}
        )
    )
    return None
