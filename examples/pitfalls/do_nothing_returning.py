"""Do not expect every id from ON CONFLICT DO NOTHING

RETURNING gives what was inserted. A row that was there already is left out, without an error. All
values share 32,767 parameters on asyncpg: beyond a few thousand rows take `upsert_rows`. See
`references/bulk-operations.md`.
"""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ..models import ImportCheckpoint
from ._symptom import Returns

FAMILY = "writing"
SYMPTOM = Returns(
    wrong=1, right=2, meaning="ids returned for two rows, one of which was there before"
)
SOURCE = (
    "INSERT: RETURNING",
    "https://www.postgresql.org/docs/18/sql-insert.html",
)


def broken(session: Session) -> object:
    session.add(ImportCheckpoint(source="crm"))
    rows = [{"source": "crm"}, {"source": "mail"}]
    adding = insert(ImportCheckpoint).values(rows).on_conflict_do_nothing(index_elements=["source"])
    return len(session.scalars(adding.returning(ImportCheckpoint.id)).all())


def fixed(session: Session) -> object:
    session.add(ImportCheckpoint(source="crm"))
    rows = [{"source": "crm"}, {"source": "mail"}]
    adding = insert(ImportCheckpoint).values(rows).on_conflict_do_nothing(index_elements=["source"])
    session.execute(adding)
    wanted = ImportCheckpoint.source.in_([row["source"] for row in rows])
    return len(session.scalars(select(ImportCheckpoint.id).where(wanted)).all())
