"""Set `updated_at` yourself in an upsert

`onupdate=` fires for UPDATE statements, not for ON CONFLICT DO UPDATE: the row changes, and its
`updated_at` stays where it was.
"""

from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ..models import ImportCheckpoint
from ._symptom import Returns

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
FAMILY = "writing"
SYMPTOM = Returns(
    wrong=False, right=True, meaning="whether `updated_at` moves when an upsert updates"
)
SOURCE = (
    "INSERT…ON CONFLICT (Upsert)",
    "https://docs.sqlalchemy.org/en/21/dialects/postgresql.html#postgresql-insert-on-conflict",
)


def broken(session: Session) -> object:
    session.add(ImportCheckpoint(source="crm", position="1", updated_at=LONG_AGO))
    session.flush()
    upsert = insert(ImportCheckpoint).values(source="crm", position="2")
    session.execute(
        upsert.on_conflict_do_update(
            index_elements=["source"], set_={"position": upsert.excluded.position}
        )
    )
    return session.scalar(select(ImportCheckpoint.updated_at > LONG_AGO))


def fixed(session: Session) -> object:
    session.add(ImportCheckpoint(source="crm", position="1", updated_at=LONG_AGO))
    session.flush()
    upsert = insert(ImportCheckpoint).values(source="crm", position="2")
    session.execute(
        upsert.on_conflict_do_update(
            index_elements=["source"],
            set_={"position": upsert.excluded.position, "updated_at": func.now()},
        )
    )
    return session.scalar(select(ImportCheckpoint.updated_at > LONG_AGO))
